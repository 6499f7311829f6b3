"""Sentences about what is wrong with a payload: which value, and why; whatever the value's own code does."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from ...logs.foreign_text import came_from_outside, describe_error, short_repr, succeeds
from ...logs.json_text import levels
from ...logs.redaction import shortened

#: Lists and objects within one another; pydantic reads a few more from JSON.
MAX_LEVELS = 190
_SHOWN_CHARS = 80
_ERROR_CHARS = 200
#: A validator's words name what is accepted, say all endpoints.
_WHY_CHARS = 2_000
#: Of one payload.
_MAX_REASONS = 20


def reasons_of(error: BaseException) -> list[str]:
    """Return why a payload is refused whose validation raised this error."""
    if type(error) is ValidationError:
        return invalid(error)
    return [f"payload: its own code failed ({described(error)})"]


def invalid(error: ValidationError) -> list[str]:
    """Return what is wrong with each field."""
    try:
        return _invalid(error)
    except BaseException as raised:
        # A validator's own error is asked for its text only here.
        if came_from_outside(raised):
            raise
        return [f"payload: its own code failed (the text of a validator's error: {described(raised)})"]


def _invalid(error: ValidationError) -> list[str]:
    found = error.errors(include_url=False, include_context=False)
    reasons = []
    for each in found[:_MAX_REASONS]:
        name, why = name_of(tuple(map(str, each["loc"]))), shortened(each["msg"], _WHY_CHARS)
        reasons.append(f"{name}: {why} (got {shown(each.get('input'))})")
    return reasons if len(found) <= _MAX_REASONS else [*reasons, f"and {len(found) - _MAX_REASONS} more"]


def name_of(path: tuple[str, ...]) -> str:
    """Return how a value inside a payload is called, bounded: keys are the caller's."""
    return shortened(".".join(path), _ERROR_CHARS) or "payload"


def shown(value: object) -> str:
    """Return a value for a sentence, bounded; its `repr` is foreign code, and may fail."""
    return short_repr(value, _SHOWN_CHARS).encode(errors="backslashreplace").decode()


def described(error: BaseException) -> str:
    """Return an error's class and words, bounded; its `str` is foreign code, and may fail."""
    return describe_error(error, _ERROR_CHARS)


def unwritable(payload: BaseModel, error: BaseException) -> str:
    """Return which value has no form in a message, and why."""
    for name, part in _parts(payload):
        if levels(part, MAX_LEVELS) == MAX_LEVELS:
            return f"{name}: nested too deeply (accepted: up to {MAX_LEVELS} levels)"
    path, value = _first_unwritable(payload)
    if isinstance(value, float):
        return f"{name_of(path)}: {value} is no number that JSON has (accepted: finite numbers)"
    return f"{name_of(path)}: {shown(value)} has no form in JSON ({described(error)})"


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
