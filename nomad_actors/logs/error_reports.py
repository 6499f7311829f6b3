"""Reports of errors to Sentry, of whatever service; nothing is imported or sent while SENTRY_DSN is not set.

What a report holds is what we put there: no local variables, no request, no environment, and every text redacted and
cut to what Sentry takes. Of many errors of one kind a few are sent, and how many were not.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ..version import __version__
from .foreign_text import came_from_outside, class_name, describe_error
from .redaction import hide_secrets
from .setup import get_logger

if TYPE_CHECKING:
    from sentry_sdk.transport import HttpTransport
    from sentry_sdk.types import Event, Hint

logger = get_logger("nomad_actors.logs.error_reports")

#: How long a stopping process waits for reports on their way.
FLUSH_SECONDS = 2.0
#: Sentry refuses an event of a megabyte, and keeps the last frames of a stack.
EVENT_BYTES = 900_000
#: Characters of a text and frames of a stack; where the event would be too large all the same, fewer.
_SIZES = ((8_000, 100), (1_000, 30), (200, 10))
#: Of exceptions that are each other's causes, the last ones raised.
_MOST_EXCEPTIONS = 10
#: Errors of one kind that are sent at once, and how many a second after that: a report costs as much as a small job.
BURST, PER_SECOND = 10, 1.0
_MOST_KINDS = 1_000
#: How often it is said that reports are lost.
_SAY_SECONDS = 60.0
#: Tries each report a few times and warns of each try.
_SENDING_THREAD = "sentry-sdk.BackgroundWorker"

_started = False


def start(dsn: str, *, service: str) -> None:
    """Report this process' errors to the project of `dsn`, as those of a service; with '' do nothing at all."""
    global _started
    if not dsn:
        return
    import sentry_sdk

    logging.getLogger("urllib3.connectionpool").addFilter(_is_of_others)
    sentry_sdk.init(
        dsn=dsn,
        release=f"nomad-actors@{__version__}",
        # Its own integrations would report each failed attempt, from Dramatiq and from the log, and whole requests.
        default_integrations=False,
        auto_enabling_integrations=False,
        # `send_default_pii` stays unset: that means no, and saying no is deprecated since sentry-sdk 2.75.
        # Local variables hold payloads and tokens.
        include_local_variables=False,
        max_breadcrumbs=0,
        before_send=_redacted,
        transport=_transport(),
    )
    # For every thread: the current scope is of this one.
    sentry_sdk.get_global_scope().set_tag("service", service)
    _started = True


def report(error: BaseException | str, tags: Mapping[str, str], context: Mapping[str, Any] | None = None) -> None:
    """Send an error, or words that say one; it is sent by a thread of its own, and the caller does not wait.

    Of a kind (its class and the tags but for the attempt) that was sent often just now it is only counted.
    """
    if not _started:
        return
    kind = (class_name(error), *(value for name, value in sorted(tags.items()) if name != "attempt"))
    left_out = _BUDGET.take(kind)
    if left_out is None:
        return
    import sentry_sdk

    with sentry_sdk.new_scope() as scope:
        for name, value in tags.items():
            scope.set_tag(name, value)
        if context is not None:
            scope.set_context("job", dict(context))
        if left_out:
            scope.set_context("reports", {"left_out_before": left_out})
        # Not `isinstance`: that asks the exception itself, too.
        if issubclass(type(error), str):
            sentry_sdk.capture_message(cast(str, error), level="error")
        else:
            _capture(cast(BaseException, error))


def _capture(error: BaseException) -> None:
    import sentry_sdk

    try:
        sentry_sdk.capture_exception(error)
    except BaseException as raised:
        if came_from_outside(raised):
            raise
        # Sentry's client makes texts of the exception too, and guards against `Exception` alone.
        sentry_sdk.capture_message(describe_error(error), level="error")


@contextmanager
def reporting(tags: Mapping[str, str]) -> Iterator[None]:
    """Report an exception that leaves the `with`, and wait a little for it to be sent: the process ends with it.

    Raises `RuntimeError` in place of one that would end the process without a word, or as if it had done its work.
    """
    try:
        yield
    except BaseException as error:
        if came_from_outside(error):
            raise
        report(error, tags)
        if issubclass(type(error), Exception):
            raise
        raise RuntimeError(f"the program would have ended by {describe_error(error, 200)}") from error
    finally:
        flush()


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Wait a little for reports on their way."""
    if _started:
        import sentry_sdk

        sentry_sdk.flush(timeout=seconds)


@dataclass(slots=True)
class _Kind:
    may_send: float = BURST
    at_mono: float = 0.0
    left_out: int = 0


class _Budget:
    """How many errors of which kind may still be sent now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: OrderedDict[tuple[str, ...], _Kind] = OrderedDict()

    def take(self, kind: tuple[str, ...]) -> int | None:
        """Return how many of this kind were left out before this one; None when it is to be left out too."""
        now = time.monotonic()
        with self._lock:
            state = self._kinds.pop(kind, None) or _Kind(at_mono=now)
            self._kinds[kind] = state
            if len(self._kinds) > _MOST_KINDS:
                self._kinds.popitem(last=False)
            state.may_send = min(BURST, state.may_send + (now - state.at_mono) * PER_SECOND)
            state.at_mono = now
            if state.may_send < 1:
                state.left_out += 1
                return None
            state.may_send -= 1
            left_out, state.left_out = state.left_out, 0
            return left_out


_BUDGET = _Budget()


def _redacted(event: Event, hint: Hint) -> Event:
    """Return the report with every text in it free of secrets, and no larger than Sentry takes."""
    small: Any = event
    for most, frames in _SIZES:
        small = hide_secrets("", _with_fewer_frames(event, frames), most=most)
        if len(json.dumps(small)) <= EVENT_BYTES:
            break
    return cast("Event", small)


def _with_fewer_frames(event: Mapping[str, Any], most: int) -> dict[str, Any]:
    raised = event.get("exception")
    values = raised.get("values") if isinstance(raised, Mapping) else None
    if not isinstance(values, list):
        return dict(event)
    return {**event, "exception": {"values": [_shorter(value, most) for value in values[-_MOST_EXCEPTIONS:]]}}


def _shorter(value: Mapping[str, Any], most: int) -> dict[str, Any]:
    stack = value.get("stacktrace")
    if not isinstance(stack, Mapping) or not isinstance(stack.get("frames"), list):
        return dict(value)
    return {**value, "stacktrace": {**stack, "frames": stack["frames"][-most:]}}


def _transport() -> type[HttpTransport]:
    """Return Sentry's own way to send, which says once in a while that it cannot."""
    from sentry_sdk.transport import HttpTransport

    class Transport(HttpTransport):
        _lost = 0
        _said_mono = float("-inf")

        def on_dropped_event(self, _reason: str) -> None:
            """Count a report that Sentry did not take, and say so."""
            self._lost += 1
            if time.monotonic() - self._said_mono >= _SAY_SECONDS:
                self._said_mono = time.monotonic()
                logger.warning("error reports are lost: Sentry does not take them", why=_reason, lost=self._lost)

    return Transport


def _is_of_others(record: logging.LogRecord) -> bool:
    return record.threadName != _SENDING_THREAD
