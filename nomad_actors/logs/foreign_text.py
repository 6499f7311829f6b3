"""Text of values that are not ours: an application's errors, arguments and results, whose own code may raise anything.

`str()`, `repr()`, a format string and `traceback.format_exception` run code of the value: a `__str__` that raises
`SystemExit`, a `SyntaxError` whose text is bytes, a `__cause__` that is a property. Whatever handles such a value uses
these functions instead. They return exact `str` of bounded length and raise nothing, with one exception: what struck
this thread from outside while the value's code ran (Ctrl-C, a time limit, a cancel) goes on its way.
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

#: A longer text is cut. More than anything here keeps or shows.
MAX_CHARS = 1_000_000
#: How many exceptions of a chain of causes, and how many frames of each, are written where Python's own way fails.
MAX_CAUSES = 10
MAX_FRAMES = 100

# Past a metaclass that has a `__name__` of its own.
_class_name: Callable[[type], str] = type.__dict__["__name__"].__get__


def safe_str(value: object, max_chars: int = MAX_CHARS) -> str:
    """Return `str(value)`, at most `max_chars` characters of it; where that raises, what the value is."""
    return _text(str, value, max_chars)


def safe_repr(value: object, max_chars: int = MAX_CHARS) -> str:
    """Return `repr(value)`, at most `max_chars` characters of it; where that raises, what the value is."""
    return _text(repr, value, max_chars)


def short_repr(value: object, max_chars: int) -> str:
    """Return about what `repr(value)` begins with, in a time that does not grow with the value."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = max_chars
    return _text(short.repr, value, max_chars)


def class_name(value: object) -> str:
    """Return the name of the value's class."""
    return str.__str__(_class_name(type(value)))


def describe_error(error: BaseException, max_chars: int = MAX_CHARS) -> str:
    """Return "ClassName: message"; the class alone where there is no message."""
    words = safe_str(error, max_chars)
    return f"{class_name(error)}: {words}" if words else class_name(error)


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return the traceback that Python keeps with an exception, past a class that has a property of that name."""
    found: TracebackType | None = _builtin(error, "__traceback__")
    return found


def safe_traceback(error: BaseException) -> str:
    """Return an exception with its frames and causes as Python prints it, or a plainer form where Python cannot."""
    try:
        return _cut_start("".join(traceback.format_exception(error)))
    except BaseException as raised:
        if came_from_outside(raised):
            raise
    return _cut_start("\n".join(_plain_lines(error)) + "\n")


def is_testable(error: BaseException) -> bool:
    """Return whether `isinstance` can be asked about an exception: its `__class__` may be a property that raises."""
    return succeeds(lambda: error.__class__)


def is_printable(error: BaseException) -> bool:
    """Return whether an exception can be printed and tested as everybody does it who does not use this module."""
    return is_testable(error) and succeeds(lambda: traceback.format_exception(error))


def succeeds(call: Callable[[], object]) -> bool:
    """Return False if a call of foreign code raises anything."""
    try:
        call()
    except BaseException as raised:
        if came_from_outside(raised):
            raise
        return False
    return True


def came_from_outside(error: BaseException) -> bool:
    """Return whether an exception struck its thread from outside, instead of being raised by the code that ran.

    A signal's handler and an interrupt of another thread strike between two instructions; code that raises, raises by
    an instruction that does that. Code in C raises too, without such an instruction (a cancelled future, a generator's
    `throw`): so only the kinds that are made to strike from outside count.
    """
    # Not `isinstance`, here and below: that asks a `__class__` which may be a property.
    if not issubclass(type(error), (KeyboardInterrupt, Interrupt, *_gevent_kinds())):
        return False
    trace = traceback_of(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not _raises(trace)


def _gevent_kinds() -> tuple[type[BaseException], ...]:
    """Return what gevent throws into a greenlet that is over; nothing where this process does not use it."""
    gevent = sys.modules.get("gevent")
    found = (getattr(gevent, name, None) for name in ("GreenletExit", "Timeout"))
    return tuple(each for each in found if isinstance(each, type))


def _raises(trace: TracebackType) -> bool:
    code = trace.tb_frame.f_code.co_code
    return 0 <= trace.tb_lasti < len(code) and dis.opname[code[trace.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")


def _text(form: Callable[[object], str], value: object, max_chars: int) -> str:
    try:
        # A subclass of `str` would be asked again by whoever handles the text.
        text = str.__str__(form(value))
    except BaseException as error:
        if came_from_outside(error):
            raise
        return f"unprintable {class_name(value)} ({class_name(error)})"
    if len(text) <= max_chars:
        return text
    return f"{text[:max_chars]}… [{len(text) - max_chars} characters left out]"


def _cut_start(text: str) -> str:
    """Return the end of a text that is too long: it names the error."""
    if len(text) <= MAX_CHARS:
        return text
    return f"[{len(text) - MAX_CHARS} characters left out]\n{text[-MAX_CHARS:]}"


def _plain_lines(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback without running code of the exceptions but for their texts."""
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
    """Return what Python itself keeps with an exception, past a class that has a property of that name."""
    return BaseException.__dict__[name].__get__(error)
