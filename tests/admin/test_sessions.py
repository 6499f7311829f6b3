"""Sessions of pages: made by a token or a one-time link, ended at once over all admins, forged by nothing."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from admin import create_app
from nomad_actors.clock import ManualClock
from nomad_actors.settings import Settings
from nomad_actors.settings.admin_tokens import digest_of, token_entry
from nomad_actors.store import local_token

from .conftest import Parts, parts_on
from .served import form_token

TOKEN = "o" * 43
ENTRY = token_entry("otto", "operator", TOKEN)
START_MS = 1_793_491_200_000
PAGE = "/admin/queues/token-refresh"


@pytest.fixture(params=["a configured token", "the machine's own"])
def parts(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Iterator[Parts]:
    """Parts with one operator's token, and a clock that stands."""
    settings = Settings(admin_tokens=(ENTRY,) if "configured" in request.param else ())
    parts = parts_on(redis_url, tmp_path, settings, ManualClock(START_MS))
    yield parts
    parts.close()


def token_of(parts: Parts) -> str:
    return TOKEN if parts.settings.admin_tokens else local_token.read_or_make_token(parts.settings.var_dir)


def browser(parts: Parts, cookie: str = "") -> FlaskClient:
    """Return a client of another admin of the same database, on another machine: nobody looks there without a token."""
    client = create_app(parts).test_client()
    client.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    if cookie:
        client.set_cookie("nomad_session", cookie, path="/admin")
    return client


def log_in(parts: Parts) -> tuple[FlaskClient, str]:
    """Return a client that is logged in, and its cookie."""
    client = browser(parts)
    form = {"token": token_of(parts), "form_token": form_token(client.get("/admin/login").text)}
    assert client.post("/admin/login", data=form).status_code == 303
    cookie = client.get_cookie("nomad_session", path="/admin")
    assert cookie is not None
    return client, cookie.value


def is_in(parts: Parts, cookie: str) -> bool:
    return browser(parts, cookie).get(PAGE).status_code == 200


def advance(parts: Parts, seconds: float) -> None:
    assert isinstance(parts.clock, ManualClock)
    parts.clock.advance(seconds=seconds)


def test_a_copied_cookie_does_not_survive_the_logout_in_any_admin(parts: Parts) -> None:
    client, cookie = log_in(parts)
    other, other_cookie = log_in(parts)
    assert is_in(parts, cookie)
    form = {"form_token": form_token(client.get(PAGE).text)}
    assert client.post("/admin/logout", data=form).status_code == 303
    assert not is_in(parts, cookie)
    assert "session" in [entry.reason for entry in parts.store.audit.read(2)[0]]
    assert (is_in(parts, other_cookie), other.get(PAGE).status_code) == (True, 200)


def test_a_session_ends_by_time_with_its_token_and_with_its_role(parts: Parts) -> None:
    _, cookie = log_in(parts)
    advance(parts, 12 * 3600 - 1)
    assert is_in(parts, cookie)
    for entries in (
        (),
        (token_entry("otto", "operator", "another"),),
        (replace(ENTRY, role="viewer"),),
        (replace(ENTRY, name="ada"),),
    ):
        if parts.settings.admin_tokens:
            assert not is_in(replace(parts, settings=replace(parts.settings, admin_tokens=entries)), cookie)
    assert is_in(parts, cookie)
    advance(parts, 1)
    assert not is_in(parts, cookie)


def test_nothing_that_is_configured_or_stored_forges_a_session(parts: Parts) -> None:
    _, cookie = log_in(parts)
    digest = digest_of(token_of(parts))
    with parts.store.database.read() as connection:
        (stored,) = connection.exec_driver_sql("SELECT id_hash FROM admin_sessions").scalars()
    tampered = f"{cookie[:-1]}{'A' if cookie[-1] != 'A' else 'B'}"
    for forged in (stored, stored[:43], digest, digest[:43], tampered, "", "A" * 43, "A" * 4_000, "é" * 43):
        assert not is_in(parts, forged), forged
    assert is_in(parts, cookie)


