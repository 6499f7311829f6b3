"""Writes a payload into a message, and reads it in a worker.

A message contains fields under their own names, whatever aliases callers use, and only the given ones: the worker knows
the defaults. Unless the schema proves that every value arrives unchanged (`schema.values_of`), a payload is read back
before the job is added, and refused if the worker would get another value.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from ...errors import BadInput, BadPayload
from ...logs.foreign_text import came_from_outside
from .difference import SIMPLE, difference
from .reasons import describe, describe_unwritable, error_messages, path_text, short_text
from .schema import Values, unsendable_fields, values_of

P = TypeVar("P", bound=BaseModel)
_R = TypeVar("_R")

#: Python converts no longer number to text or back (`sys.set_int_max_str_digits`).
MAX_DIGITS = 4300
_MAX_BITS = 14_000
_STRICT_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_JSON = json.JSONEncoder(separators=(",", ":"))


#: Which field of a payload would not arrive unchanged (None if there are several), and why.
_Mismatch: TypeAlias = tuple[str | None, str]


def _guarded(method: Callable[[PayloadCodec[P], Any], _R]) -> Callable[[PayloadCodec[P], Any], _R]:
    """Make a method raise only `BadPayload`, whatever the code of the payload and its values raises."""

    @functools.wraps(method)
    def run(self: PayloadCodec[P], data: Any) -> _R:
        try:
            return method(self, data)
        except BaseException as error:
            if issubclass(type(error), BadPayload) or came_from_outside(error):
                raise
            raise self._refused(error_messages(error)) from error

    return run


class PayloadCodec(Generic[P]):
    """Validates, writes and reads the payloads of one job type.

    Raises `BadInput` if fields of the payload cannot be sent unchanged, and names each of them. Its methods raise
    `BadPayload` that names each wrong field, and each value that would not arrive unchanged.
    """

    def __init__(self, job_type: str, payload: type[P]) -> None:
        problems = unsendable_fields(payload)
        if problems:
            raise BadInput(f"the payload of job type {job_type!r} cannot be sent to a worker: {'; '.join(problems)}")
        self._job_type = job_type
        self._payload = payload
        self._values = values_of(payload)
        self._is_plain = self._values is Values.PLAIN

    @_guarded
    def validate(self, data: object) -> P:
        """Return a caller's `data` as a payload. Fields go by name or alias; unknown fields are errors at any depth."""
        if type(data) is self._payload:
            return data
        may_be_json = isinstance(data, Mapping) and not self._is_plain
        try:
            return self._payload.model_validate(data, extra="forbid", by_alias=True, by_name=True)
        except ValidationError as error:
            # Strict types accept from JSON what they refuse from Python: text for a date, a list for a tuple.
            found = self._from_json(data) if may_be_json else None
            if found is None:
                raise self._refused(error_messages(error)) from error
            return found

    @_guarded
    def write(self, data: object) -> dict[str, Any]:
        """Return a caller's `data` in the form that a message contains."""
        payload = self.validate(data)
        if self._values is not Values.ANY and data is not payload:
            written = self._written_plain(payload)
            # A payload with its own validators: the worker gives them the same input, so they return the same.
            if self._is_plain or _is_same_object(data, written):
                return written
        written = self._written(payload, only_given=True)
        complete: set[str] = set()
        while (mismatch := self._mismatch(payload, written)) is not None:
            field, reason = mismatch
            if field is None or field in complete:
                raise self._refused([reason])
            # Defaults that must be sent: an id or a time that is made anew, the tag of a union's choice.
            complete.add(field)
            written |= self._written(payload, only_given=False, include={field})
        return written

    @_guarded
    def write_given(self, data: object) -> dict[str, Any]:
        """Return what `write` returns, without defaults: for data from which a new message is made each time."""
        payload = self.validate(data)
        return {name: value for name, value in self.write(payload).items() if name in payload.model_fields_set}

    @_guarded
    def read(self, written: Mapping[str, Any]) -> P:
        """Return the payload of a message. Fields that only a newer producer knows are ignored at any depth."""
        return self._read(written)

    def _read(self, written: Mapping[str, Any]) -> P:
        if not self._is_plain:
            try:
                text = _JSON.encode(written)
            except (TypeError, ValueError, RecursionError):
                # Written by another producer, with an encoder that supports more than JSON.
                pass
            else:
                return self._payload.model_validate_json(text, extra="ignore", by_alias=False, by_name=True)
        return self._payload.model_validate(written, extra="ignore", by_alias=False, by_name=True)

    def _from_json(self, data: object) -> P | None:
        try:
            text = _STRICT_JSON.encode(data)
            return self._payload.model_validate_json(text, extra="forbid", by_alias=True, by_name=True)
        except Exception:
            return None

    def _written_plain(self, payload: P) -> dict[str, Any]:
        written = payload.model_dump(mode="json", exclude_unset=True, by_alias=False)
        for name, value in written.items():
            if not _has_text(value):
                allowed = f"text that UTF-8 can represent, numbers of up to {MAX_DIGITS} digits"
                raise self._refused([f"{name}: {short_text(value)} cannot be written as JSON (allowed: {allowed})"])
        return written

    def _written(self, payload: P, *, only_given: bool, include: set[str] | None = None) -> dict[str, Any]:
        """Return the form that a message contains; it is not checked that it can be read back."""
        try:
            written = payload.model_dump(
                mode="json", include=include, exclude_unset=only_given, by_alias=False, round_trip=True, warnings=False
            )
            _STRICT_JSON.encode(written).encode()
        except BaseException as error:
            if came_from_outside(error):
                raise
            raise self._refused([describe_unwritable(payload, error)]) from error
        if not isinstance(written, dict) or not all(isinstance(name, str) for name in written):
            raise self._refused(["payload: its own serializer does not return an object"])
        return written

    def _mismatch(self, payload: P, written: dict[str, Any]) -> _Mismatch | None:
        """Return the first value that would not arrive unchanged, or None."""
        try:
            found = difference(payload, self._read(written))
        except ValidationError as error:
            if error.errors(include_url=False)[0]["type"] == "json_invalid":
                return None, describe_unwritable(payload, error)
            path = tuple(map(str, error.errors(include_url=False)[0]["loc"]))
            return self._mismatch_at(path, f"{error_messages(error)[0]} when the message is read back")
        except BaseException as error:
            if came_from_outside(error):
                raise
            return None, f"payload: it cannot be compared with what the worker would get ({describe(error)})"
        if found is None:
            return None
        reason = f"{path_text(found.path)}: {short_text(found.sent)} would arrive as {short_text(found.arrived)}"
        return self._mismatch_at(found.path, reason)

    def _mismatch_at(self, path: tuple[str, ...], reason: str) -> _Mismatch:
        return path[0] if path and path[0] in self._payload.model_fields else None, reason

    def _refused(self, problems: list[str]) -> BadPayload:
        allowed = [
            f"{name}: {getattr(f.annotation, '__name__', f.annotation)}{'' if f.is_required() else ' (optional)'}"
            for name, f in self._payload.model_fields.items()
        ]
        return BadPayload(
            f"wrong data for job type {self._job_type!r}: {'; '.join(problems)} (allowed: {', '.join(allowed)})",
            accepted=allowed,
        )


def _is_same_object(data: object, written: Mapping[str, Any]) -> bool:
    """Return True if the written data equals a caller's data, types included."""
    if type(data) is not dict or data.keys() != written.keys():
        return False
    return all(
        type(value) in SIMPLE and type(value) is type(data[n]) and value == data[n] for n, value in written.items()
    )


def _has_text(value: object) -> bool:
    """Return True if a JSON value can be written as text: no lone surrogate, no number with too many digits."""
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="replace").decode() == value
    return not isinstance(value, int) or value.bit_length() < _MAX_BITS
