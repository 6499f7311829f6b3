"""`nomad token` makes entries for NOMAD_ADMIN_TOKENS, and errors about wrong entries say how to make one."""

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


def make_token(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["token", *arguments])
    assert result.exit_code == 0, result.output
    token, entry = (line.rsplit(" ", 1)[1] for line in result.output.splitlines())
    return token, entry


def test_a_new_token_is_accepted_and_its_entry_has_only_its_hash() -> None:
    token, entry = make_token("ada", "--role", "operator")
    settings = Settings.from_env({"NOMAD_ADMIN_TOKENS": entry})
    assert settings.admin_tokens == (AdminToken("ada", "operator", digest_of(token)),)
    assert token not in entry
    assert len(token) >= 43


def test_a_readers_token_may_have_users() -> None:
    token, entry = make_token("shop", "--role", "reader", "--users", "8, 7,8")
    assert entry == f"shop:reader:{digest_of(token)}:7+8"
    others = make_token("ada", "--role", "reader")[1]
    first, second = Settings.from_env({"NOMAD_ADMIN_TOKENS": f"{entry},{others}"}).admin_tokens
    assert (first.users, first.entry, second.users) == ((7, 8), entry, ())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--role", "viewer", "--users", "7"], "only a token with the role reader has users"),
        (["--users", "7", "--revoke"], "cannot be combined with --revoke"),
        *((["--role", "reader", "--users", users], "allowed: ids such as 7,8") for users in ("", "ada", "7,", "-1")),
    ],
)
def test_wrong_users_are_refused(arguments: list[str], why: str) -> None:
    result = CliRunner().invoke(app, ["token", "ada", *arguments], env={"COLUMNS": "200"})
    assert (result.exit_code, why in result.stderr) == (2, True), result.stderr


def test_no_two_tokens_are_the_same() -> None:
    assert make_token("ada", "--role", "viewer") != make_token("ada", "--role", "viewer")


