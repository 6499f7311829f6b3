"""Interrupts the thread that runs a job, without affecting any other job.

Python delivers such an interrupt some time after the request: without care it would interrupt the next job on the
thread, or Dramatiq's own code, and kill the thread. So it is requested only while the actor's function runs, and one
that comes too late is withdrawn before the function returns. Under gevent, where a thread is a greenlet, the event loop
throws it into that greenlet, and checks at that moment that the function still runs.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

from dramatiq.middleware import SkipMessage
from dramatiq.threading import Interrupt, is_gevent_active, raise_thread_exception

from ...logs.foreign_text import describe_error, is_printable, is_testable, traceback_of
from ..errors import Cancelled, PermanentError, UnprintableError
from .lease import CURRENT, Lease

_STRIKING = threading.Lock()

# Called for each job; without gevent, the import would be searched for on disk each time.
_is_gevent_active = functools.cache(is_gevent_active)


def guarded(function: Callable[..., Any], throws: tuple[type[BaseException], ...] = ()) -> Callable[..., Any]:
    """Wrap an actor's function so that its job can be interrupted while it runs.

    Exceptions that `isinstance` cannot test, or that cannot be printed and are not in `throws`, are replaced.
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        lease = CURRENT.get()
        if lease is None or lease.entered or lease.thread is not threading.current_thread():
            # Called directly, or from inside a job.
            return function(*args, **kwargs)
        try:
            lease.entered = True
            if lease.cancel_reason is not None:
                raise Cancelled(lease.cancel_reason)
            return function(*args, **kwargs)
        except BaseException as error:
            found = _replacement(error, throws)
            if found is None:
                raise
            # Raised here, it would have the original as its context, and be printed with it.
            replacement = found.with_traceback(traceback_of(error))
        finally:
            lease.entered = False
            if lease.struck:
                _withdraw()
        raise replacement

    return run


def _replacement(error: BaseException, throws: tuple[type[BaseException], ...]) -> Exception | None:
    """Return the exception to raise instead of one that cannot be tested or printed; None for any other."""
    # Exceptions of these classes are never printed, but Dramatiq tests their class.
    is_thrown = issubclass(type(error), (SkipMessage, *throws))
    if is_testable(error) if is_thrown else is_printable(error):
        return None
    return PermanentError(describe_error(error)) if issubclass(type(error), throws) else UnprintableError(error)


def strike(lease: Lease, interrupt: type[Interrupt]) -> bool:
    """Raise `interrupt` in the thread that runs a lease; return False if its actor is not running."""
    with _STRIKING:
        # Set this first: a thread that leaves the actor meanwhile then waits for the lock.
        lease.struck = True
        if not lease.entered or lease.thread is None or lease.thread.ident is None:
            return False
        if lease.greenlet is not None:
            _throw_soon(lease, interrupt)
        else:
            raise_thread_exception(lease.thread.ident, interrupt)
        return True


def current_greenlet() -> Any:
    """Return the current greenlet; None without gevent."""
    if not _is_gevent_active():
        return None
    from gevent import getcurrent

    return getcurrent()


def _throw_soon(lease: Lease, interrupt: type[Interrupt]) -> None:
    """Let gevent's event loop throw `interrupt` into a lease's greenlet, unless its actor has ended by then."""
    from gevent import get_hub

    def throw() -> None:
        if lease.entered:
            lease.greenlet.throw(interrupt)

    get_hub().loop.run_callback(throw)


def _withdraw() -> None:
    """Withdraw an interrupt of this thread that was not delivered yet."""
    with _STRIKING:
        if not _is_gevent_active():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), None)
