"""Log lines of the threads that a worker cannot do without: no log handler of the application ends one of them."""

from __future__ import annotations

import logging
from typing import Any


class SteadyLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose calls raise nothing; a line that cannot be written is lost."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write a line."""
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException:
            # There is nowhere left to say so.
            return


def get_logger(name: str) -> SteadyLogger:
    """Return the logger of that name, for a thread that must go on."""
    return SteadyLogger(logging.getLogger(name))
