"""Columns of ISK: exact, with two decimals, from 0.01 up to 92,233,720,368,547,757 ISK in either direction.

PostgreSQL has `NUMERIC`. SQLite would make a double of it, so it stores the integer of hundredths.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

_CENT = Decimal("0.01")


class Isk(sa.types.TypeDecorator[Decimal]):
    """An amount of ISK, always a `Decimal` in Python; a float is refused, because it may be wrong already."""

    impl = sa.Numeric
    cache_ok = True

    @property
    def python_type(self) -> type[Decimal]:
        return Decimal

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(sa.BigInteger() if dialect.name == "sqlite" else sa.Numeric(20, 2))

    def process_bind_param(self, value: Decimal | int | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if isinstance(value, float):
            raise TypeError(f"ISK are Decimal, not float: {value!r}")
        return int(Decimal(value).scaleb(2)) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        return Decimal(value).scaleb(-2) if dialect.name == "sqlite" else value


def to_isk(number: Decimal | int) -> Decimal:
    """Return a number of ESI's as ISK; what is less than a hundredth is rounded, half to even."""
    return Decimal(number).quantize(_CENT, ROUND_HALF_EVEN)
