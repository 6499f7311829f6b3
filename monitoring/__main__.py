"""Write Grafana's dashboards and Prometheus' rules and alerts; `--check` only compares the files."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from .alerts.rule import RUNBOOK
from .files import COMMITTED, differing, texts, write


def main() -> int:
    """Write or check the files, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m monitoring", description=__doc__)
    parser.add_argument(
        "--factor", type=_factor, default=1.0, help="multiply every duration: 0.0167 turns an hour into a minute"
    )
    parser.add_argument(
        "--runbook",
        type=_address,
        metavar="ADDRESS",
        help=f"the address that alerts link to, such as https://wiki.example.org/runbook (default: {RUNBOOK})",
    )
    parser.add_argument("--out", type=Path, default=COMMITTED, help="the directory to write to (default: grafana)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    arguments = parser.parse_args()
    files = texts(factor=arguments.factor, runbook=arguments.runbook or RUNBOOK)
    if not arguments.check:
        write(arguments.out, files)
        return 0
    stale = differing(arguments.out, files)
    if stale:
        print(f"out of date, run `make monitoring`: {', '.join(map(str, stale))}", file=sys.stderr)
    return 1 if stale else 0


def _factor(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s#]+", text):
        raise argparse.ArgumentTypeError(f"must be an http:// or https:// address without a #, not {text!r}")
    return text


if __name__ == "__main__":
    sys.exit(main())
