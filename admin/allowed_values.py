"""Describes the values that a JSON schema allows, for error messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]


def field_names(schema: Schema) -> list[str]:
    """Return the names of the fields that an object may have."""
    return list(schema.get("properties", {}))


def schema_at(schema: Schema, path: Sequence[str | int]) -> Schema:
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


def describe(schema: Schema) -> list[str]:
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
            return [f"a list of {' or '.join(describe(schema.get('items', {})))}{_length(schema)}"]
        case "object":
            return [f"an object with {', '.join(field_names(schema)) or 'any fields'}"]
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
