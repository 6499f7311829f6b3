"""No second key is created or used while logins need a lost one."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nomad_actors.clock import SystemClock
from nomad_actors.errors import CannotStart, SettingsError
from nomad_actors.health import Finding, file_checks
from nomad_actors.settings import Settings
from nomad_actors.settings.secret_url import SecretUrl
from nomad_actors.settings.values import is_strong
from nomad_actors.store import Store, TokenCipher
from nomad_actors.store.database import Database
from nomad_actors.store.key_file import make_key
from tests.support.processes import environ_for

OLD, NEW = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
OLD_ID, NEW_ID = (TokenCipher([key]).current_key_id for key in (OLD, NEW))

Login = Callable[[Store, int], None]


def save(store: Store, character_id: int = 1) -> None:
    store.logins.save(
        character_id=character_id, user_id=7, name="Ada", owner_hash="o", scopes=[], refresh_token="refresh"
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var_dir=tmp_path / "var", database_url=f"sqlite:///{tmp_path}/var/nomad.db")


@pytest.fixture
def key_file(settings: Settings) -> Path:
    """The key file of an installation with one login."""
    store = opened(settings)
    save(store)
    store.close()
    return settings.var_dir / "token.key"


def opened(settings: Settings) -> Store:
    return Store(settings.database_url, cipher=TokenCipher.from_settings(settings), clock=SystemClock())


def test_a_lost_key_file_is_not_replaced_while_logins_need_it(settings: Settings, key_file: Path) -> None:
    key_id = TokenCipher([key_file.read_text().strip()]).current_key_id
    kept = key_file.read_text()
    key_file.unlink()
    with pytest.raises(CannotStart) as raised:
        TokenCipher.from_settings(settings)
    assert f"1 login with key {key_id}, but {key_file} is missing" in str(raised.value)
    assert f"nomad forget-key {key_id}" in raised.value.fix
    assert not key_file.exists()
    key_file.write_text(kept)
    store = opened(settings)
    store.logins.check_keys()
    login = store.logins.get(1)
    assert login is not None
    assert login.refresh_token == "refresh"
    store.close()


def test_a_different_key_is_an_error_with_both_ids_and_encrypts_nothing(store: Store) -> None:
    url = store.database.url.render_as_string(hide_password=False)
    first = Store(url, cipher=TokenCipher([OLD]), clock=SystemClock())
    save(first)
    other = Store(url, cipher=TokenCipher([NEW]), clock=SystemClock())
    for use in (other.logins.check_keys, lambda: save(other, 2)):
        with pytest.raises(
            CannotStart, match=f"key {OLD_ID}, but NOMAD_TOKEN_KEYS contains key {NEW_ID}; put the lost"
        ):
            use()
    assert [each.character_id for each in first.logins.characters()] == [1]
    both = Store(url, cipher=TokenCipher([NEW, OLD]), clock=SystemClock())
    both.logins.check_keys()
    save(both, 2)
    # After forget-key they need their players, and block nothing any more.
    assert other.logins.forget_key(OLD_ID) == 1
    other.logins.check_keys()
    assert other.logins.counts() == {"active": 1, "needs_login": 1}
    for each in (first, other, both):
        each.close()


def test_a_rotated_token_is_saved_though_a_key_is_missing(store: Store) -> None:
    url = store.database.url.render_as_string(hide_password=False)
    for number, key in enumerate((OLD, NEW)):
        each = Store(url, cipher=TokenCipher([NEW, OLD]), clock=SystemClock())
        if key == OLD:
            each = Store(url, cipher=TokenCipher([OLD]), clock=SystemClock())
        save(each, number)
        each.close()
    running = Store(url, cipher=TokenCipher([NEW]), clock=SystemClock())
    # SSO has already revoked the old token: an error now would lose the login.
    running.logins.save_refreshed(1, 1, refresh_token="new", access_token="a", expires_at_ms=1, scopes=[])
    login = running.logins.get(1)
    assert login is not None
    assert login.refresh_token == "new"
    running.close()


def test_two_programs_that_create_the_key_during_a_login_use_the_same_one(settings: Settings) -> None:
    first, second = opened(settings), opened(settings)
    save(first)
    second.logins.check_keys()
    first.close()
    second.close()


def findings(settings: Settings, check: Callable[..., object], database: Database | None = None) -> dict[str, Finding]:
    class CheckedSystem:
        """The part of the system that these checks need."""

    system = CheckedSystem()
    system.settings, system.database = settings, database  # type: ignore[attr-defined]
    return {finding.name: finding for finding in check(system)}  # type: ignore[attr-defined]


def test_the_doctor_finds_a_lost_key_and_files_that_others_may_use(settings: Settings, key_file: Path) -> None:
    assert findings(settings, file_checks.token_keys)["token keys"].severity == "ok"
    assert findings(settings, file_checks.files)["files"].severity == "ok"
    key_file.chmod(0o644)
    settings.var_dir.chmod(0o755)
    found = findings(settings, file_checks.files)["files"]
    assert (found.severity, found.remedy) == ("warning", f"chmod -R go= {settings.var_dir}")
    assert str(key_file) in found.cause
    key_file.unlink()
    lost = findings(settings, file_checks.token_keys)["token keys"]
    assert (lost.severity, "nomad forget-key" in lost.remedy) == ("problem", True)


def test_a_key_without_a_database_is_not_a_problem(settings: Settings, tmp_path: Path) -> None:
    make_key(settings.var_dir)
    empty = replace(settings, database_url=SecretUrl(f"sqlite:///{tmp_path}/not made/nomad.db"))
    for database in (None, Database(empty.database_url)):
        assert findings(empty, file_checks.token_keys, database) == {}


def test_the_doctor_makes_only_our_files_private_in_a_shared_directory(tmp_path: Path) -> None:
    shared = tmp_path / "of others"
    settings = Settings(var_dir=shared, database_url=f"sqlite:///{shared}/nomad.db")
    (shared / "redis").mkdir(parents=True)
    for name in ("theirs.txt", "token.key", "redis/url"):
        (shared / name).write_text("")
        (shared / name).chmod(0o644)
    (shared / "redis").chmod(0o700)
    shared.chmod(0o755)
    found = findings(settings, file_checks.files)["files"]
    assert found.remedy == f"chmod -R go= '{shared}/redis' '{shared}/token.key'"
    subprocess.run(found.remedy, shell=True, check=True)
    assert findings(settings, file_checks.files)["files"].severity == "ok"
    assert (shared / "theirs.txt").stat().st_mode & 0o077 == 0o044


@pytest.mark.slow
def test_the_command_gives_up_only_the_logins_of_a_lost_key(
    tmp_path: Path, settings: Settings, key_file: Path, redis_url: str
) -> None:
    environ = environ_for(tmp_path, redis_url, DATABASE_URL=settings.database_url)
    key_id = TokenCipher([key_file.read_text().strip()]).current_key_id

    def forget(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "nomad_actors.cli", "forget-key", *arguments]
        result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
        return result.returncode, result.stdout + result.stderr

    code, output = forget(key_id, "--yes")
    assert (code, "is not lost" in output) == (2, True)
    key_file.unlink()
    code, output = forget("12345678", "--yes")
    assert (code, key_id in output) == (2, True)
    assert forget(key_id, "--yes") == (0, "1 login discarded: its player must log in again\n")
    store = opened(settings)
    assert store.logins.counts() == {"active": 0, "needs_login": 1}
    store.close()


@pytest.mark.parametrize(
    ("key", "strong"),
    [
        # The formats of secrets.token_urlsafe(32), token_hex(32), token_urlsafe(48) and openssl.
        ("c0V5gM7-t1pYQZr4kN8wXb2_LJdHsOaFiUe6mTqGvRn", True),
        ("6d1f8a93c4b27e50f9a8d3e6b1c27f4085da9e63b7c10f2e4d8a5b96c3e7f012", True),
        ("c0V5gM7-t1pYQZr4kN8wXb2_LJdHsOaFiUe6mTqGvRnZy3Po9hAlBtCjDkExFwIu", True),
        ("kfQbD0V7Jm2r8E1yZt5uWx3LsPaHnG9cTiOeB6vMqRk=", True),
        ("a", False),
        ("a key for tests", False),
        ("a" * 64, False),
        ("0123456789abcdef" * 2, False),
        ("6d1f8a93c4b27e50f9a8d3e6b1c27f40", False),
        ("schlüssel" * 8, False),
        ("", False),
    ],
)
def test_only_a_key_of_32_random_bytes_encrypts_and_any_decrypts(tmp_path: Path, key: str, strong: bool) -> None:
    assert is_strong(key) is strong
    if strong:
        (taken,) = Settings.from_env({"NOMAD_TOKEN_KEYS": key}).token_keys
        assert taken.get_secret_value() == key
    elif key:
        with pytest.raises(SettingsError, match=r"NOMAD_TOKEN_KEYS is \(hidden\), and its first key"):
            Settings.from_env({"NOMAD_TOKEN_KEYS": f"{key},{NEW}"})
        taken = Settings.from_env({"NOMAD_TOKEN_KEYS": f"{NEW},{key}\n"}).token_keys
        assert [each.get_secret_value() for each in taken] == [NEW, key]


def rubbish(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


def weak(path: Path) -> None:
    path.write_text("a")


def dangling(path: Path) -> None:
    path.symlink_to("/nonexistent/key")


def directory(path: Path) -> None:
    path.mkdir()


def half(path: Path) -> None:
    path.write_text(NEW[:20])


@pytest.mark.parametrize("make", [rubbish, weak, dangling, directory, half])
def test_an_invalid_key_file_is_named_and_not_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "token.key"
    make(path)
    before = os.lstat(path)
    with pytest.raises(SettingsError, match=r"NOMAD_TOKEN_KEYS is not set, and .*token\.key"):
        TokenCipher.from_settings(Settings(var_dir=tmp_path))
    assert os.lstat(path).st_mtime_ns == before.st_mtime_ns


def test_a_key_file_may_be_a_link_and_end_with_newlines(tmp_path: Path) -> None:
    # The format of a mounted secret.
    (tmp_path / "secret").write_text(f"{NEW}\r\n\n")
    (tmp_path / "token.key").symlink_to(tmp_path / "secret")
    assert TokenCipher.from_settings(Settings(var_dir=tmp_path)).current_key_id == NEW_ID
