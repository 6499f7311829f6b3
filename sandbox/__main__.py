"""The program: `python -m sandbox --port 0 --seed 7 --characters 25 --ready-file PATH`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from .serve import SandboxServer
from .world.characters import MAX_CHARACTERS


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return 0."""
    options = _read(arguments)
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    with SandboxServer(
        seed=options.seed,
        characters=options.characters,
        enforce_limits=not options.no_limits,
        port=options.port,
    ) as server:
        _announce(server.base_url, options.ready_file)
        stop.wait()
    return 0


def _read(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A fake ESI and EVE SSO on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) chooses a free one")
    parser.add_argument("--seed", type=int, default=7, help="determines the characters and their data")
    parser.add_argument("--characters", type=int, default=25, help=f"1 to {MAX_CHARACTERS}")
    parser.add_argument("--ready-file", type=Path, help="a file to write the base URL to, once it answers")
    parser.add_argument("--no-limits", action="store_true", help="count tokens and errors, but never refuse")
    options = parser.parse_args(arguments)
    if not 1 <= options.characters <= MAX_CHARACTERS:
        parser.error(f"argument --characters: must be 1 to {MAX_CHARACTERS}, got {options.characters}")
    return options


def _announce(base_url: str, ready_file: Path | None) -> None:
    """Publish the base URL; the file is written atomically."""
    sys.stdout.write(f"{base_url}\n")
    sys.stdout.flush()
    if ready_file is not None:
        unfinished = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        unfinished.write_text(f"{base_url}\n")
        unfinished.replace(ready_file)


if __name__ == "__main__":
    sys.exit(main())
