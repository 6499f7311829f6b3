"""How long a failed job waits for its next run, and the one log line that says so.

Dramatiq's Retries decides by itself and logs what it has decided. Where the broker is given a `retry_delay`, that
decides instead and the line of Retries would be wrong: it is left out, and ours is written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from dramatiq import Message
from dramatiq.errors import Retry
from dramatiq.middleware import Retries

from ...logs.foreign_text import came_from_outside
from .message import LeasedMessage
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker")

#: Called with the message, the attempts made and the delay (ms) that Retries chose; returns the delay.
RetryDelay = Callable[[Message[Any], int, int], int]


def delay_of_retry(choose: RetryDelay, message: Message[Any], attempt: int, delay_ms: int) -> int:
    """Return how long (ms) a job waits for its next run and log it; `delay_ms` is what Retries chose."""
    if not _asked_for(message):
        try:
            delay_ms = max(0, int(choose(message, attempt, delay_ms)))
        except BaseException as error:
            if came_from_outside(error):
                raise
            # The job must be tried again all the same.
            logger.critical("no delay was chosen for message %r", message.message_id, exc_info=True)
    logger.info("Retrying message %r in %d milliseconds.", message.message_id, delay_ms)
    return delay_ms


def _asked_for(message: Message[Any]) -> bool:
    """Return whether the job itself said when it is to be tried again."""
    exception = message.exception if isinstance(message, LeasedMessage) else None
    if exception is None or not issubclass(type(exception), Retry):
        return False
    return getattr(exception, "delay", None) is not None


def silence_delays(retries: Retries, while_true: Callable[[], bool]) -> None:
    """Have Retries not log the delays that it chooses while they are not the ones that count."""
    retries.logger = _WithoutDelays(retries.logger, while_true)


class _WithoutDelays(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, logger: logging.Logger, while_true: Callable[[], bool]) -> None:
        super().__init__(logger)
        self._while_true = while_true

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not (isinstance(msg, str) and msg.startswith("Retrying message") and self._while_true()):
            super().log(level, msg, *args, **kwargs)