def test_a_revoked_token_and_its_sessions_end_at_once_in_every_admin(parts: Parts) -> None:
    client, cookie = log_in(parts)
    header = {"Authorization": f"Bearer {token_of(parts)}"}
    assert client.get("/admin/jobs/queues", headers=header).status_code == 200
    if parts.settings.admin_tokens:
        parts.store.admin_sessions.revoke(ENTRY.digest, "otto", "uid 0 (root)")
    else:
        local_token.replace_token(parts.settings.var_dir)
    assert client.get(PAGE).status_code in (303, 401)
    assert not is_in(parts, cookie)
    assert client.get("/admin/jobs/queues", headers=header).status_code == 401
    form = {"token": header["Authorization"][7:], "form_token": form_token(client.get("/admin/login").text)}
    assert client.post("/admin/login", data=form).status_code == 401
    if parts.settings.admin_tokens:
        refused = parts.store.audit.read(10)[0]
        assert [entry.actor for entry in refused if entry.reason == "revoked"] == ["otto", "otto"]
    # Whoever has heard of it remembers while the database is away.
    parts.lose_database()
    assert client.get("/admin/jobs/queues", headers=header).status_code == 401


def test_without_the_database_a_session_of_a_moment_ago_reads_and_changes_nothing(parts: Parts) -> None:
    client, cookie = log_in(parts)
    page = client.get(PAGE)
    assert page.status_code == 200
    pause = {"form_token": form_token(page.text)}
    parts.lose_database()
    assert client.get(PAGE).status_code == 200
    assert client.post(f"{PAGE}/pause", data=pause).status_code == 503
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused
    # Another process has not seen the session, and cannot say that it ended: it asks to come back.
    answer = browser(parts, cookie).get(PAGE)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    advance(parts, 15 * 60)
    assert client.get(PAGE).status_code == 503
    assert client.get_cookie("nomad_session", path="/admin") is not None
    parts.find_database()
    assert client.get(PAGE).status_code == 200
    parts.lose_database()
    # Logged out is logged out here, and the answer says that others have not heard of it.
    answer = client.post("/admin/logout", data=pause)
    assert answer.status_code == 503
    assert client.get_cookie("nomad_session", path="/admin") is None
    client.set_cookie("nomad_session", cookie, path="/admin")
    assert client.get(PAGE).status_code == 503


def test_old_sessions_are_removed(parts: Parts) -> None:
    _, first = log_in(parts)
    advance(parts, 12 * 3600 + 8 * 86_400)
    log_in(parts)
    with parts.store.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM admin_sessions").scalar() == 1
    assert not is_in(parts, first)


# The one-time link, where no tokens are configured.


@pytest.fixture
def own(redis_url: str, tmp_path: Path) -> Iterator[Parts]:
    """Parts without configured tokens."""
    parts = parts_on(redis_url, tmp_path, None, ManualClock(START_MS))
    yield parts
    parts.close()


def a_link(parts: Parts) -> str:
    code = local_token.new_code(local_token.read_or_make_token(parts.settings.var_dir), parts.clock.now_ms())
    return f"/admin/login?once={code}"


def test_an_admin_with_tokens_says_that_it_takes_no_links(own: Parts) -> None:
    link = a_link(own)
    configured = replace(own.settings, admin_tokens=(token_entry("ada", "operator", TOKEN),))
    answer = create_app(replace(own, settings=configured)).test_client().get(link)
    assert (answer.status_code, "takes no links: log in with one of them" in answer.text) == (401, True)
    assert "nomad admin link" not in answer.text


def test_a_link_logs_one_browser_in_once_over_restarts(own: Parts) -> None:
    link = a_link(own)
    client = create_app(own).test_client()
    # A browser that fetches ahead has not opened it, and neither has one that only asks whether it is there.
    client.get(link, headers={"Sec-Purpose": "prefetch;prerender"})
    client.head(link)
    answer = client.get(link)
    assert (answer.status_code, answer.location) == (303, "/admin/")
    cookie = client.get_cookie("nomad_session", path="/admin")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site) == (True, "Strict")
    page = client.get(PAGE).text
    assert "local, operator" in page
    assert client.post(f"{PAGE}/pause", data={"form_token": form_token(page)}).status_code == 303
    assert own.queues.get_queue("token-refresh").snapshot().is_paused
    entries = own.store.audit.read(9)[0]
    assert [(entry.actor, entry.method, entry.path) for entry in entries] == [
        ("local", "POST", f"{PAGE}/pause"),
        ("local", "GET", "/admin/login"),
    ]
    for again in (client, create_app(own).test_client()):
        answer = again.get(link)
        assert (answer.status_code, "used before" in answer.text) == (401, True)
    assert "once=" not in "".join(f"{entry.path}{entry.error}{entry.body}" for entry in own.store.audit.read(9)[0])


