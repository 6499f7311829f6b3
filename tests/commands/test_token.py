"""`nomad token` makes what NOMAD_ADMIN_TOKENS takes; a wrong entry says how to make a right one."""

from __future__ import annotations

import hmac

import pytest
from typer.testing import CliRunner

from nomad_actors.admin_tokens import AdminToken, digest_of, find_token, parse_tokens
from nomad_actors.cli import app
from nomad_actors.errors import SettingsError
from nomad_actors.settings import Settings

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
        ("hush-hush", "entry 1 is not of three parts"),
        (f"ada:viewer:{DIGEST},ada:operator:{DIGEST}", "entry 2 has the name of an earlier one"),
        (f"ada:root-hush:{DIGEST}", "entry 1 has an unknown role"),
        ("ada:viewer:hush", "entry 1 has no SHA-256"),
        (f"hush/hush:viewer:{DIGEST}", "entry 1 has no usable name"),
        (f"ada:viewer:{DIGEST},", "entry 2 is not of three parts"),
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
