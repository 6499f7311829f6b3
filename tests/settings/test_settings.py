"""Settings: read once, validated together, and an invalid one is reported with the allowed values."""

from __future__ import annotations

import base64
import dataclasses
import pickle
import pprint
import re
import secrets
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import redis
import sentry_sdk
import sqlalchemy

from nomad_actors.errors import SettingsError
from nomad_actors.logs.redaction import redact
from nomad_actors.retention import Retention
from nomad_actors.settings import Settings
from nomad_actors.settings.admin_tokens import AdminToken
from nomad_actors.settings.secret_url import SecretUrl


def test_an_empty_environment_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A directory without the Redis of `make run`.
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.redis_url == "redis://localhost:6379/0"
    assert (settings.concurrency, settings.max_retries, settings.retry_delay_ms) == (5, 3, 2000)
    assert settings.shutdown_ms == 25_000


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("REDIS://h", "its scheme is not in lower case"),
        ("http://h", "its scheme is not one of Redis's"),
        ("redis:/h", "its scheme is not one of Redis's"),
        ("redis://h?ssl_cert_reqs=none", "it has the option 'ssl_cert_reqs' without TLS (rediss://)"),
        ("redis://h?bogus=1", "it has the option 'bogus'; allowed options are db, socket_timeout"),
        ("redis://h?decode_responses=true", "it has the option 'decode_responses'"),
        ("redis://h?password=hush", "it has the option 'password'"),
        ("redis://h?max_connections=many", "its option 'max_connections' is not a number"),
        ("redis://h?socket_timeout=-1", "its option 'socket_timeout' is not a number"),
        ("redis://h?db=1&db=2", "it has the option 'db' twice"),
        ("redis://h/1?db=99", "it gives the database twice"),
        ("redis://h/queue", "its path is not a database number"),
        ("redis://h?client_name=a%20b", "its option 'client_name' has characters that Redis rejects"),
        ("rediss://h?ssl_cert_reqs=bogus", "redis-py rejects it: Invalid SSL Certificate Requirements Flag"),
        ("rediss://h?ssl_ca_certs=/not/there", "the file of its option 'ssl_ca_certs' does not exist"),
        ("redis://:hush/h@h", "its host or port cannot be read"),
        ("redis://:hush#h@h", "its host or port cannot be read"),
        ("redis://h/0#hush", "it contains '#': write %23 in a password"),
        ("redis://h:0", "its port is 0"),
        ("redis://h:99999", "its host or port cannot be read"),
        ("redis://[::1", "its host or port cannot be read"),
        ("unix://run/redis.sock", "a unix socket has no host: the path needs a third slash"),
        ("unix://", "it has no socket path"),
    ],
)
@pytest.mark.parametrize("variable", ["REDIS_URL", "REDIS_CACHE_URL"])
def test_a_redis_url_that_redis_py_rejects_stops_the_start(variable: str, url: str, why: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({variable: url})
    assert f"{variable} is (hidden), and {why}" in str(raised.value)
    assert "allowed: redis://[user:password@]host:6379/0" in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h/",
        "redis://user:p%2Fw%23@h:1/2?socket_timeout=1.5&max_connections=5&client_name=nomad",
        "redis://[::1]:6379/0",
        "redis://h?db=99",
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false",
        "unix:///run/redis.sock?db=1",
        "unix://user:pw@/run/redis.sock",
    ],
)
def test_a_redis_url_that_redis_py_accepts_is_accepted(url: str) -> None:
    assert Settings.from_env({"REDIS_URL": url, "REDIS_CACHE_URL": url}).redis_url == url


