"""The Redis server that `nomad run all` starts: its address and password are fixed and saved in a file for others.

Its user and password distinguish it from any other Redis that may get its port later. Only one system at a time uses
its directory: the server process holds a lock on it, so that a second server never writes the files of a running one.

An append-only server that does not find an append-only file of its own format starts empty without a warning: an older
release with the files of Redis 7, and any release with only a snapshot. Neither is started.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import CannotStart, NomadError
from ..findings import Severity
from ..logs import get_logger
from ..settings import OWN_REDIS
from . import redis_log
from .local_redis import USER, LocalRedis, find_server, free_port, is_free, server_version, servers
from .parent import Readiness
from .private_files import make_directory, write

#: How long the Redis of a system that was just killed may take to end.
GOING_DOWN_SECONDS = 5.0
#: Redis 7 and newer split the append-only file into parts, in a directory with this file.
_MANIFEST = Path("appendonlydir", "appendonly.aof.manifest")

logger = get_logger("nomad_actors.processes.own_redis")


class RunsAlready(NomadError):
    """Raised when the Redis of a directory is already running: another system uses it."""


@dataclass(eq=False, repr=False, kw_only=True)
class OwnRedis(LocalRedis):
    """The append-only Redis of a directory, and the lock on it that this process and the server hold."""

    #: The lock's file descriptor; -1 if this process has released it.
    lock: int

    def inherited_fds(self) -> tuple[int, ...]:
        return (self.lock,)

    def readiness(self, pid: int) -> Readiness:
        state = super().readiness(pid)
        if state.ready:
            logger.info("own Redis started", port=self.port, address=str(self.directory / OWN_REDIS.name))
            self._log_complaints()
        return state

    def _log_complaints(self) -> None:
        for found in redis_log.complaints(redis_log.since_last_start(self.log)):
            log = logger.error if found.finding.severity is Severity.PROBLEM else logger.warning
            log(
                f"own Redis: {found.finding.cause}",
                lines=found.lines,
                first=found.first,
                remedy=found.finding.remedy,
                log=str(self.log),
            )

    def last_log_lines(self) -> str:
        found = redis_log.complaints(redis_log.since_last_start(self.log))
        return "\n".join(each.first for each in found)[:2000] or super().last_log_lines()

    def stop(self) -> None:
        super().stop()
        self.free()

    def kill(self) -> None:
        super().kill()
        self.free()

    def free(self) -> None:
        """Release this process's lock; a running server still holds it."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def own_redis(var_dir: Path) -> OwnRedis:
    """Return the append-only Redis of a directory, ready to start; its address is in the file that the settings read.

    It gets the same port as before, unless another program uses that port now.

    Raises `RunsAlready`; `CannotStart` if there is no server program, if the directory is not writable, or if no
    installed server can read its data.
    """
    # Raises if there is no program, before anything is written.
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
    _wait_for_previous(path, lock, port, password)
    _check_files(path.parent)
    server = OwnRedis(
        path.parent,
        lock=lock,
        append_only=True,
        ends_with_parent=True,
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
    fix = "make it writable for this process's user (chown; no read-only mount), or set another NOMAD_VAR_DIR"
    return CannotStart(f"{path} cannot be written ({error})", fix)


def _program(directory: Path) -> Path:
    """Return the first server program that can read the files of a directory."""
    is_split = (directory / _MANIFEST).exists()
    if suitable := next((each for each in servers() if not is_split or server_version(each) >= (7, 0)), None):
        return suitable
    raise CannotStart(
        f"{directory} was written by Redis 7 or newer, and {find_server()} is older: it would start empty",
        "install redis-server 7 or newer, or valkey-server",
    )


def _check_files(directory: Path) -> None:
    """Raise `CannotStart` if an append-only server would ignore one of the files."""
    old, snapshot = directory / "appendonly.aof", directory / "dump.rdb"
    parts = _parts(directory / _MANIFEST)
    if snapshot.exists() and not old.exists() and not parts:
        raise CannotStart(
            f"{snapshot} would be ignored: an append-only Redis starts empty if there is only a snapshot",
            f"move it away; or make an append-only file from it: start redis-server --dir {directory} --appendonly no, "
            "run redis-cli CONFIG SET appendonly yes, and stop it when INFO persistence says aof_rewrite_in_progress:0",
        )
    if old.exists() and len(parts) > 1:
        newer = (directory / _MANIFEST).parent
        raise CannotStart(
            f"{old} would be ignored: an older Redis wrote it after a newer one had written {newer}",
            "move away the one whose jobs you do not need",
        )


def _parts(manifest: Path) -> list[str]:
    """Return the parts that a manifest lists; only one while Redis 7 takes over the file of an older release."""
    try:
        return [line for line in manifest.read_text(encoding="utf-8").splitlines() if line.startswith("file ")]
    except FileNotFoundError:
        return []


def _wait_for_previous(path: Path, lock: int, port: int, password: str) -> None:
    """Lock the directory as soon as the previous Redis has ended."""
    deadline, is_waiting = time.monotonic() + GOING_DOWN_SECONDS, False
    while not _try_lock(lock) or (port and _is_up(port, password)):
        if time.monotonic() > deadline:
            raise RunsAlready(
                f"the Redis of {path.parent} is already running, on port {port}: stop the system that uses it (or, "
                f'if it is left over, that Redis: redis-cli -u "$(cat {path})" shutdown)'
            )
        if not is_waiting:
            logger.info("waiting for the previous own Redis to end", at_most_seconds=GOING_DOWN_SECONDS)
        is_waiting = True
        time.sleep(0.05)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # The file system has no locks: the only check left is whether the Redis answers.
        logger.warning("the directory of the own Redis cannot be locked", why=str(error))
    return True


def _saved(path: Path) -> tuple[int, str]:
    """Return the saved port and password, or 0 and ''."""
    try:
        url = urlsplit(path.read_text(encoding="utf-8").strip())
        return url.port or 0, url.password or ""
    except (OSError, ValueError):
        return 0, ""


def _is_up(port: int, password: str) -> bool:
    with redis.Redis(
        port=port, username=USER, password=password, socket_timeout=2, retry=Retry(NoBackoff(), 0)
    ) as client:
        try:
            return bool(client.ping())
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            return False
