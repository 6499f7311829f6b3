"""The admin as a process with one endpoint that fails unexpectedly: no data in Redis makes one fail any more."""

from __future__ import annotations

from typing import NoReturn

from admin.__main__ import main
from nomad_actors.queues.bulk import Operations


def fail(_: Operations) -> NoReturn:
    """Raise an error that our code does not expect."""
    raise RuntimeError("a fault of ours")


if __name__ == "__main__":
    Operations.all = fail  # type: ignore[method-assign]
    main()
