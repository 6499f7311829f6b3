"""Reports of errors to Sentry, of whatever service; nothing is imported or sent while SENTRY_DSN is not set.

What a report holds is what we put there: no local variables, no request, no environment, and every text redacted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from . import log
from .version import __version__

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

#: How long a stopping process waits for reports on their way.
FLUSH_SECONDS = 2.0

_started = False


def start(dsn: str, *, service: str) -> None:
    """Report this process' errors to the project of `dsn`, as those of a service; with '' do nothing at all."""
    global _started
    if not dsn:
        return
    import sentry_sdk

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
    )
    # For every thread: the current scope is of this one.
    sentry_sdk.get_global_scope().set_tag("service", service)
    _started = True


def report(error: BaseException | str, tags: Mapping[str, str], context: Mapping[str, Any] | None = None) -> None:
    """Send an error, or words that say one; it is sent by a thread of its own, and the caller does not wait."""
    if not _started:
        return
    import sentry_sdk

    with sentry_sdk.new_scope() as scope:
        for name, value in tags.items():
            scope.set_tag(name, value)
        if context is not None:
            scope.set_context("job", dict(context))
        if isinstance(error, str):
            sentry_sdk.capture_message(error, level="error")
        else:
            sentry_sdk.capture_exception(error)


@contextmanager
def reporting(tags: Mapping[str, str]) -> Iterator[None]:
    """Report an exception that leaves the `with`, and wait a little for it to be sent: the process ends with it."""
    try:
        yield
    except Exception as error:
        report(error, tags)
        raise
    finally:
        flush()


def flush() -> None:
    """Wait a little for reports on their way."""
    if _started:
        import sentry_sdk

        sentry_sdk.flush(timeout=FLUSH_SECONDS)


def _redacted(event: Event, hint: Hint) -> Event:
    """Return the report with every text in it free of secrets."""
    return cast("Event", log.hide_secrets("", event))
