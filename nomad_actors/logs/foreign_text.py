"""Safe text of foreign values: an application's errors, arguments and results, whose own code may raise anything.

`str()`, `repr()`, format strings and `traceback.format_exception` run the value's code: a `__str__` that raises
`SystemExit`, a `SyntaxError` whose text is bytes, a `__cause__` that is a property. Code that handles such values uses
these functions instead. They return an exact `str` of bounded length and raise nothing, with one exception: an
asynchronous interrupt (Ctrl-C, a time limit, a cancel) that arrives while the value's code runs is raised again.
"""

from __future__ import annotations

import dis
import reprlib
import sys
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from dramatiq.threading import Interrupt

#: Longer texts are cut. Nothing in this project stores or shows more.
MAX_CHARS = 1_000_000
#: Limits of our own traceback format, which is used where Python's fails: exceptions in a chain, and frames of each.
MAX_CAUSES = 10
MAX_FRAMES = 100

# Ignores a `__name__` that a metaclass defines.
_class_name: Callable[[type], str] = type.__dict__["__name__"].__get__


def safe_str(value: object, max_chars: int = MAX_CHARS) -> str:
    """Return `str(value)` cut to `max_chars` characters; if that raises, a text with the value's class."""
    return _text(str, value, max_chars)


def safe_repr(value: object, max_chars: int = MAX_CHARS) -> str:
    """Return `repr(value)` cut to `max_chars` characters; if that raises, a text with the value's class."""
    return _text(repr, value, max_chars)


def short_repr(value: object, max_chars: int) -> str:
    """Return roughly the beginning of `repr(value)`, in time independent of the value's size."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = max_chars
    return _text(short.repr, value, max_chars)


def class_name(value: object) -> str:
    """Return the name of a value's class."""
    return str.__str__(_class_name(type(value)))


def describe_error(error: BaseException, max_chars: int = MAX_CHARS) -> str:
    """Return "ClassName: message", or the class name alone if the message is empty."""
    message = safe_str(error, max_chars)
    return f"{class_name(error)}: {message}" if message else class_name(error)


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return an exception's real traceback, even if its class overrides `__traceback__`."""
    found: TracebackType | None = _builtin(error, "__traceback__")
    return found


def safe_traceback(error: BaseException) -> str:
    """Return the traceback with its causes as Python prints it, or a simpler form if Python fails."""
    try:
        return _cut_start("".join(traceback.format_exception(error)))
    except BaseException as raised:
        if came_from_outside(raised):
            raise
    return _cut_start("\n".join(_plain_lines(error)) + "\n")


def is_testable(error: BaseException) -> bool:
    """Return whether `isinstance` works on an exception: its `__class__` may be a property that raises."""
    return succeeds(lambda: error.__class__)


def is_printable(error: BaseException) -> bool:
    """Return whether code that does not use this module can print an exception and test its class."""
    return is_testable(error) and succeeds(lambda: traceback.format_exception(error))


def succeeds(call: Callable[[], object]) -> bool:
    """Return whether a call of foreign code raises nothing."""
    try:
        call()
    except BaseException as raised:
        if came_from_outside(raised):
            raise
        return False
    return True


def came_from_outside(error: BaseException) -> bool:
    """Return whether an exception interrupted its thread from outside, instead of being raised by the running code.

    A signal handler and another thread's interrupt act between two instructions; Python code raises with a raise
    instruction. C code also raises without such an instruction (a cancelled future, a generator's `throw`), so only
    the exception classes that are made for interrupts count.
    """
    # Not `isinstance`, here and below: that reads `__class__`, which may be a property.
    if not issubclass(type(error), (KeyboardInterrupt, Interrupt, *_gevent_kinds())):
        return False
    trace = traceback_of(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not _raises(trace)


def _gevent_kinds() -> tuple[type[BaseException], ...]:
    """Return the exceptions that gevent throws into a greenlet to end it; none if this process does not use gevent."""
    gevent = sys.modules.get("gevent")
    found = (getattr(gevent, name, None) for name in ("GreenletExit", "Timeout"))
    return tuple(each for each in found if isinstance(each, type))


def _raises(trace: TracebackType) -> bool:
    code = trace.tb_frame.f_code.co_code
    return 0 <= trace.tb_lasti < len(code) and dis.opname[code[trace.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")


def _text(form: Callable[[object], str], value: object, max_chars: int) -> str:
    try:
        # A subclass of `str` would run its own code again wherever the text is used.
        text = str.__str__(form(value))
    except BaseException as error:
        if came_from_outside(error):
            raise
        return f"unprintable {class_name(value)} ({class_name(error)})"
    if len(text) <= max_chars:
        return text
    return f"{text[:max_chars]}… [{len(text) - max_chars} characters left out]"


def _cut_start(text: str) -> str:
    """Keep the end of a text that is too long: it names the error."""
    if len(text) <= MAX_CHARS:
        return text
    return f"[{len(text) - MAX_CHARS} characters left out]\n{text[-MAX_CHARS:]}"


def _plain_lines(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback; the only foreign code it runs is the exceptions' `__str__`."""
    chain = _causes(error)
    for each in reversed(chain):
        yield "Traceback (most recent call last):"
        frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(traceback_of(each))]
        for code, line in frames[-MAX_FRAMES:]:
            yield f'  File "{code.co_filename}", line {line}, in {code.co_name}'
        yield describe_error(each)
        if each is not error:
            yield "\nThe above exception led to the following one:\n"


def _causes(error: BaseException) -> list[BaseException]:
    chain = [error]
    while len(chain) < MAX_CAUSES:
        last = chain[-1]
        cause = _builtin(last, "__cause__")
        if cause is None and not _builtin(last, "__suppress_context__"):
            cause = _builtin(last, "__context__")
        if cause is None or any(cause is each for each in chain):
            break
        chain.append(cause)
    return chain


def _builtin(error: BaseException, name: str) -> Any:
    """Return a built-in attribute of an exception, even if its class overrides it."""
    return BaseException.__dict__[name].__get__(error)
