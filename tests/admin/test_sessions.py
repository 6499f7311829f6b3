"""Sessions of the pages: login by token or one-time link, end in all admins at once, no forgery."""

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

from .admin_process import form_token
from .conftest import AdminApp, make_app

TOKEN = "o" * 43
ENTRY = token_entry("otto", "operator", TOKEN)
START_MS = 1_793_491_200_000
PAGE = "/admin/queues/token-refresh"


@pytest.fixture(params=["a configured token", "the machine's tokenless_app"])
def app(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Iterator[AdminApp]:
    """An application with one operator's token and a manual clock."""
    settings = Settings(admin_tokens=(ENTRY,) if "configured" in request.param else ())
    app = make_app(redis_url, tmp_path, settings, ManualClock(START_MS))
    yield app
    app.close()


def token_of(app: AdminApp) -> str:
    return TOKEN if app.settings.admin_tokens else local_token.read_or_make_token(app.settings.var_dir)


def browser(app: AdminApp, cookie: str = "") -> FlaskClient:
    """Return a client on another machine, of another admin on the same database."""
    client = create_app(app).test_client()
    client.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    if cookie:
        client.set_cookie("nomad_session", cookie, path="/admin")
    return client


def log_in(app: AdminApp) -> tuple[FlaskClient, str]:
    """Return a logged-in client and its cookie."""
    client = browser(app)
    form = {"token": token_of(app), "form_token": form_token(client.get("/admin/login").text)}
    assert client.post("/admin/login", data=form).status_code == 303
    cookie = client.get_cookie("nomad_session", path="/admin")
    assert cookie is not None
    return client, cookie.value


def is_logged_in(app: AdminApp, cookie: str) -> bool:
    return browser(app, cookie).get(PAGE).status_code == 200


def advance(app: AdminApp, seconds: float) -> None:
    assert isinstance(app.clock, ManualClock)
    app.clock.advance(seconds=seconds)


def test_a_copied_cookie_does_not_survive_the_logout_in_any_admin(app: AdminApp) -> None:
    client, cookie = log_in(app)
    other, other_cookie = log_in(app)
    assert is_logged_in(app, cookie)
    form = {"form_token": form_token(client.get(PAGE).text)}
    assert client.post("/admin/logout", data=form).status_code == 303
    assert not is_logged_in(app, cookie)
    assert "session" in [entry.reason for entry in app.store.audit.read(2)[0]]
    assert (is_logged_in(app, other_cookie), other.get(PAGE).status_code) == (True, 200)


def test_a_session_ends_by_time_with_its_token_and_with_its_role(app: AdminApp) -> None:
    _, cookie = log_in(app)
    advance(app, 12 * 3600 - 1)
    assert is_logged_in(app, cookie)
    for entries in (
        (),
        (token_entry("otto", "operator", "another"),),
        (replace(ENTRY, role="viewer"),),
        (replace(ENTRY, name="ada"),),
    ):
        if app.settings.admin_tokens:
            assert not is_logged_in(replace(app, settings=replace(app.settings, admin_tokens=entries)), cookie)
    assert is_logged_in(app, cookie)
    advance(app, 1)
    assert not is_logged_in(app, cookie)


def test_a_session_cannot_be_forged_from_configured_or_stored_values(app: AdminApp) -> None:
    _, cookie = log_in(app)
    digest = digest_of(token_of(app))
    with app.store.database.read() as connection:
        (stored,) = connection.exec_driver_sql("SELECT id_hash FROM admin_sessions").scalars()
    tampered = f"{cookie[:-1]}{'A' if cookie[-1] != 'A' else 'B'}"
    for forged in (stored, stored[:43], digest, digest[:43], tampered, "", "A" * 43, "A" * 4_000, "é" * 43):
        assert not is_logged_in(app, forged), forged
    assert is_logged_in(app, cookie)


def test_a_revoked_token_and_its_sessions_end_at_once_in_every_admin(app: AdminApp) -> None:
    client, cookie = log_in(app)
    header = {"Authorization": f"Bearer {token_of(app)}"}
    assert client.get("/admin/jobs/queues", headers=header).status_code == 200
    if app.settings.admin_tokens:
        app.store.admin_sessions.revoke(ENTRY.digest, "otto", "uid 0 (root)")
    else:
        local_token.replace_token(app.settings.var_dir)
    assert client.get(PAGE).status_code in (303, 401)
    assert not is_logged_in(app, cookie)
    assert client.get("/admin/jobs/queues", headers=header).status_code == 401
    form = {"token": header["Authorization"][7:], "form_token": form_token(client.get("/admin/login").text)}
    assert client.post("/admin/login", data=form).status_code == 401
    if app.settings.admin_tokens:
        refused = app.store.audit.read(10)[0]
        assert [entry.actor for entry in refused if entry.reason == "revoked"] == ["otto", "otto"]
    # This admin knows of it, and remembers it while the database is unavailable.
    app.remove_database()
    assert client.get("/admin/jobs/queues", headers=header).status_code == 401


def test_without_the_database_a_recent_session_may_only_read(app: AdminApp) -> None:
    client, cookie = log_in(app)
    page = client.get(PAGE)
    assert page.status_code == 200
    pause = {"form_token": form_token(page.text)}
    app.remove_database()
    assert client.get(PAGE).status_code == 200
    assert client.post(f"{PAGE}/pause", data=pause).status_code == 503
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused
    # Another process has not seen the session and cannot check it: the client must try again later.
    response = browser(app, cookie).get(PAGE)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    advance(app, 15 * 60)
    assert client.get(PAGE).status_code == 503
    assert client.get_cookie("nomad_session", path="/admin") is not None
    app.restore_database()
    assert client.get(PAGE).status_code == 200
    app.remove_database()
    # The logout counts in this process; the 503 says that other admins do not know of it.
    response = client.post("/admin/logout", data=pause)
    assert response.status_code == 503
    assert client.get_cookie("nomad_session", path="/admin") is None
    client.set_cookie("nomad_session", cookie, path="/admin")
    assert client.get(PAGE).status_code == 503


def test_old_sessions_are_removed(app: AdminApp) -> None:
    _, first = log_in(app)
    advance(app, 12 * 3600 + 8 * 86_400)
    log_in(app)
    with app.store.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM admin_sessions").scalar() == 1
    assert not is_logged_in(app, first)


# One-time links, without configured tokens.


@pytest.fixture
def tokenless_app(redis_url: str, tmp_path: Path) -> Iterator[AdminApp]:
    """An application without configured tokens."""
    app = make_app(redis_url, tmp_path, None, ManualClock(START_MS))
    yield app
    app.close()


def a_link(app: AdminApp) -> str:
    code = local_token.new_code(local_token.read_or_make_token(app.settings.var_dir), app.clock.now_ms())
    return f"/admin/login?once={code}"


def test_an_admin_with_tokens_refuses_links(tokenless_app: AdminApp) -> None:
    link = a_link(tokenless_app)
    configured = replace(tokenless_app.settings, admin_tokens=(token_entry("ada", "operator", TOKEN),))
    response = create_app(replace(tokenless_app, settings=configured)).test_client().get(link)
    assert (response.status_code, "does not accept links: log in with a token" in response.text) == (401, True)
    assert "nomad admin link" not in response.text


def test_a_link_works_once_also_after_a_restart(tokenless_app: AdminApp) -> None:
    link = a_link(tokenless_app)
    client = create_app(tokenless_app).test_client()
    # A prefetch and a HEAD request do not use up the link.
    client.get(link, headers={"Sec-Purpose": "prefetch;prerender"})
    client.head(link)
    response = client.get(link)
    assert (response.status_code, response.location) == (303, "/admin/")
    cookie = client.get_cookie("nomad_session", path="/admin")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site) == (True, "Strict")
    page = client.get(PAGE).text
    assert "local, operator" in page
    assert client.post(f"{PAGE}/pause", data={"form_token": form_token(page)}).status_code == 303
    assert tokenless_app.queues.get_queue("token-refresh").snapshot().is_paused
    entries = tokenless_app.store.audit.read(9)[0]
    assert [(entry.actor, entry.method, entry.path) for entry in entries] == [
        ("local", "POST", f"{PAGE}/pause"),
        ("local", "GET", "/admin/login"),
    ]
    for other in (client, create_app(tokenless_app).test_client()):
        response = other.get(link)
        assert (response.status_code, "already used" in response.text) == (401, True)
    assert "once=" not in "".join(
        f"{entry.path}{entry.error}{entry.body}" for entry in tokenless_app.store.audit.read(9)[0]
    )


