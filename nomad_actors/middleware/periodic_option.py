"""Makes periodiq's `periodic=` option legal on actors, without what its own middleware does to their messages."""

from __future__ import annotations

from dramatiq import Broker, MessageProxy
from periodiq import PeriodiqMiddleware


class PeriodicOption(PeriodiqMiddleware):  # type: ignore[misc]  # periodiq ships no types
    """Declares `periodic` and skips nothing.

    periodiq 0.14.0 skips a message that starts over 30 s after its time, which drops silently every run that waited
    behind others and every retry of a run.
    """

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Let the message run, however late."""
