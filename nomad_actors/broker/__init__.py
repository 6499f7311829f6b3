"""A Dramatiq broker on Redis: each job is in one state, and each transition is one script."""

from ..retention import Retention
from .broker import JobBroker
from .endings import Ended, Outcome
from .errors import BadPriority, Cancelled, Defer, PermanentError, QueueNotDeclared, RedisUnavailable, UnreadableBody
from .results import JobResults
from .states import STATE_NAMES, TRANSITIONS, State

__all__ = [
    "STATE_NAMES",
    "TRANSITIONS",
    "BadPriority",
    "Cancelled",
    "Defer",
    "Ended",
    "JobBroker",
    "JobResults",
    "Outcome",
    "PermanentError",
    "QueueNotDeclared",
    "RedisUnavailable",
    "Retention",
    "State",
    "UnreadableBody",
]
