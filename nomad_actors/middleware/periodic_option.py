"""Allows periodiq's `periodic=` option on actors, but skips no late messages as periodiq's middleware does."""

from __future__ import annotations

from dramatiq import Broker, MessageProxy
from periodiq import PeriodiqMiddleware


class PeriodicOption(PeriodiqMiddleware):  # type: ignore[misc]  # periodiq ships no types
    """Declares the option `periodic` and skips no message.

    periodiq 0.14.0 skips a message that starts more than 30 s late, which silently drops every run that waited behind
    others and every retry.
    """

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Do nothing: the message runs, however late."""