def test_of_many_who_open_a_link_at_once_one_is_let_in(own: Parts) -> None:
    link, web = a_link(own), create_app(own)
    own.store.migrate()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: web.test_client().get(link).status_code, range(8)))
    assert sorted(statuses) == [303] + [401] * 7


def test_a_link_is_over_after_ten_minutes_and_with_its_token(own: Parts) -> None:
    client = create_app(own).test_client()
    link, later = a_link(own), a_link(own)
    advance(own, 599)
    assert client.get(link).status_code == 303
    advance(own, 1)
    assert client.get(later).status_code == 401
    replaced = a_link(own)
    local_token.replace_token(own.settings.var_dir)
    assert client.get(replaced).status_code == 401


def test_a_link_that_nobody_signed_lets_nobody_in(own: Parts) -> None:
    client = create_app(own).test_client()
    until, name, signature = a_link(own).partition("=")[2].split(".")
    wrong = ["x", ".", "..", "1.2.3", "9999999999999.x.", "é.é.é", "9" * 199, "٣.x.0", "-1.x.y", "\x00.\x00.\x00"]
    wrong += [f"{int(until) + 1}.{name}.{signature}", f"{until}.{name}x.{signature}", f"{until}.{name}."]
    for code in wrong:
        assert client.get("/admin/login", query_string={"once": code}).status_code == 401, code


def test_a_link_waits_for_the_database_to_come_back(own: Parts) -> None:
    client, link = create_app(own).test_client(), a_link(own)
    own.lose_database()
    assert client.get(link).status_code == 503
    own.find_database()
    assert client.get(link).status_code == 303


def test_a_link_is_not_used_up_when_the_audit_log_cannot_be_written(own: Parts) -> None:
    client, link = create_app(own).test_client(), a_link(own)
    own.store.migrate()
    with own.store.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE audit_log RENAME TO away")
    assert client.get(link).status_code == 503
    with own.store.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO audit_log")
    assert client.get(link).status_code == 303
    assert create_app(own).test_client().get(link).status_code == 401
    refused, let_in = own.store.audit.read(9)[0]
    assert [(entry.actor, entry.status, entry.refused) for entry in (refused, let_in)] == [
        ("local", 401, False),
        ("local", 303, False),
    ]
    assert "used before" in (refused.error or "")


def test_where_tokens_are_configured_no_link_lets_anybody_in(redis_url: str, tmp_path: Path) -> None:
    parts = parts_on(redis_url, tmp_path, Settings(admin_tokens=(ENTRY,)), ManualClock(START_MS))
    assert browser(parts).get(a_link(parts)).status_code == 401
    header = {"Authorization": f"Bearer {local_token.read_or_make_token(parts.settings.var_dir)}"}
    assert browser(parts).get("/metrics", headers=header).status_code == 401
    parts.close()


# Its token.


def test_the_token_is_made_once_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        tokens = set(pool.map(lambda _: local_token.read_or_make_token(tmp_path / "var"), range(64)))
    (path,) = (tmp_path / "var").iterdir()
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == ("admin-token", 0o600)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", *tokens)


def test_a_link_to_nothing_in_the_tokens_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "admin-token").symlink_to(tmp_path / "nowhere" / "else")
    with pytest.raises(local_token.NoLocalToken, match="can neither be read nor created; if it is a dangling link"):
        local_token.read_or_make_token(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["admin-token"]


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe", b"a b" * 20])
def test_a_file_that_holds_no_token_lets_nobody_in_and_says_what_to_do(own: Parts, content: bytes) -> None:
    own.settings.var_dir.mkdir()
    (own.settings.var_dir / "admin-token").write_bytes(content)
    with pytest.raises(local_token.NoLocalToken, match="admin-token"):
        local_token.read_or_make_token(own.settings.var_dir)
    client: FlaskClient = create_app(own).test_client()
    for presented in ("", content.decode("latin-1").strip()):
        answer = client.post("/admin/jobs/esi/pause", environ_base={"HTTP_AUTHORIZATION": f"Bearer {presented}"})
        assert answer.status_code == 401
    assert client.get("/admin/jobs/queues").status_code == 200
