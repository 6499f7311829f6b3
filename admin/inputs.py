"""Reads requests into declared models. Each error names the wrong value and the allowed ones."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar, get_origin

from flask import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from nomad_actors.errors import BadInput

Schema = Mapping[str, Any]

#: The request line and the headers; the same as nginx's default.
MAX_HEAD_BYTES = 32 * 1024
#: A form of a web page: a token, a reason, a filter.
MAX_FORM_BYTES = 8 * 1024
#: The body of an endpoint that declares no other size.
MAX_BODY_BYTES = 64 * 1024
#: A new job: its data should be small, since Redis keeps it in memory.
MAX_JOB_BYTES = 1024 * 1024
#: A batch: 10,000 jobs of 800 bytes, which is enough for our job types with all options.
MAX_BATCH_BYTES = 8 * 1024 * 1024
#: The reason that an operator gives for a pause, a cancellation or a bulk operation.
MAX_REASON_CHARS = 500
#: Nobody means a longer number, and parsing one is slow.
_MAX_DIGITS = 15
#: Floats are exact for all integers up to this one (IEEE 754).
_MAX_EXACT = 2**53


class NotAcceptable(BadInput):
    """Raised if the caller accepts none of the content types that an endpoint has."""

    http_status = HTTPStatus.NOT_ACCEPTABLE


class Input(BaseModel):
    """Base of query parameters and JSON bodies: exact types, no unknown fields, camelCase names."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


class NoInput(Input):
    """No parameters, no body, or a body that is an empty object."""


InputT = TypeVar("InputT", bound=Input)


def read_query(request: Request, model: type[InputT]) -> InputT:
    """Return the query parameters.

    Raises `BadInput` for a parameter that is unknown (so that a misspelt name is noticed), repeated or invalid.
    """
    return _read_texts(request.args, model, "query parameter")


def read_form(request: Request, model: type[InputT], *, ignore: str) -> InputT:
    """Return the fields of a page's form, without the field `ignore`; raise `BadInput` as `read_query` does."""
    values = MultiDict((name, value) for name, value in request.form.items(multi=True) if name != ignore)
    return _read_texts(values, model, "field")


def _read_texts(values: MultiDict[str, str], model: type[InputT], what: str) -> InputT:
    schema = _schema_of(model)
    allowed = _field_names(schema)
    repeatable = repeatable_names(model)
    for name, sent in values.lists():
        if name not in allowed:
            raise BadInput(f"unknown {what} {name!r} (allowed: {_join(allowed)})", accepted=allowed)
        if len(sent) > 1 and name not in repeatable:
            raise BadInput(f"{what} {name!r} is given {len(sent)} times (allowed: once)")
    texts = values.to_dict()
    typed = {
        name: values.getlist(name) if name in repeatable else _convert(text, _schema_at(schema, (name,)))
        for name, text in texts.items()
    }
    return _validate(model, typed, texts=texts)


def read_header(request: Request, name: str) -> str | None:
    """Return a header, None if there is none; raise `BadInput` if it is repeated or empty."""
    sent = request.headers.getlist(name)
    if len(sent) > 1 or sent == [""]:
        wrong = "empty" if sent == [""] else "given twice"
        raise BadInput(f"header {name} is {wrong} (allowed: one value, or leave the header out)")
    return sent[0] if sent else None


def read_accept(request: Request, content_types: Sequence[str]) -> str:
    """Return the content type that the header `Accept` prefers, the first if it has no preference.

    Raises `NotAcceptable` if it allows none of them.
    """
    if not request.headers.get("Accept", "").strip():
        return content_types[0]
    found = request.accept_mimetypes.best_match(content_types)
    if found is None:
        sent = request.headers["Accept"]
        raise NotAcceptable(f"Accept is {sent!r:.200} (allowed: {_join(content_types)})", accepted=content_types)
    return found


def repeatable_names(model: type[Input]) -> set[str]:
    """Return the names of the query parameters that may be given several times."""
    return {field.alias or name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}


def read_body(request: Request, model: type[InputT]) -> InputT:
    """Return the body, a JSON object. A missing body counts as an empty object.

    Raises `BadInput` for any other body and for an invalid field, `RequestEntityTooLarge`.
    """
    return _validate(model, _parse_json(request))


def _parse_json(request: Request) -> object:
    raw = request.get_data()
    if request.content_length is None and len(raw) >= (request.max_content_length or sys.maxsize):
        # Werkzeug truncates a body of unknown length at the limit; it refuses only a body with a Content-Length.
        raise RequestEntityTooLarge
    if not raw:
        return {}
    if not request.is_json:
        allowed = "application/json"
        content_type = request.mimetype or "missing"
        raise BadInput(f"the body's Content-Type is {content_type} (allowed: {allowed})", accepted=[allowed])
    try:
        body = json.loads(raw, parse_constant=_refuse_constant, parse_float=_parse_number)
        # Half a surrogate pair is valid JSON, but text with one cannot be stored.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the body is not JSON ({error})", accepted=["a JSON object"]) from error
    return body


