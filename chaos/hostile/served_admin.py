"""The admin as a separate process, which gets raw bytes and must keep working."""

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

from .lines import check_line

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0
_ANSWER_SECONDS = 20.0
#: A status of 500, anywhere in one or more responses.
_STATUS_500 = re.compile(rb"(?:^|\n)HTTP/1\.[01] 500 ")


class ServedAdmin:
    """An admin process as a context manager."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self._environ = {**environ, "PYTHONPATH": str(ROOT), "HOME": str(directory)}
        self._log_format = environ["LOG_FORMAT"]
        self._log = directory / "admin.log"
        self._ready = directory / "admin.url"

    def __enter__(self) -> Self:
        # An earlier one may have left files.
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
        """Send bytes; raises `AssertionError` for a 500, and if the connection does not end in time."""
        parts = urlsplit(self._url)
        response = b""
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_ANSWER_SECONDS) as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while chunk := connection.recv(65_536):
                    response += chunk
            except TimeoutError:
                raise AssertionError(f"no answer and no end within {_ANSWER_SECONDS:g} s: {response[:300]!r}") from None
            except OSError:
                # The server closed the connection, perhaps before we closed our side.
                pass
        assert not _STATUS_500.search(response), f"it was answered {response[:500]!r}"
        assert b"Traceback (most recent call last)" not in response, f"it was answered {response[:2_000]!r}"

    def check(self) -> None:
        """Check that it still answers and that its log lines are valid."""
        assert self._process.poll() is None, f"the admin ended with {self._process.returncode}"
        response = requests.get(f"{self._url}/healthz", timeout=_ANSWER_SECONDS)
        assert response.status_code == 200, response.text
        logged = self._log.read_bytes().decode(errors="surrogateescape").splitlines()
        wrong = [f"{reason}: {line!r:.300}" for line in logged if (reason := check_line(line, self._log_format))]
        assert not wrong, f"invalid log lines: {wrong[:5]}"
