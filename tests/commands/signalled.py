"""Runs a `nomad` command that gets a signal at one of its writes: `python -m tests.commands.signalled SIGKILL 9 ARGS`.

With 0 it is repeated, each time with the signal at another write, until it completes; then the number of signals is
printed last.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
from collections.abc import Callable
from typing import Any

from nomad_actors import cli
from nomad_actors.export import exporter


def signal_at(number: int, write: int) -> None:
    """Send this process a signal before its `write`-th call that changes a file's name, or syncs it to disk."""
    count = itertools.count(1)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if next(count) == write:
                os.kill(os.getpid(), number)
            return call(*args, **kwargs)

        return wrapped

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))


def run(number: int, write: int, arguments: list[str]) -> int:
    """Run the command in a child; return its exit code, negative if a signal ended it."""
    child = os.fork()
    if child == 0:
        signal_at(number, write)
        sys.argv = ["nomad", *arguments]
        cli.main()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(name: str, at: str, *arguments: str) -> int:
    exporter.BATCH_ROWS = 100
    number, rng = signal.Signals[name], random.Random(7)
    if int(at):
        return run(number, int(at), [*arguments])
    for signals in itertools.count():
        code = run(number, rng.randint(1, 24), [*arguments])
        if code != -number:
            sys.stdout.write(f"{signals}\n")
            return code
    return 1


if __name__ == "__main__":
    # As shells do for a signal.
    code = main(*sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)
