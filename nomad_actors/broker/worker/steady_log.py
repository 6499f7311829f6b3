"""Log lines of the threads that a worker cannot do without: no log handler of the application ends one of them."""

from __future__ import annotations

import logging
from typing import Any

from dramatiq.middleware import Middleware

from ...logs.foreign_text import came_from_outside


class SteadyLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose calls raise nothing; a line that cannot be written is lost.

    What strikes the thread meanwhile (Ctrl-C, a time limit, a cancel) goes on its way. Nothing does on the threads that
    a worker cannot do without.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write a line."""
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException as error:
            if came_from_outside(error):
                raise
            # There is nowhere left to say so.


def steady(middleware: Middleware) -> None:
    """Have one of Dramatiq's middleware log steadily: Retries logs before it enqueues, and would not come to that."""
    if not type(middleware).__module__.startswith("dramatiq."):
        return
    for owner in (middleware, getattr(middleware, "manager", None)):
        logger = getattr(owner, "logger", None)
        if isinstance(logger, logging.Logger):
            owner.logger = SteadyLogger(logger)  # type: ignore[union-attr]


def get_logger(name: str) -> SteadyLogger:
    """Return the logger of that name, for a thread that must go on."""
    return SteadyLogger(logging.getLogger(name))
