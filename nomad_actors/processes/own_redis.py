"""The Redis that `nomad run all` brings: always at one address, with a password, both in a file for later callers.

Its user and password tell it from any other Redis that gets its port one day. Only one system at a time uses its
directory: the server process itself holds a lock on it, so that a second never writes the files of one that still runs.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import CannotStart, NomadError
from ..logs import get_logger
from ..settings import OWN_REDIS
from . import redis_log
from .local_redis import USER, LocalRedis, find_server, free_port, is_free, servers
from .parent import Readiness
from .private_files import make_directory, write
from .redis_files import can_read, unread_file

#: How long the Redis of a system that was killed a moment ago may take to end.
GOING_DOWN_SECONDS = 5.0

logger = get_logger("nomad_actors.processes.own_redis")


class RunsAlready(NomadError):
    """Raised when the Redis of a directory runs: another system works on it."""


class OwnRedis(LocalRedis):
    """The append-only Redis of a directory, and the lock on that directory."""

    def __init__(self, directory: Path, lock: int, *, port: int, password: str, program: Path) -> None:
        super().__init__(directory, append_only=True, port=port, password=password, dies_with_us=True, program=program)
        self._lock = lock

    def inherited_fds(self) -> tuple[int, ...]:
        """Return the lock: it is held for as long as this process or the server's lives."""
        return (self._lock,)

    def readiness(self, pid: int) -> Readiness:
        """Return whether the server answers, and log what it complained about when it does."""
        state = super().readiness(pid)
        if state.ready:
            logger.info("own Redis started", port=self.port, address=str(self.directory / OWN_REDIS.name))
            self._log_complaints()
        return state

    def _log_complaints(self) -> None:
        for found in redis_log.complaints(redis_log.since_last_start(self.log)):
            log = logger.error if found.complaint.serious else logger.warning
            log(
                f"own Redis: {found.complaint.meaning}",
                lines=found.lines,
                first=found.first,
                remedy=found.complaint.remedy,
                log=str(self.log),
            )

    def last_words(self) -> str:
        """Return the lines of its last start that are complaints; the last lines if none is."""
        found = redis_log.complaints(redis_log.since_last_start(self.log))
        return "\n".join(each.first for each in found)[:2000] or super().last_words()

    def stop(self) -> None:
        """Stop the server in an orderly way, and free its directory."""
        super().stop()
        self.free()

    def kill(self) -> None:
        """Kill the server with SIGKILL, and free its directory."""
        super().kill()
        self.free()

    def free(self) -> None:
        """Give up the lock; a server that runs still holds it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def own_redis(var_dir: Path) -> OwnRedis:
    """Return the append-only Redis of a directory, to be started; its address is in the file that settings look for.

    It has the port that it had before, unless another program has that now.

    Raises `RunsAlready`; `CannotStart` where there is no server program, for a directory that cannot be written to, and
    for one whose data no server here reads.
    """
    # Before anything is written: it raises where there is no program.
    find_server()
    path = var_dir / OWN_REDIS
    try:
        make_directory(path.parent)
        lock = os.open(path.with_name("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        return _locked(path, lock)
    except BaseException:
        os.close(lock)
        raise


def _locked(path: Path, lock: int) -> OwnRedis:
    port, password = _saved(path)
    _wait_for_the_last(path, lock, port, password)
    if problem := unread_file(path.parent):
        raise CannotStart(*problem)
    server = OwnRedis(
        path.parent,
        lock,
        port=port if port and is_free(port) else free_port(),
        password=password or secrets.token_urlsafe(24),
        program=_program(path.parent),
    )
    try:
        write(path, f"{server.url}\n")
    except OSError as error:
        raise _not_writable(path, error) from error
    return server


def _not_writable(path: Path, error: OSError) -> CannotStart:
    fix = "let this process' user write there (chown; no read-only mount), or name another in NOMAD_VAR_DIR"
    return CannotStart(f"{path} cannot be written ({error})", fix)


def _program(directory: Path) -> Path:
    """Return the first server program that reads the files of a directory."""
    if fit := next((program for program in servers() if can_read(program, directory)), None):
        return fit
    raise CannotStart(
        f"{directory} was written by Redis 7 or newer, and {find_server()} is older: it would begin empty",
        "install redis-server 7 or newer, or valkey-server",
    )


def _wait_for_the_last(path: Path, lock: int, port: int, password: str) -> None:
    """Lock the directory as soon as the Redis that ran on it is gone."""
    deadline, waits = time.monotonic() + GOING_DOWN_SECONDS, False
    while not _take(lock) or (port and _answers(port, password)):
        if time.monotonic() > deadline:
            raise RunsAlready(
                f"the Redis of {path.parent} runs already, on port {port}: stop the system that works on it (or, "
                f'should it be left over, that Redis: redis-cli -u "$(cat {path})" shutdown)'
            )
        if not waits:
            logger.info("waiting for the own Redis of before to end", at_most_seconds=GOING_DOWN_SECONDS)
        waits = True
        time.sleep(0.05)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # A file system without locks: what is left is to ask whether the Redis answers.
        logger.warning("the own Redis' directory cannot be locked", why=str(error))
    return True


def _saved(path: Path) -> tuple[int, str]:
    """Return the port and password that were chosen before; 0 and '' when none were."""
    try:
        url = urlsplit(path.read_text(encoding="utf-8").strip())
        return url.port or 0, url.password or ""
    except (OSError, ValueError):
        return 0, ""


def _answers(port: int, password: str) -> bool:
    asked = redis.Redis(port=port, username=USER, password=password, socket_timeout=2, retry=Retry(NoBackoff(), 0))
    with asked as client:
        try:
            return bool(client.ping())
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            return False
