"""What a request brings with it, read into declared models: every refusal names the value and what is accepted."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_origin

from flask import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from nomad_actors.errors import BadInput

from .accepted import fields_of, schema_at, words_of

#: Longer ones are no number that anybody means, and slow to read.
_MAX_DIGITS = 15
#: Up to here a number with a point holds every whole one (IEEE 754).
_EXACT = 2**53


class Input(BaseModel):
    """The base of what a caller sends: exact types, no unknown fields, camelCase outside."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


class Query(Input):
    """The base of an endpoint's query parameters."""


class Body(Input):
    """The base of an endpoint's JSON body."""


class Headers(BaseModel):
    """The base of an endpoint's own headers; those that are not declared are HTTP's affair."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class NoQuery(Query):
    """No query parameters."""


class NoBody(Body):
    """No body, or an empty object."""


Given = TypeVar("Given", bound=Input)
HeadersGiven = TypeVar("HeadersGiven", bound=Headers)


def read_query(request: Request, kind: type[Given]) -> Given:
    """Return the query parameters.

    Raises `BadInput` for one that is unknown (a misspelt one must not be overlooked), given twice or unusable.
    """
    return _read_texts(request.args, kind, "query parameter")


def read_form(request: Request, kind: type[Given], *, beside: str) -> Given:
    """Return the fields of a page's form, but for the one named `beside`.

    Raises `BadInput` as `read_query`.
    """
    values = MultiDict((name, value) for name, value in request.form.items(multi=True) if name != beside)
    return _read_texts(values, kind, "field")


def _read_texts(values: MultiDict[str, str], kind: type[Given], what: str) -> Given:
    schema = _schema_of(kind)
    accepted = fields_of(schema)
    repeated = repeated_of(kind)
    for name, given in values.lists():
        if name not in accepted:
            raise BadInput(f"unknown {what} {name!r} (accepted: {_words(accepted)})", accepted=accepted)
        if len(given) > 1 and name not in repeated:
            raise BadInput(f"{what} {name!r} is given {len(given)} times (accepted: once)")
    texts = values.to_dict()
    typed = {
        name: values.getlist(name) if name in repeated else _typed(text, schema_at(schema, (name,)))
        for name, text in texts.items()
    }
    return _checked(kind, typed, shown=texts)


def read_headers(request: Request, kind: type[HeadersGiven]) -> HeadersGiven:
    """Return the declared headers.

    Raises `BadInput` for one that is given twice or empty.
    """
    values: dict[str, str] = {}
    for name in fields_of(kind.model_json_schema()):
        given = request.headers.getlist(name)
        if len(given) > 1 or given == [""]:
            wrong = "empty" if given == [""] else "given twice"
            raise BadInput(f"header {name} is {wrong} (accepted: one value, or no such header)")
        values |= {name: given[0]} if given else {}
    return kind.model_validate(values)


def repeated_of(kind: type[Input]) -> set[str]:
    """Return the names of the query parameters that may be given several times."""
    return {field.alias or name for name, field in kind.model_fields.items() if get_origin(field.annotation) is list}


def read_body(request: Request, kind: type[Given]) -> Given:
    """Return the body, a JSON object; no body at all is an empty one.

    Raises `BadInput` for anything else and for each field that is unusable, `RequestEntityTooLarge`.
    """
    return _checked(kind, _json_of(request))


def _json_of(request: Request) -> object:
    raw = request.get_data()
    if request.content_length is None and len(raw) >= (request.max_content_length or sys.maxsize):
        # Werkzeug cuts a body of unknown length off where it would refuse one that says its length.
        raise RequestEntityTooLarge
    if not raw:
        return {}
    if not request.is_json:
        said = request.mimetype or "none"
        kind = "application/json"
        raise BadInput(f"the body's Content-Type is {said} (accepted: {kind})", accepted=[kind])
    try:
        body = json.loads(raw, parse_constant=_refuse_constant, parse_float=_number)
        # Half a surrogate pair is JSON, but no text that can be kept.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the body is not JSON ({error})", accepted=["a JSON object"]) from error
    return body


def _checked(kind: type[Given], values: object, *, shown: Mapping[str, str] | None = None) -> Given:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        # An unknown field first: it is most often the misspelt name of one that is missing.
        wrong = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")[0]
        raise _refusal(_schema_of(kind), wrong, shown) from error


def _refusal(schema: Mapping[str, Any], wrong: Mapping[str, Any], shown: Mapping[str, str] | None) -> BadInput:
    """Say what is wrong; `shown` are the texts as they came, None where they came as JSON."""
    place: tuple[str | int, ...] = wrong["loc"]
    if wrong["type"] == "extra_forbidden":
        accepted = fields_of(schema_at(schema, place[:-1]))
        name = f"{place[-1]}"[:80]
        told = f"{_named(place[:-1])} has an unknown field {name!r} (accepted: {_words(accepted)})"
        return BadInput(told, accepted=accepted)
    here = schema_at(schema, place)
    if wrong["type"] in ("model_type", "model_attributes_type", "dict_type"):
        accepted = fields_of(here)
        told = f"{_named(place)} is not an object (accepted: an object with {_words(accepted)})"
        return BadInput(told, accepted=accepted)
    # A query has no way to say null.
    accepted = [*words_of(here), "null"] if shown is None and here.get("nullable") else words_of(here)
    value = (shown or {}).get(str(place[-1]), wrong["input"])
    if wrong["type"] == "missing":
        said = "is missing"
    else:
        said = f"{value!r:.80} is unusable" if here.get("type") == "integer" else f"is {value!r:.80}"
    return BadInput(f"{_named(place)} {said} (accepted: {' or '.join(accepted)})", accepted=accepted)


def _named(place: Sequence[str | int]) -> str:
    """Return what stands at a place of the body as a person calls it: `attempts`, `ids[3]`."""
    if not place:
        return "the body"
    if isinstance(place[-1], int) and len(place) > 1:
        return f"{_named(place[:-1])}[{place[-1]}]"
    return str(place[-1])


def _typed(text: str, schema: Mapping[str, Any]) -> object:
    """Return a query parameter's text as the type that is declared, or as it is when it is none of that."""
    if schema.get("type") == "integer" and text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return int(text)
    if schema.get("type") == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


@functools.cache
def _schema_of(kind: type[Input]) -> Mapping[str, Any]:
    return kind.model_json_schema()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _number(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:80]} is too large a number")
    # JSON knows one kind of number: 5.0 is a whole one.
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def _words(accepted: Sequence[str]) -> str:
    return ", ".join(accepted) or "none"
