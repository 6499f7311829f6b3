"""Settings: read once, checked as a whole, and a wrong one says what is accepted."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import sentry_sdk

from nomad_actors.admin_tokens import AdminToken
from nomad_actors.errors import SettingsError
from nomad_actors.settings import Settings


def test_nothing_set_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where no `make run` keeps a Redis.
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.redis_url == "redis://localhost:6379/0"
    assert (settings.concurrency, settings.max_retries, settings.retry_delay_ms) == (5, 3, 2000)
    assert settings.shutdown_ms == 25_000


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().admin_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"REDIS_HOST": "cache.example", "REDIS_PORT": "6380", "REDIS_DB": "3"}, "redis://cache.example:6380/3"),
        ({"REDIS_HOST": "h", "REDIS_PASSWORD": ""}, "redis://h:6379/0"),
        ({"REDIS_HOST": "h", "REDIS_PASSWORD": "a/b@c"}, "redis://:a%2Fb%40c@h:6379/0"),
        ({"REDIS_PORT": "7000"}, "redis://localhost:7000/0"),
        ({"REDIS_HOST": "::1"}, "redis://[::1]:6379/0"),
        ({"REDIS_URL": "rediss://r:1/2"}, "rediss://r:1/2"),
    ],
)
def test_redis_is_named_by_url_or_by_parts(environ: dict[str, str], url: str) -> None:
    assert Settings.from_env(environ).redis_url == url


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"REDIS_URL": "redis://a", "REDIS_HOST": "b"}, "REDIS_URL and REDIS_HOST are both set; accepted: one or"),
        ({"REDIS_PORT": "0"}, "REDIS_PORT is '0'; accepted: a port from 1 to 65535"),
        ({"NOMAD_CONCURRENCY": "many"}, "NOMAD_CONCURRENCY is 'many'; accepted: a whole number from 1 to 1000"),
        ({"NOMAD_CONCURRENCY_TOKEN_REFRESH": "0"}, "NOMAD_CONCURRENCY_TOKEN_REFRESH is '0'"),
        ({"NOMAD_KEEP_COMPLETED": "1000"}, "NOMAD_KEEP_COMPLETED is '1000'; accepted: jobs/age, as 1000/24h"),
        ({"NOMAD_KEEP_FAILED_ESI_REFRESH": "5/5w"}, "NOMAD_KEEP_FAILED_ESI_REFRESH is '5/5w'"),
        ({"NOMAD_MAX_RETRIES": "-1"}, "NOMAD_MAX_RETRIES is '-1'"),
        ({"NOMAD_SHUTDOWN_MS": "25s"}, "NOMAD_SHUTDOWN_MS is '25s'; accepted: milliseconds"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is 'loud'; accepted: debug, info, warning, error, critical"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT is 'xml'; accepted: logfmt or json"),
        ({"ESI_BASE_URL": "esi.example"}, "ESI_BASE_URL is (hidden); accepted: an http:// or https:// URL"),
        ({"ADMIN_PORT": "99999"}, "ADMIN_PORT is '99999'"),
        ({"NOMAD_MODULES": "a b"}, "NOMAD_MODULES is 'a b'; accepted: Python module names"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL is (hidden); accepted: a sqlite:/// or postgresql:// URL"),
    ],
)
def test_a_wrong_value_names_the_variable_the_value_and_what_is_accepted(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env(environ)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("dsn", "usable"),
    [
        ("https://key@o1.ingest.sentry.io/42", True),
        ("http://key:secret@sentry.example:9000/behind/a/path/7", True),
        *(
            (wrong, False)
            for wrong in ("notadsn", "https://o1.ingest.sentry.io/42", "https://key@o1.ingest.sentry.io/")
        ),
        *((wrong, False) for wrong in ("ftp://key@host/1", "https://key@/1", "https://key@host/one", "//key@host/1")),
        ("https://key@host:port/1", False),
    ],
)
def test_a_dsn_is_taken_when_sentry_takes_it(dsn: str, usable: bool) -> None:
    try:
        sentry_sdk.utils.Dsn(dsn)
        assert usable
    except (sentry_sdk.utils.BadDsn, ValueError):
        assert not usable
    if usable:
        assert Settings.from_env({"SENTRY_DSN": dsn}).sentry_dsn == dsn
    else:
        with pytest.raises(SettingsError, match=r"SENTRY_DSN is \(hidden\); accepted: a project's DSN"):
            Settings.from_env({"SENTRY_DSN": dsn})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({"NOMAD_CONCURRENCY": "x", "ADMIN_PORT": "y", "LOG_FORMAT": "z"})
    assert len(raised.value.problems) == 3


def test_secrets_are_not_repeated() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({"NOMAD_TOKEN_KEYS": "hush,,hush", "REDIS_URL": "http://:hush@x"})
    assert "hush" not in str(raised.value)
    hushed = AdminToken("hush", "viewer", "hush")
    assert "hush" not in repr(Settings(eve_client_secret="hush", token_keys=("hush",), admin_tokens=(hushed,)))


@pytest.mark.parametrize("old", ["CONCURRENCY", "MAX_RETRIES", "RETRY_DELAY"])
def test_the_original_systems_names_are_read_with_a_warning(old: str) -> None:
    with pytest.warns(FutureWarning, match=f"set NOMAD_{old} instead"):
        settings = Settings.from_env({f"BULLMQ_{old}": "7"})
    assert 7 in (settings.concurrency, settings.max_retries, settings.retry_delay_ms)


def test_our_name_wins_over_the_original_systems() -> None:
    assert Settings.from_env({"BULLMQ_CONCURRENCY": "7", "NOMAD_CONCURRENCY": "9"}).concurrency == 9


def test_concurrency_is_set_by_queue() -> None:
    settings = Settings.from_env({"NOMAD_CONCURRENCY_ESI_REFRESH": "20"})
    assert dict(settings.queue_concurrency) == {"esi-refresh": 20}


def test_what_is_kept_is_set_in_all_and_by_queue() -> None:
    settings = Settings.from_env({"NOMAD_KEEP_COMPLETED": "50/90m", "NOMAD_KEEP_FAILED_ESI_REFRESH": "7/2d"})
    assert settings.keep_completed == (50, 5_400_000)
    assert settings.keep_failed == (10_000, 604_800_000)
    assert dict(settings.queue_keep_failed) == {"esi-refresh": (7, 172_800_000)}
    assert dict(settings.queue_keep_completed) == {}


@pytest.mark.parametrize("part", ["workers", "scheduler", "admin", "all"])
def test_every_program_ends_with_code_2_and_the_reason(part: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nomad_actors.cli", "run", part],
        env={"PATH": "/usr/bin:/bin", "ADMIN_PORT": "no port"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "wrong setting: ADMIN_PORT is 'no port'; accepted: a port from 0 to 65535"