@pytest.mark.parametrize("arguments", [["a:b", "--role", "viewer"], ["", "--role", "viewer"], ["a", "--role", "root"]])
def test_an_invalid_name_or_role_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["token", *arguments])
    assert result.exit_code == 2
    assert "shown only once" not in result.output
    invalid = arguments[0] if arguments[0] != "a" else "root"
    assert f"{invalid!r} is " in result.stderr
    assert "allowed: " in result.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hush-hush", "entry 1 does not have three parts"),
        (f"ada:viewer:{DIGEST},ada:operator:{DIGEST}", "entry 2 has the same name as an earlier one"),
        (f"ada:root-hush:{DIGEST}", "entry 1 has an unknown role"),
        ("ada:viewer:hush", "entry 1 has no SHA-256"),
        (f"hush/hush:viewer:{DIGEST}", "entry 1 has no valid name"),
        (f"ada:viewer:{DIGEST},", "entry 2 does not have three parts"),
        (f"ada:viewer:{DIGEST}:7", "entry 1 has users; only a reader's may"),
        (f"ada:reader:{DIGEST}:", "entry 1 has no valid users"),
        (f"ada:reader:{DIGEST}:7,8", "entry 2 does not have three parts"),
        (f"ada:reader:{DIGEST}:hush", "entry 1 has no valid users"),
        (f"ada:reader:{DIGEST}:7:8", "entry 1 does not have three parts"),
    ],
)
def test_an_error_about_an_entry_explains_it_and_does_not_repeat_it(text: str, why: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({"NOMAD_ADMIN_TOKENS": text})
    message = str(raised.value)
    assert why in message
    assert "nomad token NAME --role viewer|operator" in message
    assert "hush" not in message


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
    with pytest.raises(SettingsError, match="allowed: 1 or 0"):
        Settings.from_env({"NOMAD_ADMIN_READ_ONLY": "yes"})


# Revoking, and links to log in from this machine.


def test_a_token_is_revoked_by_name_by_entry_or_by_itself_without_a_restart(
    nomad: Nomad, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = AdminSessions(database, clock=SystemClock())
    tokens = {name: new_token() for name in ("ada", "bo", "cy")}
    entries = {name: token_entry(name, "operator", token) for name, token in tokens.items()}
    monkeypatch.setenv("NOMAD_ADMIN_TOKENS", ",".join(entry.entry for entry in entries.values()))
    for name, argument in (("ada", "ada"), ("bo", entries["bo"].entry), ("cy", tokens["cy"])):
        result = nomad("token", argument, "--revoke")
        assert (result.exit_code, f"The token of {name} is revoked" in result.stdout) == (0, True), result.output
        assert sessions.is_revoked(entries[name].digest)
        assert "was revoked before" in nomad("token", argument, "--revoke").stdout
    recorded = Audit(database, clock=SystemClock()).read(9)[0]
    assert {(entry.method, entry.path, entry.status) for entry in recorded} == {
        ("DELETE", f"/admin/jobs/tokens/{name}", 200) for name in tokens
    }
    # A token that is not configured here can be revoked too: it may be configured on another host.
    elsewhere = new_token()
    assert nomad("token", elsewhere, "--revoke").exit_code == 0
    assert sessions.is_revoked(digest_of(elsewhere))
    assert not sessions.is_revoked(digest_of("another"))


@pytest.mark.parametrize("name", ["nobody", "", "a:b", "hush-hush-a-password"])
def test_an_argument_that_is_no_token_is_refused_and_not_repeated(nomad: Nomad, name: str) -> None:
    result = nomad("token", name, "--revoke")
    assert (result.exit_code, "allowed: " in result.stderr, "hush" in result.output) == (2, True, False)
    assert nomad("token", "ada", "--revoke", "--role", "viewer").exit_code == 2


def test_without_the_database_revoking_is_an_error(
    nomad: Nomad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    result = nomad("token", new_token(), "--revoke")
    assert (result.exit_code, "the token is not revoked" in result.stderr) == (5, True)


def test_the_machines_own_token_is_replaced_and_the_change_is_recorded(
    nomad: Nomad, environ: dict[str, str], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_or_make_token(Path(environ["NOMAD_VAR_DIR"]))
    assert nomad("token", "local", "--revoke").exit_code == 0
    replaced = read_or_make_token(Path(environ["NOMAD_VAR_DIR"]))
    assert replaced != before
    (entry,) = Audit(database, clock=SystemClock()).read(9)[0]
    assert (entry.method, entry.path, entry.status) == ("DELETE", "/admin/jobs/tokens/local", 200)
    # It works without the database, but warns that the change is not recorded.
    monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/none.db")
    result = nomad("token", "local", "--revoke")
    assert (result.exit_code, "not in the audit log" in result.stderr) == (0, True)
    assert read_or_make_token(Path(environ["NOMAD_VAR_DIR"])) != replaced


def test_several_entries_at_once_are_refused(nomad: Nomad, database: Database) -> None:
    entries = [token_entry(name, "viewer", new_token()) for name in ("ada", "bo")]
    result = nomad("token", ",".join(entry.entry for entry in entries), "--revoke")
    assert (
        result.exit_code,
        "only one token can be revoked at a time" in result.stderr,
        entries[0].digest in result.output,
    ) == (2, True, False)
    sessions = AdminSessions(database, clock=SystemClock())
    assert not any(sessions.is_revoked(entry.digest) for entry in entries)


def test_a_link_is_signed_with_the_machines_token(
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
def test_an_admin_beyond_loopback_needs_tokens(host: str) -> None:
    with pytest.raises(SettingsError, match="NOMAD_ADMIN_TOKENS is not set; allowed: "):
        require_tokens_beyond_loopback(Settings(admin_host=host))
    require_tokens_beyond_loopback(Settings(admin_host=host, admin_tokens=(AdminToken("a", "viewer", DIGEST),)))
    for loopback in ("localhost", "127.0.0.2", "::1"):
        require_tokens_beyond_loopback(Settings(admin_host=loopback))
