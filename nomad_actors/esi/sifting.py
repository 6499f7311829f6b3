"""Separates the rows of a response that cannot be stored from the others, so that one of them costs no other row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .checks import UNSTORABLE, Check, ListOf, repaired
from .errors import EsiUnavailable
from .response import EsiResponse, SetAside
from .routes import Route


def sifted(route: Route, response: EsiResponse) -> EsiResponse:
    """Return the response with the rows that can be stored, and the others in `set_aside`.

    Raises `EsiUnavailable` if nothing is left: then ESI has changed, or the body is useless.
    """
    if response.not_modified:
        return response
    shape, body = route.shape, response.body
    if isinstance(shape, ListOf):
        kept, set_aside = _sift(shape.each, body)
    else:
        kept, set_aside = _sift(shape, [body])
    if set_aside and not kept:
        what = f"none of its {len(body)} rows can be stored; the first: " if isinstance(shape, ListOf) else ""
        raise EsiUnavailable(
            f"ESI's response for {route.name} cannot be used: {what}{set_aside[0].reason}",
            status=response.status,
            request_id=response.request_id,
        )
    return replace(response, body=kept if isinstance(shape, ListOf) else kept[0], set_aside=tuple(set_aside))


def _sift(check: Check, rows: Sequence[Any]) -> tuple[list[Any], list[SetAside]]:
    kept, set_aside = [], []
    for row in rows:
        problem = check(row)
        if problem is None:
            kept.append(row)
            continue
        # What somebody typed must not cost the row in which it is.
        repaired_row = repaired(row) if problem.endswith(UNSTORABLE) else row
        remaining = check(repaired_row)
        if remaining is None:
            kept.append(repaired_row)
        set_aside.append(SetAside(row, remaining or problem, is_stored=remaining is None))
    return kept, set_aside
