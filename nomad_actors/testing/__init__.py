"""Tools for testing background jobs: a private Redis, workers to kill, a fault-injecting proxy, a manual clock."""

from ..clock import ManualClock
from ..processes.local_redis import LocalRedis, NoRedisServer
from .fault_proxy import Command, FaultProxy
from .waiting import wait_until
from .workers import WorkerProcess, running

__all__ = [
    "Command",
    "FaultProxy",
    "LocalRedis",
    "ManualClock",
    "NoRedisServer",
    "WorkerProcess",
    "running",
    "wait_until",
]
