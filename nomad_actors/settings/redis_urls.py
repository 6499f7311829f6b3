"""Redis URLs: their validation, including by redis-py itself, and the `redis-cli` command line for one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, parse_qsl, unquote, urlsplit

from ..errors import WrongValue

if TYPE_CHECKING:
    from .settings import Settings

ALLOWED = (
    "redis://[user:password@]host:6379/0, rediss://… or unix:///path/of.sock "
    "(special characters of a password percent-encoded)"
)

_NUMBERS = ("db", "socket_timeout", "socket_connect_timeout", "health_check_interval", "max_connections")
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS = (*_TLS_FILES, "ssl_ca_path", "ssl_cert_reqs", "ssl_check_hostname", "ssl_password")
_OPTIONS = (*_NUMBERS, "socket_keepalive", "client_name")


def check_redis_url(text: str) -> str:
    """Return the URL if it is valid, else raise `WrongValue`; nothing connects."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise WrongValue("its host or port cannot be read") from None
    scheme = text.partition("://")[0]
    if scheme not in ("redis", "rediss", "unix"):
        lower = scheme.lower() in ("redis", "rediss", "unix")
        raise WrongValue("its scheme is not in lower case" if lower else "its scheme is not one of Redis's")
    if port == 0:
        raise WrongValue("its port is 0")
    if url.fragment:
        raise WrongValue("it contains '#': write %23 in a password")
    _check_path(url)
    _check_options(url)
    _check_by_redis_py(text)
    return text


def _check_path(url: SplitResult) -> None:
    if url.scheme == "unix":
        if url.netloc.rpartition("@")[2]:
            raise WrongValue("a unix socket has no host: the path needs a third slash")
        if not url.path.strip("/"):
            raise WrongValue("it has no socket path")
    # redis-py would use database 0 for any other path.
    elif not re.fullmatch(r"(/[0-9]{0,6})?", url.path):
        raise WrongValue("its path is not a database number")


def _check_options(url: SplitResult) -> None:
    options = parse_qsl(url.query, keep_blank_values=True)
    names = [name for name, _ in options]
    allowed = (*_OPTIONS, *(_TLS if url.scheme == "rediss" else ()))
    for name, value in options:
        shown = ascii(name[:40])
        if name not in allowed:
            where = " without TLS (rediss://)" if name in _TLS else ""
            raise WrongValue(f"it has the option {shown}{where}; allowed options are {', '.join(allowed)}")
        if names.count(name) > 1:
            raise WrongValue(f"it has the option {shown} twice")
        if name in _NUMBERS and not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value):
            raise WrongValue(f"its option {shown} is not a number")
        if name in _TLS_FILES and not Path(value).is_file():
            raise WrongValue(f"the file of its option {shown} does not exist")
        if name == "client_name" and not re.fullmatch(r"[!-~]+", value):
            raise WrongValue(f"its option {shown} has characters that Redis rejects")
    if "db" in names and url.scheme != "unix" and url.path.strip("/"):
        raise WrongValue("it gives the database twice: in its path and in the option 'db'")


def _check_by_redis_py(text: str) -> None:
    # Imported here: it takes long, and programs that do not use Redis read the settings too.
    from redis import ConnectionPool, RedisError

    try:
        ConnectionPool.from_url(text).make_connection()
    except (ValueError, TypeError, RedisError) as error:
        # The message cannot quote a secret: only options that were checked above or are not secret.
        raise WrongValue(f"redis-py rejects it: {error}") from None


def redis_cli(settings: Settings) -> str:
    """Return the `redis-cli` command for the queues' Redis; the password comes from a file or a prompt."""
    if settings.redis_url_file is not None:
        return f'redis-cli -u "$(cat {shlex.quote(str(settings.redis_url_file))})"'
    url = urlsplit(settings.redis_url)
    words = ["redis-cli"]
    if url.scheme == "unix":
        words += ["-s", url.path]
    else:
        words += ["-h", url.hostname or "localhost", "-p", str(url.port or 6379)]
    words += ["--tls"] if url.scheme == "rediss" else []
    words += ["-n", database] if (database := _database(url)) != "0" else []
    words += ["--user", unquote(url.username)] if url.username else []
    words += ["--askpass"] if url.password else []
    return shlex.join(words)


def _database(url: SplitResult) -> str:
    """Return the database number of a URL: from its query, or else its path."""
    in_path = "" if url.scheme == "unix" else url.path.strip("/")
    return parse_qs(url.query).get("db", [in_path])[0] or "0"
