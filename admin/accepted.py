"""What a JSON schema accepts, in the words of an error message; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]


def fields_of(schema: Schema) -> list[str]:
    """Return the names of an object's fields."""
    return list(schema.get("properties", {}))


def schema_at(schema: Schema, place: Sequence[str | int]) -> Schema:
    """Return the schema of what stands at a place inside a document of `schema`; an empty one where none is known."""
    here = _plain(schema, schema)
    for step in place:
        inner = here.get("items", {}) if isinstance(step, int) else _field(here, step)
        here = _plain(schema, inner)
    return here


def _field(schema: Schema, name: str) -> Schema:
    """Return the schema of an object's field: a declared one's, else that of any other."""
    others = schema.get("additionalProperties")
    found: Schema = schema.get("properties", {}).get(name) or (others if isinstance(others, Mapping) else {})
    return found


def _plain(root: Schema, schema: Schema) -> Schema:
    """Return what a reference, or a choice between something and null, is about."""
    if "$ref" in schema:
        return _plain(root, root["$defs"][schema["$ref"].rpartition("/")[2]])
    every = schema.get("anyOf", ())
    choices = [each for each in every if each.get("type") != "null"]
    if len(choices) != 1:
        return schema
    return {**_plain(root, choices[0]), "nullable": len(choices) < len(every)}


def words_of(schema: Schema) -> list[str]:
    """Return what a value may be, one entry a choice."""
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
            return [f"a list of {' or '.join(words_of(schema.get('items', {})))}{_length(schema)}"]
        case "object":
            return [f"an object with {', '.join(fields_of(schema)) or 'any fields'}"]
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
