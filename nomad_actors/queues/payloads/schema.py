"""What a payload's schema says of its way through JSON: what can never arrive, and what always does.

pydantic's core schema is walked, since it names what annotations hide: serializers, exclusions, extra fields at any
depth. `refusals` finds what no value could survive; `values_of` proves of some payloads that every value does. What
lies between is checked value by value (`codec`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel, RootModel

Schema = Mapping[str, Any]

#: Kinds of value that have no JSON form of their own.
_NO_JSON = {
    "is-instance": "an object without a JSON form",
    "is-subclass": "a class",
    "callable": "a function",
    "generator": "an iterator, which can be read once only",
    "arguments": "a function's arguments",
    "arguments-v3": "a function's arguments",
}
#: Keys of an object in JSON are text: these cannot be told apart from it when they are read.
_NO_KEYS = ("tuple", "list", "set", "frozenset", "dict", "model", "dataclass", "typed-dict", "call")
#: What JSON has itself; anything else is at best a text that stands for it.
_SCALARS = ("str", "int", "bool", "none", "float", "literal", "nullable", "union", "default")
_TIMES = ("date", "datetime")
_VALIDATORS = ("function-before", "function-after", "function-wrap")
#: How a schema is described rather than what it holds.
_ASIDE = ("metadata", "serialization", "config", "computed_fields", "cls", "default", "expected")


def refusals(payload: type[BaseModel]) -> list[str]:
    """Return why a payload's values could not arrive as they were sent, one sentence a field; empty when they can."""
    if issubclass(payload, RootModel):
        return [f"{payload.__name__} is a RootModel: a job's data is an object with named fields"]
    if not payload.__pydantic_complete__ and not payload.model_rebuild(raise_errors=False):
        return [f"{payload.__name__} is not fully defined: the names in its annotations must exist by now"]
    found = [
        "self: a field of this name cannot be passed to an actor; call it something else"
        for name in payload.model_fields
        if name == "self"
    ]
    return list(dict.fromkeys([*found, *_refusals(payload.__pydantic_core_schema__, (), has_form=False)]))


class Values(Enum):
    """What is known of the values that a payload holds, before there are any."""

    #: JSON's own, and nothing of the payload's changes them: each arrives as it was sent.
    PLAIN = 1
    #: JSON's own, or a text that stands for a time; its validators may change them.
    SIMPLE = 2
    ANY = 3


def values_of(payload: type[BaseModel]) -> Values:
    """Return what is known of the values of a payload."""
    if _holds(payload.__pydantic_core_schema__, payload, _SCALARS):
        return Values.PLAIN
    is_simple = _holds(payload.__pydantic_core_schema__, payload, (*_SCALARS, *_TIMES, *_VALIDATORS))
    return Values.SIMPLE if is_simple else Values.ANY


def _holds(root: Schema, payload: type[BaseModel], kinds: tuple[str, ...]) -> bool:
    """Return True if a payload's fields are of these kinds alone, and nothing writes them but pydantic."""
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
        # The first that fits may not be the one that was sent.
        choices = map(_choice, schema["choices"])
        return schema.get("mode") != "left_to_right" and all(_is_of(choice, kinds, finite) for choice in choices)
    return "schema" not in schema or _is_of(schema["schema"], kinds, finite)


def _choice(choice: Any) -> Schema:
    """Return a union's choice; it may come with a label."""
    found: Schema = choice[0] if isinstance(choice, tuple) else choice
    return found


def _refusals(schema: Schema, path: tuple[str, ...], *, has_form: bool) -> Iterator[str]:
    """Yield what is wrong at and below a node; with `has_form` its values are written by a serializer above it."""
    name = ".".join(path) or "the payload"
    kind = schema["type"]
    form: Schema = schema.get("serialization") or {}
    if _hides(form):
        yield f"{name}: a secret would stand in Redis in plain text; pass what it can be looked up by"
        return
    if schema.get("serialization_exclude"):
        yield f"{name}: exclude=True keeps the field out of the message"
    if schema.get("custom_init"):
        yield f"{name}: {schema['cls'].__name__}.__init__ would keep unknown fields from being refused or ignored"
    if "allow" in (schema.get("extra_behavior"), schema.get("config", {}).get("extra_fields_behavior")):
        yield f'{name}: extra="allow" cannot be told from a misspelt field; declare a field of type dict'
    if kind == "dict" and schema.get("keys_schema", {}).get("type") in _NO_KEYS:
        yield f"{name}: keys of type {schema['keys_schema']['type']} become text in JSON; use a list of pairs"
    has_form = has_form or bool(form)
    if kind in _NO_JSON and not has_form:
        yield f"{name}: {_NO_JSON[kind]} cannot be put into a message"
    for step, inner in _inner(schema):
        # What Python takes beside JSON has a form of its own kind when it is written.
        yield from _refusals(inner, (*path, *step), has_form=has_form or kind in ("json-or-python", "lax-or-strict"))


def _hides(form: Schema) -> bool:
    """Return True for the serializer of pydantic's `SecretStr`, `SecretBytes` and `Secret`."""
    function = form.get("function")
    return getattr(function, "__module__", "") == "pydantic.types" and "secret" in getattr(function, "__name__", "")


def _inner(schema: Schema) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Yield the schemas directly inside of one, each with the field's name where it is a field's."""
    for key, value in schema.items():
        if key == "fields":
            # By name; a dataclass lists its arguments, and itself names them only.
            named = (
                value.items() if isinstance(value, Mapping) else [(f["name"], f) for f in value if isinstance(f, dict)]
            )
            yield from (((str(name),), field) for name, field in named)
        elif key not in _ASIDE:
            yield from (((), each) for each in _schemas_in(value))


def _schemas_in(value: object) -> list[Schema]:
    """Return the schemas that a key of another holds: one, a list of them, or one by each tag."""
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        return [value]
    held = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    choices = [_choice(each) for each in held]
    return [each for each in choices if isinstance(each, Mapping) and "type" in each]
