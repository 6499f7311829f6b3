"""Finds out from a payload's schema which fields JSON can never represent, and which it always represents unchanged.

It reads pydantic's core schema, since annotations do not show serializers, exclusions and extra fields at any depth.
`unsendable_fields` finds fields whose values can never arrive unchanged; `values_of` recognizes payloads whose values
always do. All other payloads are checked value by value (`codec`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel, RootModel

Schema = Mapping[str, Any]

#: Kinds of values that JSON cannot represent.
_NO_JSON = {
    "is-instance": "an object that JSON cannot represent",
    "is-subclass": "a class",
    "callable": "a function",
    "generator": "an iterator, which can be read only once",
    "arguments": "a function's arguments",
    "arguments-v3": "a function's arguments",
}
#: Keys of JSON objects are text: keys of these types would be read back as text.
_NO_KEYS = ("tuple", "list", "set", "frozenset", "dict", "model", "dataclass", "typed-dict", "call")
#: Types of JSON itself; JSON represents values of other types as text at best.
_SCALARS = ("str", "int", "bool", "none", "float", "literal", "nullable", "union", "default")
_TIMES = ("date", "datetime")
_VALIDATORS = ("function-before", "function-after", "function-wrap")
#: Keys of a schema that hold no schemas of fields.
_ASIDE = ("metadata", "serialization", "config", "computed_fields", "cls", "default", "expected")


def unsendable_fields(payload: type[BaseModel]) -> list[str]:
    """Return for each field why its values cannot arrive unchanged; empty if all can."""
    if issubclass(payload, RootModel):
        return [f"{payload.__name__} is a RootModel, but a job's data must be an object with named fields"]
    if not payload.__pydantic_complete__ and not payload.model_rebuild(raise_errors=False):
        return [f"{payload.__name__} is not fully defined: a name in its annotations does not exist"]
    found = dict.fromkeys(_problems(payload.__pydantic_core_schema__, (), has_serializer=False))
    if "self" in payload.model_fields:
        return ["self: a field with this name cannot be passed to an actor; rename it", *found]
    return list(found)


class Values(Enum):
    """Facts about all values of a payload, from its schema."""

    #: JSON values that the payload's own code does not change: each arrives unchanged.
    PLAIN = 1
    #: JSON values, or times written as text; validators of the payload may change them.
    SIMPLE = 2
    ANY = 3


def values_of(payload: type[BaseModel]) -> Values:
    """Return facts about all values of a payload."""
    if _has_only(payload.__pydantic_core_schema__, payload, _SCALARS):
        return Values.PLAIN
    is_simple = _has_only(payload.__pydantic_core_schema__, payload, (*_SCALARS, *_TIMES, *_VALIDATORS))
    return Values.SIMPLE if is_simple else Values.ANY


def _has_only(root: Schema, payload: type[BaseModel], kinds: tuple[str, ...]) -> bool:
    """Return True if a payload's fields are all of these kinds, and only pydantic serializes them."""
    while root["type"] in _VALIDATORS and root["type"] in kinds and "serialization" not in root:
        root = root["schema"]
    fields: Schema = root.get("schema", {})
    has_own_code = "serialization" in root or root.get("post_init") or "serialization" in fields
    if root["type"] != "model" or has_own_code:
        return False
    while fields["type"] in _VALIDATORS and fields["type"] in kinds:
        fields = fields["schema"]
    if fields["type"] != "model-fields":
        return False
    finite = payload.model_config.get("allow_inf_nan") is False
    return all(_is_of(field["schema"], kinds, finite) for field in fields["fields"].values())


def _is_of(schema: Schema, kinds: tuple[str, ...], finite: bool) -> bool:
    kind = schema["type"]
    if kind not in kinds or "serialization" in schema or "default_factory" in schema:
        return False
    if kind == "float":
        return finite and not schema.get("allow_inf_nan")
    if kind == "literal":
        return all(type(value) in (str, int, bool, type(None)) for value in schema["expected"])
    if kind == "union":
        # In that mode, the first choice that fits may not be the one that was sent.
        choices = map(_choice, schema["choices"])
        return schema.get("mode") != "left_to_right" and all(_is_of(choice, kinds, finite) for choice in choices)
    return "schema" not in schema or _is_of(schema["schema"], kinds, finite)


def _choice(choice: Any) -> Schema:
    # A choice may come with a label.
    found: Schema = choice[0] if isinstance(choice, tuple) else choice
    return found


def _problems(schema: Schema, path: tuple[str, ...], *, has_serializer: bool) -> Iterator[str]:
    """Yield what is wrong at and below a node. With `has_serializer`, a serializer above it writes its values."""
    name = ".".join(path) or "the payload"
    kind = schema["type"]
    serializer: Schema = schema.get("serialization") or {}
    if _hides_secrets(serializer):
        yield f"{name}: a secret would be stored in Redis in plain text; pass a key to look it up by instead"
        return
    if schema.get("serialization_exclude"):
        yield f"{name}: exclude=True keeps the field out of the message"
    if schema.get("custom_init"):
        yield f"{name}: {schema['cls'].__name__}.__init__ hides unknown fields, which must be refused or ignored"
    if "allow" in (schema.get("extra_behavior"), schema.get("config", {}).get("extra_fields_behavior")):
        yield f'{name}: extra="allow" accepts misspelt fields; declare a field of type dict instead'
    if kind == "dict" and schema.get("keys_schema", {}).get("type") in _NO_KEYS:
        yield f"{name}: keys of type {schema['keys_schema']['type']} become text in JSON; use a list of pairs instead"
    has_serializer = has_serializer or bool(serializer)
    if kind in _NO_JSON and not has_serializer:
        yield f"{name}: {_NO_JSON[kind]} cannot be put into a message"
    for step, inner in _inner(schema):
        # These kinds have one schema for Python and one for JSON; pydantic serializes them itself.
        yield from _problems(
            inner, (*path, *step), has_serializer=has_serializer or kind in ("json-or-python", "lax-or-strict")
        )


def _hides_secrets(serializer: Schema) -> bool:
    """Return True for the serializer of pydantic's `SecretStr`, `SecretBytes` and `Secret`."""
    function = serializer.get("function")
    return getattr(function, "__module__", "") == "pydantic.types" and "secret" in getattr(function, "__name__", "")


def _inner(schema: Schema) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Yield the schemas directly inside a schema, with the field's name if it is a field's."""
    for key, value in schema.items():
        if key == "fields":
            # A model maps names to fields; a dataclass lists its fields. Other lists contain only names.
            named = (
                value.items() if isinstance(value, Mapping) else [(f["name"], f) for f in value if isinstance(f, dict)]
            )
            yield from (((str(name),), field) for name, field in named)
        elif key not in _ASIDE:
            yield from (((), each) for each in _schemas_in(value))


def _schemas_in(value: object) -> list[Schema]:
    """Return the schemas in a value of another schema, which is a schema, a list of them, or maps tags to them."""
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        return [value]
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    choices = [_choice(each) for each in values]
    return [each for each in choices if isinstance(each, Mapping) and "type" in each]
