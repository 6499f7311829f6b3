"""Reads a table of any size in pages: constant memory, and no transaction stays open between two pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from ..database import Database

PAGE_ROWS = 5_000


def pages(
    database: Database, query: sa.Select[Any], key: sa.Column[int], *, size: int = PAGE_ROWS
) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows of `query` by `key`, which must be unique in it, `size` at a time.

    Raises `Unavailable`.
    """
    after: int | None = None
    while True:
        following = query if after is None else query.where(key > after)
        with database.read() as connection:
            page = connection.execute(following.order_by(key).limit(size)).all()
        if page:
            yield page
            after = page[-1]._mapping[key.name]
        if len(page) < size:
            return