@pytest.mark.parametrize(
    "password", ["plain", " two spaces ", "a/b@c:d?e#f%g", "schlüssel", "tab\tinside", "line\nbreak inside"]
)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_is_used_unchanged_except_for_a_trailing_newline(password: str, end: str) -> None:
    url = Settings.from_env({"REDIS_HOST": "h", "REDIS_PASSWORD": password + end}).redis_url
    assert redis.ConnectionPool.from_url(url).connection_kwargs["password"] == password


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:1", "https://esi.example/"])
def test_esi_and_sso_need_tls_except_on_this_machine(url: str) -> None:
    settings = Settings.from_env({"ESI_BASE_URL": url, "SSO_BASE_URL": url})
    assert settings.esi_base_url == settings.sso_base_url == url.rstrip("/")


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
def test_redis_is_set_by_url_or_by_parts(environ: dict[str, str], url: str) -> None:
    assert Settings.from_env(environ).redis_url == url


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"REDIS_URL": "redis://a", "REDIS_HOST": "b"}, "REDIS_URL and REDIS_HOST are both set; allowed: one or"),
        ({"REDIS_PORT": "0"}, "REDIS_PORT is '0'; allowed: a port from 1 to 65535"),
        ({"NOMAD_CONCURRENCY": "many"}, "NOMAD_CONCURRENCY is 'many'; allowed: a whole number from 1 to 1000"),
        ({"NOMAD_CONCURRENCY_TOKEN_REFRESH": "0"}, "NOMAD_CONCURRENCY_TOKEN_REFRESH is '0'"),
        ({"NOMAD_KEEP_COMPLETED": "1000"}, "NOMAD_KEEP_COMPLETED is '1000'; allowed: jobs/age, such as 1000/24h"),
        ({"NOMAD_KEEP_FAILED_ESI_REFRESH": "5/5w"}, "NOMAD_KEEP_FAILED_ESI_REFRESH is '5/5w'"),
        ({"NOMAD_MAX_RETRIES": "-1"}, "NOMAD_MAX_RETRIES is '-1'"),
        ({"NOMAD_SHUTDOWN_MS": "25s"}, "NOMAD_SHUTDOWN_MS is '25s'; allowed: milliseconds"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is 'loud'; allowed: debug, info, warning, error, critical"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT is 'xml'; allowed: logfmt or json"),
        (
            {"ESI_BASE_URL": "esi.example"},
            "ESI_BASE_URL is (hidden); allowed: an https:// URL; http:// only for",
        ),
        ({"SSO_BASE_URL": "http://sso.example"}, "SSO_BASE_URL is (hidden); allowed: an https:// URL"),
        ({"ESI_BASE_URL": "http://10.0.0.1:80"}, "ESI_BASE_URL is (hidden); allowed: an https:// URL"),
        ({"ESI_BASE_URL": "http://localhost.example"}, "ESI_BASE_URL is (hidden); allowed: an https:// URL"),
        ({"REDIS_HOST": "localhost:6379"}, "REDIS_HOST is 'localhost:6379'; allowed: only a host name or address"),
        ({"REDIS_HOST": "redis://h"}, "REDIS_HOST is 'redis://h'; allowed: only a host name or address"),
        ({"ADMIN_PORT": "99999"}, "ADMIN_PORT is '99999'"),
        ({"NOMAD_MODULES": "a b"}, "NOMAD_MODULES is 'a b'; allowed: comma-separated Python module names"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL is (hidden); allowed: a sqlite:/// or postgresql:// URL"),
    ],
)
def test_an_invalid_value_is_reported_with_variable_value_and_allowed_values(
    environ: dict[str, str], expected: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env(environ)
    assert expected in str(raised.value)


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
def test_a_dsn_is_accepted_if_sentry_accepts_it(dsn: str, usable: bool) -> None:
    try:
        sentry_sdk.utils.Dsn(dsn)
        assert usable
    except (sentry_sdk.utils.BadDsn, ValueError):
        assert not usable
    if usable:
        assert Settings.from_env({"SENTRY_DSN": dsn}).sentry_dsn.get_secret_value() == dsn
    else:
        with pytest.raises(SettingsError, match=r"SENTRY_DSN is \(hidden\); allowed: a project's DSN"):
            Settings.from_env({"SENTRY_DSN": dsn})


def test_all_problems_are_reported_together() -> None:
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
def test_the_original_systems_variables_are_read_with_a_warning(old: str) -> None:
    with pytest.warns(FutureWarning, match=f"set NOMAD_{old} instead"):
        settings = Settings.from_env({f"BULLMQ_{old}": "7"})
    assert 7 in (settings.concurrency, settings.max_retries, settings.retry_delay_ms)


def test_our_variable_takes_precedence_over_the_original_systems() -> None:
    assert Settings.from_env({"BULLMQ_CONCURRENCY": "7", "NOMAD_CONCURRENCY": "9"}).concurrency == 9


def test_concurrency_is_set_by_queue() -> None:
    settings = Settings.from_env({"NOMAD_CONCURRENCY_ESI_REFRESH": "20"})
    assert dict(settings.queue_concurrency) == {"esi-refresh": 20}


def test_retention_is_set_in_general_and_by_queue() -> None:
    settings = Settings.from_env({"NOMAD_KEEP_COMPLETED": "50/90m", "NOMAD_KEEP_FAILED_ESI_REFRESH": "7/2d"})
    assert settings.keep_completed == (50, 5_400_000)
    assert settings.keep_failed == (Retention().failed, Retention().failed_ms)
    assert dict(settings.queue_keep_failed) == {"esi-refresh": (7, 172_800_000)}
    assert dict(settings.queue_keep_completed) == {}


@pytest.mark.parametrize("part", ["workers", "scheduler", "admin", "all"])
def test_every_program_ends_with_code_2_and_the_reason(part: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "nomad_actors.cli", "run", part],
        env={"PATH": "/usr/bin:/bin", "ADMIN_PORT": "no port"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.strip() == "wrong setting: ADMIN_PORT is 'no port'; allowed: a port from 0 to 65535"


SECRET = "12/34-pass?w0rd"
SECRET_ENVIRON = {
    "REDIS_URL": "redis://:12%2F34-pass%3Fw0rd@redis.example:6379/0",
    "REDIS_CACHE_URL": "redis://:12%2F34-pass%3Fw0rd@cache.example:6379/0?client_name=a@b",
    "DATABASE_URL": "postgresql://nomad:12/34-pass?w0rd@db.example/nomad?sslmode=require",
    "EVE_CLIENT_SECRET": SECRET,
    "NOMAD_TOKEN_KEYS": f"3q2-7wABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhs,{SECRET},another",
    "SENTRY_DSN": "https://0123abcd4567ef89@sentry.example/1",
}


def test_printing_settings_never_prints_their_secrets() -> None:
    settings = Settings.from_env(SECRET_ENVIRON)
    parts = [settings, *(getattr(settings, field.name) for field in dataclasses.fields(settings)), settings.cache_url]
    texts = [form(part) for part in parts for form in (repr, str, "{}".format, "{!r}".format)]
    texts += ["%s" % part for part in parts if isinstance(part, str)]  # noqa: UP031
    texts += [f"{settings.redis_url} {settings.database_url:>80}", pprint.pformat(parts)]
    try:
        raise RuntimeError
    except RuntimeError as error:
        # As error reporters and debuggers do it.
        texts += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    for text in texts:
        assert not re.search("12(/|%2F)34-pass|w0rd|0123abcd|another", text.replace("SECRET_ENVIRON", "")), text
    assert str(settings.redis_url) == "redis://:[hidden]@redis.example:6379/0"
    assert str(settings.database_url) == "postgresql://nomad:[hidden]@db.example/nomad?sslmode=require"
    assert str(settings.cache_url) == "redis://:[hidden]@cache.example:6379/0?client_name=a@b"


def test_libraries_get_the_url_with_its_password() -> None:
    settings = Settings.from_env(SECRET_ENVIRON)
    assert redis.connection.parse_url(settings.redis_url)["password"] == SECRET
    assert sqlalchemy.make_url(settings.database_url).password == SECRET
    assert sqlalchemy.make_url(pickle.loads(pickle.dumps(settings.database_url))).password == SECRET
    assert settings.eve_client_secret.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://host:6379/0?client_name=a@b", "redis://host:6379/0?client_name=a@b"),
        ("redis://user@host/0", "redis://user@host/0"),
        ("redis://:12/34@host/0", "redis://:[hidden]@host/0"),
        ("redis://u:p@ss@host/0", "redis://u:[hidden]@host/0"),
        ("postgresql://nomad:12?34@db/nomad", "postgresql://nomad:[hidden]@db/nomad"),
        ("postgresql://db/nomad?user=u&password=p", "postgresql://db/nomad?user=u&password=[hidden]"),
        ("sqlite:////home/a-long-user-name@host/nomad.db", "sqlite:////home/a-long-user-name@host/nomad.db"),
        ("unix://:pw@/run/redis.sock?db=1", "unix://:[hidden]@/run/redis.sock?db=1"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_password_whatever_it_contains(url: str, shown: str) -> None:
    assert str(SecretUrl(url)) == shown
    assert SecretUrl(url) == url


def test_secrets_in_settings_are_hidden_in_every_text_from_then_on() -> None:
    secret = secrets.token_urlsafe(12)
    urls = {"REDIS_URL": f"redis://:{secret}%2F1@h", "DATABASE_URL": f"postgresql://u:{secret}-2@h/d"}
    keys = {
        "EVE_CLIENT_ID": "i",
        "EVE_CLIENT_SECRET": f"{secret}-3",
        "NOMAD_TOKEN_KEYS": f"3q2-7wABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhs,{secret}-4",
    }
    Settings.from_env({**urls, **keys})
    basic = base64.b64encode(f"i:{secret}-3".encode()).decode()
    for known in (f"{secret}/1", f"{secret}%2F1", f"{secret}-2", f"{secret}-3", f"{secret}-4", basic):
        assert redact(f"x {known} y") == "x [hidden] y"


@pytest.mark.parametrize("url", ["sqlite://localhost/a.db", "sqlite://user@/a.db", "sqlite://:1/a.db"])
def test_a_sqlite_url_with_a_host_is_rejected(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        Settings.from_env({"DATABASE_URL": url})


@pytest.mark.parametrize("name", ["NOMAD_VAR_DIR", "REDIS_URL", "ADMIN_HOST", "LOG_LEVEL"])
def test_a_message_about_invalid_bytes_can_be_written(name: str) -> None:
    odd = "\udced\udcff" + "x" * 300
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({name: odd, "ADMIN_PORT": "x"})
    assert str(refused.value).encode()
