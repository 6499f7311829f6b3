"""Error messages about a payload: which value is wrong, and why. They do not fail when the value's own code does."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from ...logs.foreign_text import came_from_outside, describe_error, short_repr, succeeds
from ...logs.json_text import levels
from ...logs.redaction import shortened

#: How deep lists and objects may be nested; pydantic reads a few more levels from JSON.
MAX_LEVELS = 190
_SHOWN_CHARS = 80
_ERROR_CHARS = 200
#: A validator's message may list all allowed values, such as all endpoints.
_WHY_CHARS = 2_000
#: In the message about one payload.
_MAX_REASONS = 20


def error_messages(error: BaseException) -> list[str]:
    """Return why a payload is refused, given the error of its validation: one message for each wrong field."""
    if type(error) is not ValidationError:
        return [f"payload: its own code failed ({describe(error)})"]
    try:
        return _field_messages(error)
    except BaseException as raised:
        # The text of a validator's own error is requested only here.
        if came_from_outside(raised):
            raise
        return [f"payload: its own code failed (the text of a validator's error: {describe(raised)})"]


def _field_messages(error: ValidationError) -> list[str]:
    found = error.errors(include_url=False, include_context=False)
    reasons = []
    for each in found[:_MAX_REASONS]:
        name, why = path_text(tuple(map(str, each["loc"]))), shortened(each["msg"], _WHY_CHARS)
        reasons.append(f"{name}: {why} (got {short_text(each.get('input'))})")
    return reasons if len(found) <= _MAX_REASONS else [*reasons, f"and {len(found) - _MAX_REASONS} more"]


def path_text(path: tuple[str, ...]) -> str:
    """Return the path of a value inside a payload as text, shortened: the caller chooses the keys."""
    return shortened(".".join(path), _ERROR_CHARS) or "payload"


def short_text(value: object) -> str:
    """Return a value's `repr`, shortened. It is foreign code, and may fail."""
    return short_repr(value, _SHOWN_CHARS).encode(errors="backslashreplace").decode()


def describe(error: BaseException) -> str:
    """Return an error's class and text, shortened. Its `str` is foreign code, and may fail."""
    return describe_error(error, _ERROR_CHARS)


def describe_unwritable(payload: BaseModel, error: BaseException) -> str:
    """Return which value cannot be written to a message, and why."""
    for name, part in _parts(payload):
        if levels(part, MAX_LEVELS) == MAX_LEVELS:
            return f"{name}: nested too deeply (allowed: up to {MAX_LEVELS} levels)"
    path, value = _first_unwritable(payload)
    if isinstance(value, float):
        return f"{path_text(path)}: {value} is not a number in JSON (allowed: finite numbers)"
    return f"{path_text(path)}: {short_text(value)} cannot be written as JSON ({describe(error)})"


def _first_unwritable(value: object) -> tuple[tuple[str, ...], object]:
    path: tuple[str, ...] = ()
    while len(path) < MAX_LEVELS:
        found = next(((name, part) for name, part in _parts(value) if not _is_writable(part)), None)
        if found is None:
            break
        path, value = (*path, found[0]), found[1]
    return path, value


def _parts(value: object) -> list[tuple[str, object]]:
    if isinstance(value, BaseModel):
        return [(name, getattr(value, name, None)) for name in type(value).model_fields]
    if isinstance(value, Mapping):
        return [(str(name), part) for name, part in value.items()]
    return [(str(n), part) for n, part in enumerate(value)] if isinstance(value, (list, tuple)) else []


def _is_writable(value: object) -> bool:
    def write() -> None:
        written = to_jsonable_python(value, inf_nan_mode="constants")
        json.dumps(written, allow_nan=False, ensure_ascii=False).encode()

    return succeeds(write)
