"""Writes the dashboards, or checks that they are as they would be written: `python -m monitoring.dashboards`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nomad_actors.thresholds import table

from .files import DIRECTORY, stale, texts, write


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the files; with `--check` exit with 1, naming those that are not as they would be written.

    Exits with 2 for a factor that is not above 0.
    """
    parser = argparse.ArgumentParser(prog="python -m monitoring.dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file would change")
    parser.add_argument("--factor", type=float, default=1.0, help="multiply every duration of the limits (default: 1)")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="where the files are (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        wanted = texts(table(options.factor))
    except ValueError as error:
        parser.error(str(error))
    if not options.check:
        write(options.directory, wanted)
        return
    changed = stale(options.directory, wanted)
    if changed:
        sys.exit(f"{', '.join(changed)}: not as written by `python -m monitoring.dashboards`; run it and commit")


if __name__ == "__main__":
    main()