def test_of_concurrent_uses_of_a_link_one_succeeds(tokenless_app: AdminApp) -> None:
    link, web = a_link(tokenless_app), create_app(tokenless_app)
    tokenless_app.store.migrate()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: web.test_client().get(link).status_code, range(8)))
    assert sorted(statuses) == [303] + [401] * 7


def test_a_link_expires_after_ten_minutes_and_with_its_token(tokenless_app: AdminApp) -> None:
    client = create_app(tokenless_app).test_client()
    link, later = a_link(tokenless_app), a_link(tokenless_app)
    advance(tokenless_app, 599)
    assert client.get(link).status_code == 303
    advance(tokenless_app, 1)
    assert client.get(later).status_code == 401
    replaced = a_link(tokenless_app)
    local_token.replace_token(tokenless_app.settings.var_dir)
    assert client.get(replaced).status_code == 401


def test_a_forged_link_is_refused(tokenless_app: AdminApp) -> None:
    client = create_app(tokenless_app).test_client()
    until, name, signature = a_link(tokenless_app).partition("=")[2].split(".")
    wrong = ["x", ".", "..", "1.2.3", "9999999999999.x.", "é.é.é", "9" * 199, "٣.x.0", "-1.x.y", "\x00.\x00.\x00"]
    wrong += [f"{int(until) + 1}.{name}.{signature}", f"{until}.{name}x.{signature}", f"{until}.{name}."]
    for code in wrong:
        assert client.get("/admin/login", query_string={"once": code}).status_code == 401, code


