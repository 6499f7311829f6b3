"""Compares our routes with CCP's own documents: freshness, rate groups, cache modes and the compatibility date.

The result is kept in Redis, where doctor and a scrape find it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import redis

from ..clock import Clock
from ..response_model import ResponseModel
from .client import EsiClient
from .errors import EsiUnavailable
from .limits.keys import key
from .limits.limiter import redis_answers
from .routes import COMPATIBILITY_DATE, ROUTES, Route

#: CCP promises about a year of the old behaviour; after this many days a newer date must be adopted.
MAX_DATE_DAYS = 300
_WEEK_SECONDS = 604_800


def _document(name: str, cache_seconds: int) -> Route:
    dataset = name.rpartition("/")[2]
    return Route(name, "META", dataset, (), cache_seconds, None, "meta", _WEEK_SECONDS, _an_object)


def _an_object(body: Any) -> str | None:
    return None if isinstance(body, dict) else "is not an object"


_DATES = _document("/meta/compatibility-dates", 600)
_OPENAPI = _document("/meta/openapi.json", 600)
#: Requests about ESI itself are of no character.
_NOBODY = 0


class SpecCheck(ResponseModel):
    """When CCP's documents were compared with our routes, CCP's newest date, and the differences in words."""

    at_ms: int
    compatibility_date: str
    newest_date: str
    differences: list[str]


def check(esi: EsiClient, client: redis.Redis, clock: Clock) -> SpecCheck:
    """Read CCP's documents, compare them with our routes, and keep the result in the Redis of the limits.

    Raises `NotSent`, `EsiUnavailable`, `EsiRefused`, `Unavailable`.
    """
    dates = _dates(esi.get(_DATES, character_id=_NOBODY, access_token=None).body)
    document = esi.get(_OPENAPI, character_id=_NOBODY, access_token=None).body
    found = SpecCheck(
        at_ms=clock.now_ms(),
        compatibility_date=COMPATIBILITY_DATE,
        newest_date=max(dates),
        differences=[*_date_differences(dates), *differences(document)],
    )
    with redis_answers():
        client.set(key("spec_check"), found.model_dump_json())
    return found


def read_check(client: redis.Redis) -> SpecCheck | None:
    """Return the last result, or None before the first check; raises `Unavailable`."""
    with redis_answers():
        text: Any = client.get(key("spec_check"))
    return None if text is None else SpecCheck.model_validate_json(text)


def differences(document: Any) -> list[str]:
    """Return in words how CCP's OpenAPI document differs from our routes; empty if it does not."""
    paths = document.get("paths")
    if not isinstance(paths, dict) or not paths:
        raise EsiUnavailable("ESI's OpenAPI document has no paths")
    found: list[str] = []
    for route in ROUTES.values():
        operation = paths.get(route.name, {}).get("get")
        found += [f"{route.name} is not there"] if operation is None else _of_route(route, operation)
    return found


def _of_route(route: Route, operation: Mapping[str, Any]) -> Iterator[str]:
    # Newer documents have these names, older ones those.
    age = operation.get("x-client-cache-ttl", operation.get("x-cache-age"))
    mode = operation.get("x-server-cache-mode", operation.get("x-cache-mode", "ttl-based"))
    group = (operation.get("x-rate-limit") or {}).get("group")
    for what, ccps, ours in (
        ("freshness (s)", age, route.cache_seconds),
        ("cache mode", mode, route.cache_mode),
        ("rate group", group, route.rate_group),
    ):
        if ccps != ours:
            yield f"{route.name}: {what} is {ccps or 'none'}, we have {ours or 'none'}"


def _dates(body: Any) -> list[str]:
    dates = body.get("compatibility_dates")
    if not isinstance(dates, list) or not dates or not all(isinstance(each, str) for each in dates):
        raise EsiUnavailable("ESI's list of compatibility dates has another form")
    return dates


def _date_differences(dates: list[str]) -> Iterator[str]:
    if COMPATIBILITY_DATE not in dates:
        yield f"the compatibility date {COMPATIBILITY_DATE} is not there; the newest is {max(dates)}"
        return
    age = date.fromisoformat(max(dates)) - date.fromisoformat(COMPATIBILITY_DATE)
    if age.days > MAX_DATE_DAYS:
        yield f"the compatibility date {COMPATIBILITY_DATE} is {age.days} days older than the newest, {max(dates)}"
