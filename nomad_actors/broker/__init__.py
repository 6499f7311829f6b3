"""A Dramatiq broker on Redis: one job, one state, one script a transition."""

from .broker import JobBroker
from .endings import Ended, Outcome
from .errors import BadPriority, QueueNotDeclared, RedisUnavailable, UnreadableBody
from .states import STATE_NAMES, TRANSITIONS, State

__all__ = [
    "STATE_NAMES",
    "TRANSITIONS",
    "BadPriority",
    "Ended",
    "JobBroker",
    "Outcome",
    "QueueNotDeclared",
    "RedisUnavailable",
    "State",
    "UnreadableBody",
]
