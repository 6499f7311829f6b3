"""`nomad token` makes what NOMAD_ADMIN_TOKENS takes; a wrong entry says how to make a right one."""

from __future__ import annotations

import hmac
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nomad_actors.cli import app
from nomad_actors.clock import SystemClock
from nomad_actors.errors import SettingsError
from nomad_actors.settings import Settings
from nomad_actors.settings.admin_tokens import (
    AdminToken,
    digest_of,
    find_token,
    new_token,
    parse_tokens,
    require_tokens_beyond_loopback,
    token_entry,
)
from nomad_actors.store import AdminSessions, Audit
from nomad_actors.store.database import Database
from nomad_actors.store.local_token import link_of, read_or_make_token

from .conftest import Nomad

DIGEST = "0" * 64


def made(*arguments: str) -> tuple[str, str]:
    done = CliRunner().invoke(app, ["token", *arguments])
    assert done.exit_code == 0, done.output
    token, entry = (line.rsplit(" ", 1)[1] for line in done.output.splitlines())
    return token, entry


def test_a_made_token_is_accepted_and_only_its_hash_is_set() -> None:
    token, entry = made("ada", "--role", "operator")
    settings = Settings.from_env({"NOMAD_ADMIN_TOKENS": entry})
    assert settings.admin_tokens == (AdminToken("ada", "operator", digest_of(token)),)
    assert token not in entry
    assert len(token) >= 43


def test_two_tokens_are_never_the_same() -> None:
    assert made("ada", "--role", "viewer") != made("ada", "--role", "viewer")


@pytest.mark.parametrize("arguments", [["a:b", "--role", "viewer"], ["", "--role", "viewer"], ["a", "--role", "root"]])
def test_a_name_or_role_that_no_entry_may_have_is_refused(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["token", *arguments])
    assert done.exit_code == 2
    assert "shown this once" not in done.output
    named = arguments[0] if arguments[0] != "a" else "root"
    assert f"{named!r} is " in done.stderr
    assert "accepted: " in done.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hush-hush", "entry 1 does not have three parts"),
        (f"ada:viewer:{DIGEST},ada:operator:{DIGEST}", "entry 2 has the same name as an earlier one"),
        (f"ada:root-hush:{DIGEST}", "entry 1 has an unknown role"),
        ("ada:viewer:hush", "entry 1 has no SHA-256"),
        (f"hush/hush:viewer:{DIGEST}", "entry 1 has no valid name"),
        (f"ada:viewer:{DIGEST},", "entry 2 does not have three parts"),
    ],
)
def test_a_wrong_entry_says_why_and_how_to_make_one_and_repeats_nothing(text: str, why: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({"NOMAD_ADMIN_TOKENS": text})
    said = str(raised.value)
    assert why in said
    assert "nomad token NAME --role viewer|operator" in said
    assert "hush" not in said


def test_a_token_is_found_among_several() -> None:
    tokens = parse_tokens(",".join(f"n{n}:viewer:{digest_of(f'token {n}')}" for n in range(3)))
    assert [find_token(tokens, f"token {n}") for n in range(3)] == list(tokens)
    assert find_token(tokens, "token 3") is None
    assert find_token((), "") is None


@pytest.mark.parametrize("presented", ["token 0", "token 2", "none"])
def test_every_entry_is_compared_in_constant_time_whichever_it_is(
    monkeypatch: pytest.MonkeyPatch, presented: str
) -> None:
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    tokens = parse_tokens(",".join(f"n{n}:viewer:{digest_of(f'token {n}')}" for n in range(3)))
    find_token(tokens, presented)
    assert compared == [token.digest for token in tokens]


@pytest.mark.parametrize("text", ["a b", "host:3000", "http://host", "a,,b"])
def test_a_wrong_host_name_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="NOMAD_ADMIN_HOSTS"):
        Settings.from_env({"NOMAD_ADMIN_HOSTS": text})


def test_hosts_and_read_only_are_read() -> None:
    settings = Settings.from_env({"NOMAD_ADMIN_HOSTS": "Admin.Example, [2001:db8::1]", "NOMAD_ADMIN_READ_ONLY": "1"})
    assert settings.admin_hosts == ("admin.example", "2001:db8::1")
    assert settings.admin_read_only
    with pytest.raises(SettingsError, match="accepted: 1 or 0"):
        Settings.from_env({"NOMAD_ADMIN_READ_ONLY": "yes"})


# Revoking, and the way in from this machine.


