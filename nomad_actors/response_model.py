"""The base of all JSON responses: a model declares a field once for Python, JSON and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class ResponseModel(BaseModel):
    """A JSON response: camelCase names, and only declared fields."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True)

    @classmethod
    def of_attributes(cls, source: object, **more: Any) -> Self:
        """Return a response with `more`, and every other field from the attribute of `source` with its name.

        It is not validated: these are our own values, and a text may contain half a surrogate pair.
        """
        others = {name: getattr(source, name) for name in cls.model_fields if name not in more}
        return cls.model_construct(**others, **more)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form without fields that were not set."""
        names = _json_names(type(self)).items()
        return {name: _plain(getattr(self, field)) for field, name in names if field in self.model_fields_set}


def optional(description: str, **more: Any) -> Any:
    """Return a field that the JSON leaves out if it is not set."""
    return Field(default=None, description=description, json_schema_extra=_without_default, **more)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


@lru_cache(maxsize=256)
def _json_names(kind: type[ResponseModel]) -> Mapping[str, str]:
    fields = kind.model_fields.items()
    return {name: field.serialization_alias or name for name, field in fields if not field.exclude}


def _plain(value: Any) -> Any:
    # Not pydantic's JSON: it refuses deeply nested data and half surrogate pairs.
    if isinstance(value, ResponseModel):
        return value.as_json()
    if isinstance(value, list) and value and isinstance(value[0], ResponseModel):
        return [each.as_json() for each in value]
    if isinstance(value, dict) and value and isinstance(next(iter(value.values())), ResponseModel):
        return {name: each.as_json() for name, each in value.items()}
    return value
