"""The admin as it is served, in a process of its own: bytes go in as they are, and it goes on answering."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import requests

from nomad_actors.processes.parent import end_with_parent

from .lines import what_is_wrong

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0
_ANSWER_SECONDS = 20.0
#: The status of an answer that blames us, wherever in several answers it stands.
_FAULT = re.compile(rb"(?:^|\n)HTTP/1\.[01] 500 ")


class ServedAdmin:
    """An admin for the time of a `with`."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self._environ = {**environ, "PYTHONPATH": str(ROOT), "HOME": str(directory)}
        self._log_format = environ["LOG_FORMAT"]
        self._log = directory / "admin.log"
        self._ready = directory / "admin.url"

    def __enter__(self) -> Self:
        # Another one may have been there before.
        self._ready.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "admin", "--ready-file", str(self._ready)],
                env=self._environ,
                cwd=self._log.parent,
                stderr=output,
                preexec_fn=end_with_parent,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready.exists():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, "the admin did not start"
            time.sleep(0.02)
        self._url = self._ready.read_text().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def send(self, request: bytes) -> None:
        """Send bytes; raises `AssertionError` for an answer that blames us, and when none and no end comes."""
        parts = urlsplit(self._url)
        answer = b""
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_ANSWER_SECONDS) as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while chunk := connection.recv(65_536):
                    answer += chunk
            except TimeoutError:
                raise AssertionError(f"no answer and no end within {_ANSWER_SECONDS:g} s: {answer[:300]!r}") from None
            except OSError:
                # It has seen enough, and says so by closing, perhaps before our own end of it is closed.
                pass
        assert not _FAULT.search(answer), f"it was answered {answer[:500]!r}"
        assert b"Traceback (most recent call last)" not in answer, f"it was answered {answer[:2_000]!r}"

    def check(self) -> None:
        """Check that it answers as before, and that all it logged is strict."""
        assert self._process.poll() is None, f"the admin ended with {self._process.returncode}"
        answer = requests.get(f"{self._url}/healthz", timeout=_ANSWER_SECONDS)
        assert answer.status_code == 200, answer.text
        logged = self._log.read_bytes().decode(errors="surrogateescape").splitlines()
        wrong = [f"{reason}: {line!r:.300}" for line in logged if (reason := what_is_wrong(line, self._log_format))]
        assert not wrong, f"lines that no strict reader takes: {wrong[:5]}"
