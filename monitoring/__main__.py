"""Write Prometheus' rules and alerts; `--check` only says whether the files are what would be written."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .alerts.files import COMMITTED, differing, texts, write
from .alerts.rule import RUNBOOK


def main() -> int:
    """Write or check the files, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m monitoring", description=__doc__)
    parser.add_argument(
        "--factor", type=_factor, default=1.0, help="multiplies every time: 0.0167 makes an hour a minute"
    )
    parser.add_argument("--runbook", default=RUNBOOK, help="where alerts link to: the address of docs/runbook.md")
    parser.add_argument("--out", type=Path, default=COMMITTED, help="the directory to write into (grafana/alerts)")
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a file is not up to date")
    arguments = parser.parse_args()
    files = texts(factor=arguments.factor, runbook=arguments.runbook)
    if not arguments.check:
        write(arguments.out, files)
        return 0
    stale = differing(arguments.out, files)
    if stale:
        print(f"not what python -m monitoring writes: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


def _factor(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
