"""Loggers for a worker's essential threads, which no log handler of the application can end."""

from __future__ import annotations

import logging
from typing import Any

from dramatiq.middleware import Middleware

from ...logs.foreign_text import came_from_outside


class SteadyLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that drops a line that cannot be written instead of raising an error.

    Interrupts from outside (Ctrl-C, a time limit, a cancel) are still raised; a worker's essential threads get none.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException as error:
            if came_from_outside(error):
                raise
            # This failure cannot be logged either.


def steady(middleware: Middleware) -> None:
    """Give Dramatiq's middleware a `SteadyLogger`: Retries logs before it enqueues, which an error would prevent."""
    if not type(middleware).__module__.startswith("dramatiq."):
        return
    for owner in (middleware, getattr(middleware, "manager", None)):
        logger = getattr(owner, "logger", None)
        if isinstance(logger, logging.Logger):
            owner.logger = SteadyLogger(logger)  # type: ignore[union-attr]


def get_logger(name: str) -> SteadyLogger:
    """Return the `SteadyLogger` of a name."""
    return SteadyLogger(logging.getLogger(name))
