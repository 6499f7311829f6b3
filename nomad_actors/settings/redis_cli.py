"""The `redis-cli` command line for the Redis of the queues."""

from __future__ import annotations

import shlex
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from .settings import Settings


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
