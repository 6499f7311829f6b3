"""Writes a payload into a message, and reads it back in a worker.

A message holds fields under their own names, whatever aliases callers may use, and only those that were given: what a
default is, the worker knows. Where nothing proves that each value arrives (`schema.values_of`), a payload is read back
before it is added; what would arrive as something else is refused.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from ...errors import BadInput, BadPayload
from ...logs.foreign_text import came_from_outside
from .difference import SIMPLE, difference
from .reasons import described, invalid, name_of, reasons_of, shown, unwritable
from .schema import Values, refusals, values_of

P = TypeVar("P", bound=BaseModel)
_R = TypeVar("_R")

#: Python turns no longer number into text, nor back (`sys.set_int_max_str_digits`).
MAX_DIGITS = 4300
_MAX_BITS = 14_000
_STRICT_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_JSON = json.JSONEncoder(separators=(",", ":"))


class _Lost(NamedTuple):
    """Why a payload would not arrive as it was sent, and by which of its fields; None for more than one."""

    field: str | None
    reason: str


def _guarded(method: Callable[[PayloadCodec[P], Any], _R]) -> Callable[[PayloadCodec[P], Any], _R]:
    """Return a method that raises nothing but `BadPayload`, whatever the code of the payload and its values raises."""

    @functools.wraps(method)
    def run(self: PayloadCodec[P], data: Any) -> _R:
        try:
            return method(self, data)
        except BaseException as error:
            if issubclass(type(error), BadPayload) or came_from_outside(error):
                raise
            raise self._refused(reasons_of(error)) from error

    return run


class PayloadCodec(Generic[P]):
    """How the payloads of one job type travel.

    Raises `BadInput` if its values could not arrive as they were sent, naming each such field.
    """

    def __init__(self, job_type: str, payload: type[P]) -> None:
        wrong = refusals(payload)
        if wrong:
            raise BadInput(f"the payload of job type {job_type!r} cannot be carried to a worker: {'; '.join(wrong)}")
        self._job_type = job_type
        self._payload = payload
        self._values = values_of(payload)
        self._is_plain = self._values is Values.PLAIN

    @_guarded
    def validate(self, data: object) -> P:
        """Return a caller's `data` as a payload, its fields by name or alias; unknown ones are refused at any depth.

        Raises `BadPayload` naming each wrong field.
        """
        if type(data) is self._payload:
            return data
        with_json = isinstance(data, Mapping) and not self._is_plain
        try:
            return self._payload.model_validate(data, extra="forbid", by_alias=True, by_name=True)
        except ValidationError as error:
            # Strict types take from JSON what they refuse from Python: a date's text, a list for a tuple.
            found = self._from_json(data) if with_json else None
            if found is None:
                raise self._refused(invalid(error)) from error
            return found

    @_guarded
    def write(self, data: object) -> dict[str, Any]:
        """Return a caller's `data` as a message holds it.

        Raises `BadPayload` for what a payload refuses, and for what would not arrive as it was sent.
        """
        payload = self.validate(data)
        if self._values is not Values.ANY and data is not payload:
            written = self._written_plain(payload)
            # With validators of its own: if what they were given is written, the worker's come to the same by it.
            if self._is_plain or _is_same_object(data, written):
                return written
        written = self._written(payload, only_given=True)
        whole: set[str] = set()
        while (lost := self._lost(payload, written)) is not None:
            field = lost.field
            if field is None or field in whole:
                raise self._refused([lost.reason])
            # Defaults that must travel: an id or a time that is made anew, the tag of a union's choice.
            whole.add(field)
            written |= self._written(payload, only_given=False, include={field})
        return written

    @_guarded
    def write_given(self, data: object) -> dict[str, Any]:
        """Return as `write` does, but without defaults: for what is written into a new message each time.

        Raises as `write`.
        """
        payload = self.validate(data)
        return {name: value for name, value in self.write(payload).items() if name in payload.model_fields_set}

    @_guarded
    def read(self, written: Mapping[str, Any]) -> P:
        """Return the payload of a message; what a newer producer knows and this code does not is ignored at any depth.

        Raises `BadPayload` naming each wrong field.
        """
        return self._read(written)

    def _read(self, written: Mapping[str, Any]) -> P:
        if not self._is_plain:
            try:
                text = _JSON.encode(written)
            except (TypeError, ValueError, RecursionError):
                # Another producer's, with an encoder that can tell more than JSON.
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
                accepted = f"text that UTF-8 has, numbers of up to {MAX_DIGITS} digits"
                raise self._refused([f"{name}: {shown(value)} has no form in JSON (accepted: {accepted})"])
        return written

    def _written(self, payload: P, *, only_given: bool, include: set[str] | None = None) -> dict[str, Any]:
        """Return the message's form, which need not be one that can be read back."""
        try:
            written = payload.model_dump(
                mode="json", include=include, exclude_unset=only_given, by_alias=False, round_trip=True, warnings=False
            )
            _STRICT_JSON.encode(written).encode()
        except BaseException as error:
            if came_from_outside(error):
                raise
            raise self._refused([unwritable(payload, error)]) from error
        if not isinstance(written, dict) or not all(isinstance(name, str) for name in written):
            raise self._refused(["payload: its own serializer does not make an object of it"])
        return written

    def _lost(self, payload: P, written: dict[str, Any]) -> _Lost | None:
        """Return what would not arrive as it was sent; None if everything does."""
        try:
            found = difference(payload, self._read(written))
        except ValidationError as error:
            if error.errors(include_url=False)[0]["type"] == "json_invalid":
                return _Lost(None, unwritable(payload, error))
            path = tuple(map(str, error.errors(include_url=False)[0]["loc"]))
            return self._lost_at(path, f"{invalid(error)[0]} when it is read back from the message")
        except BaseException as error:
            if came_from_outside(error):
                raise
            return _Lost(None, f"payload: it cannot be compared with what would arrive ({described(error)})")
        if found is None:
            return None
        reason = f"{name_of(found.path)}: {shown(found.sent)} would arrive as {shown(found.arrived)}"
        return self._lost_at(found.path, reason)

    def _lost_at(self, path: tuple[str, ...], reason: str) -> _Lost:
        return _Lost(path[0] if path and path[0] in self._payload.model_fields else None, reason)

    def _refused(self, wrong: list[str]) -> BadPayload:
        accepted = [
            f"{name}: {getattr(f.annotation, '__name__', f.annotation)}{'' if f.is_required() else ' (optional)'}"
            for name, f in self._payload.model_fields.items()
        ]
        return BadPayload(
            f"wrong data for job type {self._job_type!r}: {'; '.join(wrong)} (accepted: {', '.join(accepted)})",
            accepted=accepted,
        )


def _is_same_object(data: object, written: Mapping[str, Any]) -> bool:
    """Return True if a caller's data is what was written, types included."""
    if type(data) is not dict or data.keys() != written.keys():
        return False
    return all(
        type(value) in SIMPLE and type(value) is type(data[n]) and value == data[n] for n, value in written.items()
    )


def _has_text(value: object) -> bool:
    """Return True if one of JSON's own values can be written as text: no half of a pair, no endless number."""
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="replace").decode() == value
    return not isinstance(value, int) or value.bit_length() < _MAX_BITS
