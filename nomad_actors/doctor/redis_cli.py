"""The command line that reaches the queues' Redis, and no other, from any shell."""

from __future__ import annotations

import shlex
from urllib.parse import unquote, urlsplit

from ..settings import Settings


def redis_cli(settings: Settings) -> str:
    """Return how `redis-cli` is called for the queues' Redis; a password is read from a file, or asked for."""
    if settings.redis_url_file is not None:
        return f'redis-cli -u "$(cat {shlex.quote(str(settings.redis_url_file))})"'
    url = urlsplit(settings.redis_url)
    words = ["redis-cli"]
    if url.scheme == "unix":
        words += ["-s", url.path]
    else:
        words += ["-h", url.hostname or "localhost", "-p", str(url.port or 6379)]
    words += ["--tls"] if url.scheme == "rediss" else []
    words += ["--user", unquote(url.username)] if url.username else []
    words += ["--askpass"] if url.password else []
    return shlex.join(words)