def test_a_token_is_revoked_by_name_entry_or_itself_without_a_restart(
    nomad: Nomad, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = AdminSessions(database, clock=SystemClock())
    tokens = {name: new_token() for name in ("ada", "bo", "cy")}
    entries = {name: token_entry(name, "operator", token) for name, token in tokens.items()}
    monkeypatch.setenv("NOMAD_ADMIN_TOKENS", ",".join(entry.entry for entry in entries.values()))
    for name, said in (("ada", "ada"), ("bo", entries["bo"].entry), ("cy", tokens["cy"])):
        done = nomad("token", said, "--revoke")
        assert (done.exit_code, f"The token of {name} is revoked" in done.stdout) == (0, True), done.output
        assert sessions.is_revoked(entries[name].digest)
        assert "was revoked before" in nomad("token", said, "--revoke").stdout
    written = Audit(database, clock=SystemClock()).read(9)[0]
    assert {(entry.method, entry.path, entry.status) for entry in written} == {
        ("DELETE", f"/admin/jobs/tokens/{name}", 200) for name in tokens
    }
    # One that is set nowhere here is revoked by itself too: it may be set on another host.
    elsewhere = new_token()
    assert nomad("token", elsewhere, "--revoke").exit_code == 0
    assert sessions.is_revoked(digest_of(elsewhere))
    assert not sessions.is_revoked(digest_of("another"))


@pytest.mark.parametrize("name", ["nobody", "", "a:b", "hush-hush-a-password"])
def test_what_is_no_token_is_not_revoked_and_not_repeated(nomad: Nomad, name: str) -> None:
    done = nomad("token", name, "--revoke")
    assert (done.exit_code, "accepted: " in done.stderr, "hush" in done.output) == (2, True, False)
    assert nomad("token", "ada", "--revoke", "--role", "viewer").exit_code == 2


def test_without_the_database_nothing_is_revoked_and_that_is_said(
    nomad: Nomad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    done = nomad("token", new_token(), "--revoke")
    assert (done.exit_code, "nothing is revoked" in done.stderr) == (5, True)


def test_the_machines_own_token_is_replaced_and_the_audit_log_has_it(
    nomad: Nomad, environ: dict[str, str], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_or_make_token(Path(environ["NOMAD_VAR_DIR"]))
    assert nomad("token", "local", "--revoke").exit_code == 0
    replaced = read_or_make_token(Path(environ["NOMAD_VAR_DIR"]))
    assert replaced != before
    (entry,) = Audit(database, clock=SystemClock()).read(9)[0]
    assert (entry.method, entry.path, entry.status) == ("DELETE", "/admin/jobs/tokens/local", 200)
    # It needs no database, but says what is not written down.
    monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/none.db")
    done = nomad("token", "local", "--revoke")
    assert (done.exit_code, "not in the audit log" in done.stderr) == (0, True)
    assert read_or_make_token(Path(environ["NOMAD_VAR_DIR"])) != replaced


def test_several_entries_are_refused_and_none_is_revoked(nomad: Nomad, database: Database) -> None:
    entries = [token_entry(name, "viewer", new_token()) for name in ("ada", "bo")]
    done = nomad("token", ",".join(entry.entry for entry in entries), "--revoke")
    assert (done.exit_code, "one at a time" in done.stderr, entries[0].digest in done.output) == (2, True, False)
    sessions = AdminSessions(database, clock=SystemClock())
    assert not any(sessions.is_revoked(entry.digest) for entry in entries)


def test_a_link_of_the_command_is_signed_with_the_machines_token(
    nomad: Nomad, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = nomad("admin", "link")
    assert (refused.exit_code, "--port" in refused.stderr) == (2, True)
    for host, prefix, base in (
        ("127.0.0.1", "", "http://127.0.0.1:3001/"),
        ("::1", "/nomad/", "http://[::1]:3001/nomad/"),
    ):
        monkeypatch.setenv("ADMIN_HOST", host)
        monkeypatch.setenv("ADMIN_PREFIX", prefix)
        printed = nomad("admin", "link", "--port", "3001")
        found = re.fullmatch(rf"{re.escape(base)}admin/login\?once=(\S+)\n", printed.stdout)
        assert found, printed.output
        token = read_or_make_token(Path(environ["NOMAD_VAR_DIR"]))
        assert link_of(found[1], token, SystemClock().now_ms())
    monkeypatch.setenv("NOMAD_ADMIN_TOKENS", f"ada:operator:{DIGEST}")
    refused = nomad("admin", "link", "--port", "3001")
    assert (refused.exit_code, "/nomad/admin/login" in refused.stderr) == (2, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "admin.example"])
def test_an_admin_that_others_reach_needs_tokens(host: str) -> None:
    with pytest.raises(SettingsError, match="NOMAD_ADMIN_TOKENS is not set; accepted: "):
        require_tokens_beyond_loopback(Settings(admin_host=host))
    require_tokens_beyond_loopback(Settings(admin_host=host, admin_tokens=(AdminToken("a", "viewer", DIGEST),)))
    for own in ("localhost", "127.0.0.2", "::1"):
        require_tokens_beyond_loopback(Settings(admin_host=own))
