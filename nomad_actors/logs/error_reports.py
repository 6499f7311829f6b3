"""Error reports to Sentry; nothing is imported or sent while SENTRY_DSN is not set.

A report contains only what we put there: no local variables, no request, no environment. Every text is redacted and cut
to the size that Sentry accepts. Errors of one kind are rate-limited; a later report says how many were left out.
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

#: How long a stopping process waits for pending reports.
FLUSH_SECONDS = 2.0
#: Sentry rejects events of 1 MB, and keeps only the last frames of a stack.
EVENT_BYTES = 900_000
#: Maximum characters in a text and frames in a stack; the next pair is used while the event is too large.
_SIZES = ((8_000, 100), (1_000, 30), (200, 10))
#: Of a chain of causes, only the exceptions raised last are sent.
_MAX_EXCEPTIONS = 10
#: Token bucket for errors of one kind: burst size and refill rate. A report costs as much as a small job.
BURST, PER_SECOND = 10, 1.0
_MAX_KINDS = 1_000
#: Shortest time between two warnings about lost reports.
_WARN_SECONDS = 60.0
#: It retries each report a few times and logs a warning for each attempt.
_SENDING_THREAD = "sentry-sdk.BackgroundWorker"

_started = False


def start(dsn: str, *, service: str) -> None:
    """Report this process's errors to the Sentry project of `dsn`, tagged with `service`; do nothing if it is empty."""
    global _started
    if not dsn:
        return
    import sentry_sdk

    logging.getLogger("urllib3.connectionpool").addFilter(lambda record: record.threadName != _SENDING_THREAD)
    sentry_sdk.init(
        dsn=dsn,
        release=f"nomad-actors@{__version__}",
        # The SDK's integrations would report every failed attempt, from Dramatiq and from the log, and whole requests.
        default_integrations=False,
        auto_enabling_integrations=False,
        # `send_default_pii` stays unset, which means False; setting it is deprecated since sentry-sdk 2.75.
        # Local variables contain payloads and tokens.
        include_local_variables=False,
        max_breadcrumbs=0,
        before_send=_redacted,
        transport=_transport(),
    )
    # The global scope applies to every thread; the current scope only to this one.
    sentry_sdk.get_global_scope().set_tag("service", service)
    _started = True


def report(error: BaseException | str, tags: Mapping[str, str], context: Mapping[str, Any] | None = None) -> None:
    """Send an exception or an error message in the background, without waiting.

    Errors of one kind (same class, same tags except the attempt) are rate-limited: beyond that they are only counted.
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
        # Not `isinstance`: that runs the exception's own `__class__`.
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
        # Sentry's client formats the exception too, but catches only `Exception`.
        sentry_sdk.capture_message(describe_error(error), level="error")


@contextmanager
def reporting(tags: Mapping[str, str]) -> Iterator[None]:
    """Report an exception that leaves the `with` block, and wait briefly until it is sent: the process ends with it.

    Raises `RuntimeError` in place of an exception that would end the process silently or with exit code 0.
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
    """Wait up to `seconds` for pending reports."""
    if _started:
        import sentry_sdk

        sentry_sdk.flush(timeout=seconds)


@dataclass(slots=True)
class _Kind:
    may_send: float = BURST
    at_mono: float = 0.0
    left_out: int = 0


class _Budget:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: OrderedDict[tuple[str, ...], _Kind] = OrderedDict()

    def take(self, kind: tuple[str, ...]) -> int | None:
        """Return how many errors of this kind were left out before this one, or None if this one is left out too."""
        now = time.monotonic()
        with self._lock:
            state = self._kinds.pop(kind, None) or _Kind(at_mono=now)
            self._kinds[kind] = state
            if len(self._kinds) > _MAX_KINDS:
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
    return {**event, "exception": {"values": [_shorter(value, most) for value in values[-_MAX_EXCEPTIONS:]]}}


def _shorter(value: Mapping[str, Any], most: int) -> dict[str, Any]:
    stack = value.get("stacktrace")
    if not isinstance(stack, Mapping) or not isinstance(stack.get("frames"), list):
        return dict(value)
    return {**value, "stacktrace": {**stack, "frames": stack["frames"][-most:]}}


def _transport() -> type[HttpTransport]:
    from sentry_sdk.transport import HttpTransport

    class Transport(HttpTransport):
        _lost = 0
        _warned_mono = float("-inf")

        def on_dropped_event(self, _reason: str) -> None:
            self._lost += 1
            if time.monotonic() - self._warned_mono >= _WARN_SECONDS:
                self._warned_mono = time.monotonic()
                logger.warning("error reports are lost: Sentry does not accept them", why=_reason, lost=self._lost)

    return Transport
