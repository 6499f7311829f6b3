"""The delay of a failed job before its next run, and the log line about it.

Dramatiq's Retries chooses a delay and logs it. If the broker has a `retry_delay` function, that chooses instead and the
line of Retries would be wrong, so it is suppressed and ours is written.
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
    """Return and log how long (ms) a job waits for its next run; `delay_ms` is what Retries chose."""
    if not _chose_own_delay(message):
        try:
            delay_ms = max(0, int(choose(message, attempt, delay_ms)))
        except BaseException as error:
            if came_from_outside(error):
                raise
            # The job must still be retried.
            logger.critical("retry_delay failed for message %r", message.message_id, exc_info=True)
    logger.info("Retrying message %r in %d milliseconds.", message.message_id, delay_ms)
    return delay_ms


def _chose_own_delay(message: Message[Any]) -> bool:
    exception = message.exception if isinstance(message, LeasedMessage) else None
    if exception is None or not issubclass(type(exception), Retry):
        return False
    return getattr(exception, "delay", None) is not None


def silence_delays(retries: Retries, while_true: Callable[[], bool]) -> None:
    """Keep Retries from logging its delays as long as `while_true` returns True."""
    retries.logger = _WithoutDelays(retries.logger, while_true)


class _WithoutDelays(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, logger: logging.Logger, while_true: Callable[[], bool]) -> None:
        super().__init__(logger)
        self._while_true = while_true

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not (isinstance(msg, str) and msg.startswith("Retrying message") and self._while_true()):
            super().log(level, msg, *args, **kwargs)
