"""Interrupting the thread that runs a job, and nothing but that job.

Python delivers such an interrupt some time after it was asked for: without care it strikes the next job on the thread,
or Dramatiq's own code, and kills the thread. So it is asked for only while the actor's function runs, and one that came
too late is withdrawn before the function's frame is left. Under gevent, where a thread is a greenlet, it is thrown into
that greenlet by the event loop, which looks in the same moment whether the function still runs.
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

# Asked for each job, and without gevent it would be looked for on the disk each time.
_is_gevent_active = functools.cache(is_gevent_active)


def guarded(function: Callable[..., Any], throws: tuple[type[BaseException], ...] = ()) -> Callable[..., Any]:
    """Return an actor's function, marking the time in which its job may be interrupted.

    What it raises can be tested by `isinstance`, and be printed unless it is one of `throws`.
    """

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
        except BaseException as error:
            found = _stand_in(error, throws)
            if found is None:
                raise
            # Raised here, it would have the other as its context, and be printed with that.
            stand_in = found.with_traceback(traceback_of(error))
        finally:
            lease.entered = False
            if lease.struck:
                _withdraw()
        raise stand_in

    return run


def _stand_in(error: BaseException, throws: tuple[type[BaseException], ...]) -> Exception | None:
    """Return what is raised in place of an exception that cannot be handled as others are; None for any other."""
    # Nobody prints those, but Dramatiq asks of each what it is.
    is_thrown = issubclass(type(error), (SkipMessage, *throws))
    if is_testable(error) if is_thrown else is_printable(error):
        return None
    return PermanentError(describe_error(error)) if issubclass(type(error), throws) else UnprintableError(error)


def strike(lease: Lease, interrupt: type[Interrupt]) -> bool:
    """Raise `interrupt` in the thread that runs a lease; return False when its actor does not run."""
    with _STRIKING:
        # In this order: a thread that leaves meanwhile sees that it was struck, and waits for us.
        lease.struck = True
        if not lease.entered or lease.thread is None or lease.thread.ident is None:
            return False
        if lease.greenlet is not None:
            _throw_soon(lease, interrupt)
        else:
            raise_thread_exception(lease.thread.ident, interrupt)
        return True


def current_greenlet() -> Any:
    """Return the greenlet that runs; None without gevent."""
    if not _is_gevent_active():
        return None
    from gevent import getcurrent

    return getcurrent()


def _throw_soon(lease: Lease, interrupt: type[Interrupt]) -> None:
    """Have gevent's event loop throw `interrupt` into a lease's greenlet, unless the actor has ended by then."""
    from gevent import get_hub

    def throw() -> None:
        if lease.entered:
            lease.greenlet.throw(interrupt)

    get_hub().loop.run_callback(throw)


def _withdraw() -> None:
    """Take back an interrupt of this thread that was not delivered yet."""
    with _STRIKING:
        if not _is_gevent_active():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), None)
