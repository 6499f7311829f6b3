"""Repeat one or more hostile cases: `python -m chaos.hostile --seed N --kind KIND --case N [--count N]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from nomad_actors.processes.local_redis import LocalRedis

from .case import Case
from .proof import ROUND, run_cases


def main() -> int:
    """Run the cases and print the failures; return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m chaos.hostile", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--kind", choices=sorted(ROUND), required=True)
    parser.add_argument("--case", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--log-format", choices=("json", "logfmt"), default="json")
    arguments = parser.parse_args()
    cases = [
        Case(arguments.seed, arguments.kind, number)
        for number in range(arguments.case, arguments.case + arguments.count)
    ]
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory) / "redis", ends_with_parent=True).start()
        try:
            failures = run_cases(cases, server.url, Path(directory), arguments.log_format)
        finally:
            server.stop()
    print("\n\n".join(failures) or f"passed: {len(cases)} cases")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