def _validate(model: type[InputT], values: object, *, texts: Mapping[str, str] | None = None) -> InputT:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # Report an unknown field first: usually it is the misspelt name of a missing field.
        wrong = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")[0]
        raise _bad_input(_schema_of(model), wrong, texts) from error


def _bad_input(schema: Schema, wrong: Mapping[str, Any], texts: Mapping[str, str] | None) -> BadInput:
    """Describe pydantic's error `wrong`; `texts` are the values as they were sent, None if they were sent as JSON."""
    path: tuple[str | int, ...] = wrong["loc"]
    if wrong["type"] == "extra_forbidden":
        allowed = _field_names(_schema_at(schema, path[:-1]))
        name = f"{path[-1]}"[:80]
        message = f"{_path_text(path[:-1])} has an unknown field {name!r} (allowed: {_join(allowed)})"
        return BadInput(message, accepted=allowed)
    expected = _schema_at(schema, path)
    if wrong["type"] in ("model_type", "model_attributes_type", "dict_type"):
        allowed = _field_names(expected)
        message = f"{_path_text(path)} is not an object (allowed: an object with {_join(allowed)})"
        return BadInput(message, accepted=allowed)
    # A query parameter cannot be null.
    allowed = [*_describe(expected), "null"] if texts is None and expected.get("nullable") else _describe(expected)
    value = (texts or {}).get(str(path[-1]), wrong["input"])
    if wrong["type"] == "missing":
        problem = "is missing"
    else:
        problem = f"{value!r:.80} is invalid" if expected.get("type") == "integer" else f"is {value!r:.80}"
    return BadInput(f"{_path_text(path)} {problem} (allowed: {' or '.join(allowed)})", accepted=allowed)


def _path_text(path: Sequence[str | int]) -> str:
    """Return a path inside the body as text: `attempts`, `ids[3]`."""
    if not path:
        return "the body"
    if isinstance(path[-1], int) and len(path) > 1:
        return f"{_path_text(path[:-1])}[{path[-1]}]"
    return str(path[-1])


def _convert(text: str, schema: Schema) -> object:
    """Convert a query parameter to its declared type; return the text unchanged if that is impossible."""
    if schema.get("type") == "integer" and text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return int(text)
    if schema.get("type") == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


@functools.cache
def _schema_of(model: type[Input]) -> Schema:
    return model.model_json_schema()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def _parse_number(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:80]} is too large a number")
    # JSON has one type of number: 5.0 is an integer too.
    return int(number) if number.is_integer() and abs(number) < _MAX_EXACT else number


def _join(allowed: Sequence[str]) -> str:
    return ", ".join(allowed) or "none"


def _field_names(schema: Schema) -> list[str]:
    """Return the names of the fields that an object may have."""
    return list(schema.get("properties", {}))


def _schema_at(schema: Schema, path: Sequence[str | int]) -> Schema:
    """Return the schema of the value at `path` in a document of `schema`; an empty schema if `path` is unknown."""
    current = _resolve(schema, schema)
    for step in path:
        inner = current.get("items", {}) if isinstance(step, int) else _field_schema(current, step)
        current = _resolve(schema, inner)
    return current


def _field_schema(schema: Schema, name: str) -> Schema:
    others = schema.get("additionalProperties")
    found: Schema = schema.get("properties", {}).get(name) or (others if isinstance(others, Mapping) else {})
    return found


def _resolve(root: Schema, schema: Schema) -> Schema:
    """Follow a reference, and turn `X | null` into X with `nullable`."""
    if "$ref" in schema:
        return _resolve(root, root["$defs"][schema["$ref"].rpartition("/")[2]])
    alternatives = schema.get("anyOf", ())
    choices = [each for each in alternatives if each.get("type") != "null"]
    if len(choices) != 1:
        return schema
    return {**_resolve(root, choices[0]), "nullable": len(choices) < len(alternatives)}


def _describe(schema: Schema) -> list[str]:
    """Return the allowed values in words, one entry for each alternative."""
    if "enum" in schema:
        return [str(value) for value in schema["enum"]]
    match schema.get("type"):
        case "integer":
            return [f"a whole number{_range(schema)}"]
        case "number":
            return [f"a number{_range(schema)}"]
        case "boolean":
            return ["true", "false"]
        case "string":
            return [f"text{_length(schema)}"]
        case "array":
            return [f"a list of {' or '.join(_describe(schema.get('items', {})))}{_length(schema)}"]
        case "object":
            return [f"an object with {', '.join(_field_names(schema)) or 'any fields'}"]
    return ["a value"]


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" from {low}" if low is not None else f" up to {high}" if high is not None else ""


def _length(schema: Schema) -> str:
    most = schema.get("maxLength", schema.get("maxItems"))
    least = schema.get("minLength", schema.get("minItems", 0))
    unit = "entries" if schema.get("type") == "array" else "characters"
    if most is not None:
        return f" of {least} to {most} {unit}"
    return f" of {least} or more {unit}" if least else ""
