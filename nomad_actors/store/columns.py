"""The metadata of all tables, and the columns that many of them have."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Integer, MetaData

#: Constraints have names, so that a migration can change them.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite increments only columns of type INTEGER automatically.
Counter = BigInteger().with_variant(Integer, "sqlite")
#: An object, or NULL.
JsonObject = JSON(none_as_null=True)


def character_key(*, is_key: bool = True) -> Column[int]:
    return Column(
        "character_id",
        BigInteger,
        ForeignKey("characters.character_id"),
        primary_key=is_key,
        nullable=False,
        autoincrement=False,
    )