def test_a_link_still_works_after_a_database_outage(tokenless_app: AdminApp) -> None:
    client, link = create_app(tokenless_app).test_client(), a_link(tokenless_app)
    tokenless_app.remove_database()
    assert client.get(link).status_code == 503
    tokenless_app.restore_database()
    assert client.get(link).status_code == 303


def test_a_link_is_not_used_up_when_the_audit_log_cannot_be_written(tokenless_app: AdminApp) -> None:
    client, link = create_app(tokenless_app).test_client(), a_link(tokenless_app)
    tokenless_app.store.migrate()
    with tokenless_app.store.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE audit_log RENAME TO away")
    assert client.get(link).status_code == 503
    with tokenless_app.store.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO audit_log")
    assert client.get(link).status_code == 303
    assert create_app(tokenless_app).test_client().get(link).status_code == 401
    refused, let_in = tokenless_app.store.audit.read(9)[0]
    assert [(entry.actor, entry.status, entry.reason) for entry in (refused, let_in)] == [
        ("local", 401, None),
        ("local", 303, None),
    ]
    assert "already used" in (refused.error or "")


def test_with_configured_tokens_links_are_refused(redis_url: str, tmp_path: Path) -> None:
    app = make_app(redis_url, tmp_path, Settings(admin_tokens=(ENTRY,)), ManualClock(START_MS))
    assert browser(app).get(a_link(app)).status_code == 401
    header = {"Authorization": f"Bearer {local_token.read_or_make_token(app.settings.var_dir)}"}
    assert browser(app).get("/metrics", headers=header).status_code == 401
    app.close()


# The machine's own token.


def test_the_token_is_created_once_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        tokens = set(pool.map(lambda _: local_token.read_or_make_token(tmp_path / "var"), range(64)))
    (path,) = (tmp_path / "var").iterdir()
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == ("admin-token", 0o600)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", *tokens)


def test_a_dangling_symlink_instead_of_the_token_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "admin-token").symlink_to(tmp_path / "nowhere" / "else")
    with pytest.raises(local_token.NoLocalToken, match="can neither be read nor created; if it is a dangling link"):
        local_token.read_or_make_token(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["admin-token"]


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe", b"a b" * 20])
def test_an_invalid_token_file_gives_nobody_access(tokenless_app: AdminApp, content: bytes) -> None:
    tokenless_app.settings.var_dir.mkdir()
    (tokenless_app.settings.var_dir / "admin-token").write_bytes(content)
    with pytest.raises(local_token.NoLocalToken, match="admin-token"):
        local_token.read_or_make_token(tokenless_app.settings.var_dir)
    client: FlaskClient = create_app(tokenless_app).test_client()
    for presented in ("", content.decode("latin-1").strip()):
        response = client.post("/admin/jobs/esi/pause", environ_base={"HTTP_AUTHORIZATION": f"Bearer {presented}"})
        assert response.status_code == 401
    assert client.get("/admin/jobs/queues").status_code == 200
