"""Interrupting the thread that runs a job, and nothing but that job.

Python delivers such an interrupt some time after it was asked for: without care it strikes the next job on the thread,
or Dramatiq's own code, and kills the thread. So it is asked for only while the actor's function runs, and one that came
too late is withdrawn before the function's frame is left.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

from dramatiq.threading import Interrupt, is_gevent_active, raise_thread_exception

from .errors import Cancelled
from .lease import CURRENT, Lease

_STRIKING = threading.Lock()


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an actor's function, marking the time in which its job may be interrupted."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        lease = CURRENT.get()
        if lease is None or lease.entered or lease.thread is not threading.current_thread():
            # Called by hand, or from inside a job.
            return function(*args, **kwargs)
        try:
            lease.entered = True
            if lease.cancel_reason is not None:
                raise Cancelled(lease.cancel_reason)
            return function(*args, **kwargs)
        finally:
            lease.entered = False
            if lease.struck:
                _withdraw()

    return run


def strike(lease: Lease, interrupt: type[Interrupt]) -> bool:
    """Raise `interrupt` in the thread that runs a lease; return False when its actor does not run."""
    with _STRIKING:
        # In this order: a thread that leaves meanwhile sees that it was struck, and waits for us.
        lease.struck = True
        if not lease.entered or lease.thread is None or lease.thread.ident is None:
            return False
        raise_thread_exception(lease.thread.ident, interrupt)
        return True


def _withdraw() -> None:
    """Take back an interrupt of this thread that was not delivered yet."""
    with _STRIKING:
        if not is_gevent_active():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), None)
