"""The program: `python -m sandbox --port 0 --seed 7 --characters 25 --ready-file PATH`; also `nomad sandbox`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from .clock import MAX_SPEED, SandboxClock, check_speed
from .grants import CLIENT_ID, CLIENT_SECRET
from .refresh_load import PARALLEL_LIMIT
from .routes import PAGE_ROWS
from .serve import HOST, SandboxServer
from .world.characters import MAX_CHARACTERS

#: What a refresh takes at the real SSO, roughly; with none, no two would ever be under way together.
STRICT_LATENCY_S = 0.2


def main(arguments: list[str] | None = None, *, prog: str = "python -m sandbox") -> int:
    """Serve until SIGTERM or SIGINT; return 0, or 1 if the address cannot be used.

    Raises `SystemExit` after a wrong option.
    """
    options = _read(arguments, prog)
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    try:
        server = _server(options)
    except OSError as error:
        sys.stderr.write(f"{prog}: {options.host}:{options.port} cannot be used: {error.strerror}\n")
        return 1
    with server:
        _announce(server.base_url, options)
        stop.wait()
    return 0


def _server(options: argparse.Namespace) -> SandboxServer:
    start_s = options.start.timestamp() if options.start else None
    server = SandboxServer(
        seed=options.seed,
        characters=options.characters,
        clock=SandboxClock(start_s=start_s, speed=options.speed),
        enforce_limits=not options.no_limits,
        grace_s=options.grace_ms / 1000,
        page_rows=options.page_rows,
        host=options.host,
        port=options.port,
    )
    if options.strict:
        server.parts.outages.daily = True
        server.parts.refresh_load.limit, server.parts.refresh_load.latency_s = PARALLEL_LIMIT, STRICT_LATENCY_S
    return server


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _read(arguments: list[str] | None, prog: str) -> argparse.Namespace:
    parser = _Parser(prog=prog, description="A strict ESI and EVE SSO in one program.")
    parser.add_argument("--host", default=HOST, help=f"the address to listen on (default: {HOST})")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) chooses a free one")
    parser.add_argument("--seed", type=int, default=7, help="determines the characters, their data and random faults")
    parser.add_argument("--characters", type=int, default=25, help=f"1 to {MAX_CHARACTERS}")
    parser.add_argument("--speed", type=_speed, help=f"how fast its clock runs (default: 1, at most {MAX_SPEED})")
    parser.add_argument("--start", type=_moment, help="when its clock starts, such as 2026-11-24T10:55:00Z")
    parser.add_argument("--strict", action="store_true", help="the daily downtime, and SSO's errors under load")
    parser.add_argument("--grace-ms", type=int, default=250, help="until a fleet must know what one process has read")
    parser.add_argument("--page-rows", type=int, default=PAGE_ROWS, help=f"rows of a page (default: {PAGE_ROWS})")
    parser.add_argument("--ready-file", type=Path, help="a file to write the base URL to, once it answers")
    parser.add_argument("--settings", action="store_true", help="print the settings that point a system at it")
    parser.add_argument("--no-limits", action="store_true", help="count tokens and errors, but never refuse")
    options = parser.parse_args(arguments)
    if not 1 <= options.characters <= MAX_CHARACTERS:
        parser.error(f"argument --characters: must be 1 to {MAX_CHARACTERS}, got {options.characters}")
    if options.page_rows < 1:
        parser.error(f"argument --page-rows: must be 1 or more, got {options.page_rows}")
    return options


def _speed(text: str) -> float:
    try:
        return check_speed(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be 0 to {MAX_SPEED}, got {text!r}") from error


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a time such as 2026-11-24T10:55:00Z, got {text!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def settings_of(base_url: str) -> dict[str, str]:
    """Return the environment variables that point a system at the sandbox."""
    return {
        "ESI_BASE_URL": base_url,
        "SSO_BASE_URL": base_url,
        "EVE_CLIENT_ID": CLIENT_ID,
        "EVE_CLIENT_SECRET": CLIENT_SECRET,
        "ESI_USER_AGENT": "your-application/1 (you@example.com)",
    }


def _announce(base_url: str, options: argparse.Namespace) -> None:
    """Publish the base URL, or the settings; the file is written atomically."""
    lines = [f"{name}='{value}'" for name, value in settings_of(base_url).items()] if options.settings else [base_url]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    ready_file: Path | None = options.ready_file
    if ready_file is not None:
        unfinished = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        unfinished.write_text(f"{base_url}\n")
        unfinished.replace(ready_file)


if __name__ == "__main__":
    sys.exit(main())
