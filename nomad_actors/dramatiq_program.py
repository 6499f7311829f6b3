"""Dramatiq's command line with our log: `python -m nomad_actors.dramatiq_program FORMAT LEVEL ARGUMENT…`.

Its main process says when a worker dies, and would say it in a form of its own.
"""

from __future__ import annotations

import sys

from dramatiq import cli

from . import log


def main() -> None:
    """Run Dramatiq's command line, and exit as it does."""
    log_format, log_level, *arguments = sys.argv[1:]
    # What workers print comes through this process too, as finished lines: standard error stays what it is.
    log.configure(log_format, log_level)
    parsed = cli.make_argument_parser().parse_args(arguments)
    # What Dramatiq runs in its own place when SIGHUP asks it to load everything anew.
    sys.argv = [sys.executable, "-m", "nomad_actors.cli", "run", "workers", "--processes", str(parsed.processes)]
    sys.exit(cli.main(parsed))


if __name__ == "__main__":
    main()
