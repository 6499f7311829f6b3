"""The rows of `nomad_actors.data` in JSON: camelCase names, times in ms since the epoch, all digits of ISK."""

from __future__ import annotations

import functools
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import Field, create_model
from pydantic.alias_generators import to_camel

from nomad_actors.data.fields import Fields, alternatives
from nomad_actors.data.moments import to_ms
from nomad_actors.response_model import ResponseModel

#: Types that JSON lacks, and their JSON types.
_IN_JSON = {datetime: int, Decimal: float}


class RowForm:
    """How rows of one kind are written; their computed properties come after their fields."""

    def __init__(self, kind: type[Any]) -> None:
        self._fields = Fields(kind)
        self.hints = self._fields.types
        self._times = [index for index, hint in enumerate(self.hints.values()) if datetime in alternatives(hint)]
        self.names = tuple(map(to_camel, self.hints))

    def values(self, row: Any) -> list[Any]:
        """Return the values of a row in the order of `names`."""
        values = [*self._fields.values(row)]
        for index in self._times:
            if values[index] is not None:
                values[index] = to_ms(values[index])
        return values

    def json(self, row: Any) -> dict[str, Any]:
        """Return a row as an object of JSON; its fractions are `Decimal`."""
        return dict(zip(self.names, self.values(row), strict=True))


class Rows(ResponseModel):
    """Rows, and of which time they are."""

    rows: list[Any]
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next rows; null after the last one")
    as_of: int | None = Field(description="the time of ESI's data, of the older response if there are two")
    fresh_until: int | None = Field(description="ESI has nothing newer before this time")
    complete_since: int | None = Field(
        description="from here on nothing is missing but the holes; null: never complete"
    )
    complete_until: int | None = Field(description="up to here nothing is missing but the holes")


def page_model(kind: type[Any]) -> type[Rows]:
    """Return the model of pages of such rows, for the OpenAPI document."""
    fields: dict[str, Any] = {name: (_json_type(hint), ...) for name, hint in RowForm(kind).hints.items()}
    row = create_model(kind.__name__, __base__=ResponseModel, __doc__=kind.__doc__, **fields)
    listed: Any = list[row]  # type: ignore[valid-type]
    return create_model(f"{kind.__name__}Rows", __base__=Rows, __doc__=Rows.__doc__, rows=(listed, ...))


def _json_type(hint: Any) -> Any:
    kinds = [_IN_JSON.get(each, each) for each in alternatives(hint)]
    return functools.reduce(lambda one, other: one | other, kinds)
