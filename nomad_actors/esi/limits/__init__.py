"""The limits of ESI and SSO, kept in Redis by all processes and hosts: room before a request, brakes after one.

A request for which there is no room raises `NotSent` with the time when there will be some. No thread sleeps, and no
attempt is spent.
"""

from .brakes import Brake, BrakeKind, Outcome, outcome_of
from .flights import flight
from .limiter import DOWNTIME_MS, Limiter, Reservation
from .opening import open_limiter
from .state import BrakeState, Bucket, LimitsState

__all__ = [
    "DOWNTIME_MS",
    "Brake",
    "BrakeKind",
    "BrakeState",
    "Bucket",
    "Limiter",
    "LimitsState",
    "Outcome",
    "Reservation",
    "flight",
    "open_limiter",
    "outcome_of",
]
