"""One action on many jobs, counted first, then done in short steps that can be stopped and continue after a crash."""

from .operation import ACTIONS, MAX_PER_SECOND, BulkRequest, Operation
from .operations import Operations
from .runner import Runner

__all__ = ["ACTIONS", "MAX_PER_SECOND", "BulkRequest", "Operation", "Operations", "Runner"]
