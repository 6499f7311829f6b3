"""What a request brings with it, checked: every refusal names the value and what is accepted."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from nomad_actors.errors import BadInput

MAX_LIMIT = 1000


def known_arguments(request: Request, *accepted: str) -> None:
    """Refuse query parameters that are not in `accepted`: a misspelt one must not be overlooked.

    Raises `BadInput`, also for one given twice.
    """
    for name, values in request.args.lists():
        if name not in accepted:
            raise BadInput(f"unknown query parameter {name!r} (accepted: {_words(accepted)})", accepted=accepted)
        if len(values) > 1:
            raise BadInput(f"query parameter {name!r} is given {len(values)} times (accepted: once)")


def whole_argument(request: Request, name: str, *, default: int, low: int, high: int) -> int:
    """Return a query parameter as a whole number.

    Raises `BadInput` when it is none, or lies outside `low` to `high`.
    """
    text = request.args.get(name)
    if text is None:
        return default
    # `isdigit` alone takes other alphabets' digits; int() refuses to read thousands of them.
    if text.isascii() and text.isdigit() and len(text) <= 15 and low <= int(text) <= high:
        return int(text)
    accepted = f"a whole number from {low} to {high}"
    raise BadInput(f"{name} {text[:80]!r} is unusable (accepted: {accepted})", accepted=[accepted])


def limit_argument(request: Request, *, default: int) -> int:
    """Return how many jobs are asked for.

    Raises `BadInput` outside 1 to 1000.
    """
    return whole_argument(request, "limit", default=default, low=1, high=MAX_LIMIT)


def json_body(request: Request, *accepted: str) -> dict[str, Any]:
    """Return the body, a JSON object with fields of `accepted` only; no body at all is an empty object.

    Raises `BadInput` for anything else, `RequestEntityTooLarge`.
    """
    raw = request.get_data()
    if request.content_length is None and len(raw) >= (request.max_content_length or sys.maxsize):
        # Werkzeug cuts a body of unknown length off where it would refuse one that says its length.
        raise RequestEntityTooLarge
    if not raw.strip():
        return {}
    if not request.is_json:
        said = request.mimetype or "none"
        kind = "application/json"
        raise BadInput(f"the body's Content-Type is {said} (accepted: {kind})", accepted=[kind])
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the body is not JSON ({error})", accepted=["a JSON object"]) from error
    return object_of(body, "the body", accepted)


def object_of(value: object, what: str, accepted: Sequence[str]) -> dict[str, Any]:
    """Return `value`, a JSON object with fields of `accepted` only.

    Raises `BadInput` for anything else.
    """
    fields = _words(accepted)
    if not isinstance(value, dict):
        raise BadInput(f"{what} is not an object (accepted: an object with {fields})", accepted=accepted)
    for name in value:
        if name not in accepted:
            raise BadInput(f"{what} has an unknown field {name[:80]!r} (accepted: {fields})", accepted=accepted)
    return value


def whole_field(body: Mapping[str, Any], name: str, *, default: int, low: int, high: int) -> int:
    """Return a field as a whole number.

    Raises `BadInput` when it is none, or lies outside `low` to `high`.
    """
    value = body.get(name, default)
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    accepted = f"a whole number from {low} to {high}"
    raise BadInput(f"{name} {value!r:.80} is unusable (accepted: {accepted})", accepted=[accepted])


def text_field(body: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    """Return a field as text.

    Raises `BadInput` when it is none, or is missing without a default.
    """
    value = body.get(name, default)
    if isinstance(value, str):
        return value
    given = f"{value!r:.80}" if name in body else "missing"
    raise BadInput(f"{name} is {given} (accepted: text)", accepted=["text"])


def flag_field(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Return a field as true or false.

    Raises `BadInput` when it is neither.
    """
    value = body.get(name, default)
    if isinstance(value, bool):
        return value
    raise BadInput(f"{name} is {value!r:.80} (accepted: true or false)", accepted=["true", "false"])


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _words(accepted: Sequence[str]) -> str:
    return ", ".join(accepted) or "none"
