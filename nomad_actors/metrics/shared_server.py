"""Shows the counts of a service of several processes, from one of them."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..logs import get_logger
from .definitions import ABOUT
from .exposition import joined
from .place import SERVING_LOCK
from .process_files import ProcessFiles
from .server import MetricsServer, serve_or_say

logger = get_logger("nomad_actors.metrics")


class SharedServer:
    """Serves what all processes of `path` counted, once no other process does; a lock of the kernel's decides.

    When the process that serves is killed, another takes over at once. Raises `OSError` where `path` cannot be used.
    """

    def __init__(self, port: int, host: str, path: Path, *, hosts: Sequence[str] = ()) -> None:
        self._port = port
        self._host = host
        self._hosts = hosts
        self._path = path
        self._guard = threading.Lock()
        self._closed = False
        self._server: MetricsServer | None = None
        self._lock: IO[str] = (path / SERVING_LOCK).open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A thread of its own, since it may wait for as long as the process lives.
            threading.Thread(target=self._wait, name="nomad-metrics-turn", daemon=True).start()
        else:
            self._serve()

    @property
    def port(self) -> int | None:
        """The port that this process serves on; None while another does."""
        return self._server.port if self._server else None

    def close(self) -> None:
        """Stop serving."""
        with self._guard:
            self._closed = True
            server, self._server = self._server, None
            if server is not None:
                server.close()
                self._lock.close()

    def _wait(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._serve()

    def _serve(self) -> None:
        with self._guard:
            if self._closed:
                self._lock.close()
                return
            files = ProcessFiles(self._path)
            try:
                files.bury()
            except OSError as error:
                # They are read one by one then, and merged by the next process that starts.
                logger.error("the counts of dead processes are not merged", error=str(error))
            self._server = serve_or_say(self._port, joined(files, ABOUT), self._host, hosts=self._hosts)
