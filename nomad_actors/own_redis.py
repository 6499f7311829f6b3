"""The Redis that `nomad run all` brings: at one address for good, with a password, both in a file for who comes later.

Its user and password tell it from any other: another Redis that has its port some day lets nobody in with them.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .errors import CannotStart, NomadError
from .local_redis import USER, LocalRedis, find_server, free_port
from .private_files import make_directory
from .settings import OWN_REDIS


class RunsAlready(NomadError):
    """Raised when the Redis of a directory runs: another system works on it."""


def own_redis(var_dir: Path) -> LocalRedis:
    """Return the append-only Redis of a directory, to be started; its address is in the file that settings look for.

    It has the port that it had before, unless another program has that now.

    Raises `RunsAlready`, and `CannotStart` where there is no server program or the directory cannot be written to.
    """
    # Before anything is written: it raises where there is no program.
    find_server()
    path = var_dir / OWN_REDIS
    port, password = _kept(path)
    if port and _answers(port, password):
        raise RunsAlready(
            f"the Redis of {path.parent} runs already, on port {port}: stop the system that works on it (or, should it "
            f'be left over, that Redis: redis-cli -u "$(cat {path})" shutdown)'
        )
    server = LocalRedis(
        path.parent,
        append_only=True,
        port=port if port and _is_free(port) else free_port(),
        password=password or secrets.token_urlsafe(24),
        dies_with_us=True,
    )
    try:
        _keep(path, server.url)
    except OSError as error:
        fix = "let this process' user write there (chown; no read-only mount), or name another in NOMAD_VAR_DIR"
        raise CannotStart(f"{path} cannot be written ({error})", fix) from error
    return server


def _kept(path: Path) -> tuple[int, str]:
    """Return the port and password that were chosen before; 0 and '' when none were."""
    try:
        url = urlsplit(path.read_text(encoding="utf-8").strip())
        return url.port or 0, url.password or ""
    except (OSError, ValueError):
        return 0, ""


def _keep(path: Path, url: str) -> None:
    make_directory(path.parent)
    # Made anew and moved into its place: nobody else may read it, and nobody reads half of it.
    made = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{url}\n")
    made.replace(path)


def _answers(port: int, password: str) -> bool:
    asked = redis.Redis(port=port, username=USER, password=password, socket_timeout=2, retry=Retry(NoBackoff(), 0))
    with asked as client:
        try:
            return bool(client.ping())
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
