"""Separates the rows of a response that cannot be stored from the others, so that one of them costs no other row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .checks import UNSTORABLE, Check, ListOf, repaired
from .errors import EsiUnavailable
from .inner_rows import Removed, pruned, rows_at
from .response import EsiResponse, SetAside
from .routes import Route


@dataclass
class _Sifted:
    """The rows that can be stored, those that cannot, and which of the latter are rows of lists inside of others."""

    kept: list[Any] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)


def sifted(route: Route, response: EsiResponse) -> EsiResponse:
    """Return the response with the rows that can be stored, and the others in `set_aside`.

    Raises `EsiUnavailable` if nothing is left, or nothing of a list inside the rows: then ESI has changed, or the body
    is useless.
    """
    if response.not_modified:
        return response
    shape = route.shape
    rows = response.body if isinstance(shape, ListOf) else [response.body]
    found = _sift(shape.each if isinstance(shape, ListOf) else shape, rows)
    if (problem := _useless(found, len(rows), is_list=isinstance(shape, ListOf))) is not None:
        raise EsiUnavailable(
            f"ESI's response for {route.name} cannot be used: {problem}",
            status=response.status,
            request_id=response.request_id,
        )
    body = found.kept if isinstance(shape, ListOf) else found.kept[0]
    return replace(response, body=body, set_aside=(*response.set_aside, *found.set_aside))


def _useless(found: _Sifted, count: int, *, is_list: bool) -> str | None:
    """Return why so much of a response is bad that ESI must have changed."""
    if found.set_aside and not found.kept:
        first = found.set_aside[0].reason
        return f"none of its {count} rows can be stored; the first: {first}" if is_list else first
    for path, bad in Counter(each.path for each in found.removed).items():
        # A single one says nothing about the others.
        if bad > 1 and not rows_at(found.kept, path):
            first = next(each.reason for each in found.removed if each.path == path)
            return f"none of the {bad} rows in {'.'.join(path)} can be stored; the first: {first}"
    return None


def _sift(check: Check, rows: Sequence[Any]) -> _Sifted:
    found = _Sifted()
    for row in rows:
        if (problem := check(row)) is None:
            found.kept.append(row)
            continue
        # What somebody typed must not cost the row in which it is, nor a bad row of a list inside it.
        clean = repaired(row)
        mended, removed = pruned(check, clean)
        remaining = check(mended)
        if remaining is not None:
            found.set_aside.append(SetAside(row, remaining, is_stored=False))
            continue
        found.kept.append(mended)
        found.removed += removed
        found.set_aside += [SetAside(each.row, each.reason, is_stored=False) for each in removed]
        if not removed or pruned(check, row)[0] != mended:
            found.set_aside.append(SetAside(row, problem if not removed else UNSTORABLE, is_stored=True))
    return found
