"""The routes that the jobs use, as data, their groups, and the normalisation of an endpoint's spellings.

Scopes, freshness, paging and rate groups are from CCP's OpenAPI document, compatibility date 2026-07-17. The intervals
are ours: never below CCP's freshness, and much longer where that is only a few seconds.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from ..errors import BadInput
from .checks import Check
from .shapes import SHAPES

#: The value of `X-Compatibility-Date`; before using a newer date, check this file against its changes.
COMPATIBILITY_DATE = "2026-07-17"

Paging = Literal["x-pages", "from_id", "last_mail_id"]

_PREFIX = "/characters/{character_id}"


@dataclass(frozen=True)
class Route:
    """One GET route of a character."""

    #: Its path in normal form.
    name: str
    group: str
    #: A short label for metrics and tables.
    dataset: str
    scopes: tuple[str, ...]
    #: How long a response is fresh, according to CCP, if its headers do not say.
    cache_seconds: int
    paging: Paging | None
    #: CCP's rate limit group; None means that only the old error limit applies.
    rate_group: str | None
    #: How often we request it.
    interval_seconds: int
    #: What the body is: a list of rows, an object, or a number.
    shape: Check = field(compare=False, repr=False)
    #: Whether it can hardly change while the player is offline, and is then requested less often.
    rests_offline: bool = False
    query: tuple[tuple[str, str], ...] = ()
    #: What ends a response's freshness, by CCP's name: its age, or an event.
    cache_mode: str = "ttl-based"

    def path(self, character_id: int) -> str:
        """Return the path for a character."""
        return self.name.replace("{character_id}", str(character_id))


def _route(
    group: str,
    suffix: str,
    scope: str | None,
    cache_seconds: int,
    rate_group: str | None,
    *,
    paging: Paging | None = None,
    interval_seconds: int = 0,
    dataset: str = "",
    rests_offline: bool = False,
    query: tuple[tuple[str, str], ...] = (),
    cache_mode: str = "ttl-based",
) -> Route:
    return Route(
        name=_PREFIX + suffix,
        group=group,
        dataset=dataset or suffix.strip("/").replace("/", "_"),
        scopes=(scope,) if scope else (),
        cache_seconds=cache_seconds,
        paging=paging,
        rate_group=rate_group,
        interval_seconds=max(cache_seconds, interval_seconds),
        shape=SHAPES[suffix],
        rests_offline=rests_offline,
        query=query,
        cache_mode=cache_mode,
    )


_OVERVIEW, _WALLET, _SKILLS, _ASSETS = "CHARACTER_OVERVIEW", "CHARACTER_WALLET", "CHARACTER_SKILLS", "CHARACTER_ASSETS"
_INDUSTRY, _MARKET, _MAIL = "CHARACTER_INDUSTRY", "CHARACTER_MARKET", "CHARACTER_MAIL"
_NOTIFICATIONS = "CHARACTER_NOTIFICATIONS"

_READ_WALLET = "esi-wallet.read_character_wallet.v1"
_READ_SKILLS = "esi-skills.read_skills.v1"
_READ_MAIL = "esi-mail.read_mail.v1"
_READ_ORDERS = "esi-markets.read_character_orders.v1"
_READ_NOTIFICATIONS = "esi-characters.read_notifications.v1"
_EVENTS = "event-based"
_COMPLETED = (("include_completed", "true"),)

_ALL: tuple[Route, ...] = (
    _route(_OVERVIEW, "", None, 86_400, None, dataset="character", cache_mode=_EVENTS),
    _route(
        _OVERVIEW,
        "/location",
        "esi-location.read_location.v1",
        5,
        "char-location",
        interval_seconds=300,
        rests_offline=True,
    ),
    _route(
        _OVERVIEW,
        "/ship",
        "esi-location.read_ship_type.v1",
        5,
        "char-location",
        interval_seconds=300,
        rests_offline=True,
    ),
    _route(_OVERVIEW, "/corporationhistory", None, 86_400, None),
    _route(
        _OVERVIEW,
        "/online",
        "esi-location.read_online.v1",
        60,
        "char-location",
        interval_seconds=300,
        rests_offline=True,
    ),
    _route(_OVERVIEW, "/clones", "esi-clones.read_clones.v1", 120, "char-location", interval_seconds=3_600),
    _route(_OVERVIEW, "/implants", "esi-clones.read_implants.v1", 120, "char-detail", interval_seconds=3_600),
    _route(_WALLET, "/wallet", _READ_WALLET, 120, "char-wallet", interval_seconds=600),
    _route(_WALLET, "/wallet/journal", _READ_WALLET, 3_600, "char-wallet", paging="x-pages"),
    _route(_WALLET, "/wallet/transactions", _READ_WALLET, 3_600, "char-wallet", paging="from_id"),
    _route(_WALLET, "/loyalty/points", "esi-characters.read_loyalty.v1", 3_600, "char-wallet"),
    _route(_SKILLS, "/skills", _READ_SKILLS, 60, "char-detail", interval_seconds=600, cache_mode=_EVENTS),
    _route(
        _SKILLS,
        "/skillqueue",
        "esi-skills.read_skillqueue.v1",
        60,
        "char-detail",
        interval_seconds=600,
        cache_mode=_EVENTS,
    ),
    _route(_SKILLS, "/attributes", _READ_SKILLS, 120, "char-detail", interval_seconds=3_600),
    _route(_ASSETS, "/assets", "esi-assets.read_assets.v1", 3_600, "char-asset", paging="x-pages"),
    _route(_ASSETS, "/blueprints", "esi-characters.read_blueprints.v1", 3_600, "char-industry", paging="x-pages"),
    _route(
        _INDUSTRY,
        "/industry/jobs",
        "esi-industry.read_character_jobs.v1",
        300,
        "char-industry",
        interval_seconds=600,
        query=_COMPLETED,
    ),
    _route(_INDUSTRY, "/mining", "esi-industry.read_character_mining.v1", 600, "char-industry", paging="x-pages"),
    _route(_MARKET, "/orders", _READ_ORDERS, 1_200, None),
    _route(_MARKET, "/orders/history", _READ_ORDERS, 3_600, None, paging="x-pages"),
    _route(_MAIL, "/mail", _READ_MAIL, 30, "char-social", paging="last_mail_id", interval_seconds=120),
    _route(_MAIL, "/mail/labels", _READ_MAIL, 30, "char-social", interval_seconds=600),
    _route(_MAIL, "/mail/lists", _READ_MAIL, 120, "char-social", interval_seconds=3_600),
    _route(_NOTIFICATIONS, "/notifications", _READ_NOTIFICATIONS, 600, "char-notification"),
    _route(_NOTIFICATIONS, "/notifications/contacts", _READ_NOTIFICATIONS, 600, "char-social"),
)

#: Every route by its normal form.
ROUTES: Mapping[str, Route] = MappingProxyType({route.name: route for route in _ALL})

#: The routes of each group, by the name that callers use.
GROUPS: Mapping[str, tuple[Route, ...]] = MappingProxyType(
    {group: tuple(r for r in _ALL if r.group == group) for group in dict.fromkeys(r.group for r in _ALL)}
)


def dataset_of(name: str) -> str:
    """Return the label of a route in metrics and lists; the name itself if it is no route of ours."""
    return ROUTES[name].dataset if name in ROUTES else name


_VERSION = re.compile(r"^/(?:latest|legacy|dev|v[0-9]+)(?=/)")
_NUMBER = re.compile(r"^/characters/[0-9]+(?=/|$)")


def normalise(endpoint: str) -> Route:
    """Return the route of an endpoint in any spelling: `/latest/…/`, `/vN/…`, `{character_id}` or the number.

    Raises `BadInput` with the closest routes.
    """
    path = endpoint.partition("?")[0].strip()
    path = _VERSION.sub("", "/" + path.strip("/"))
    path = _NUMBER.sub(_PREFIX, path)
    route = ROUTES.get(path)
    if route is not None:
        return route
    nearest = difflib.get_close_matches(path, ROUTES, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
    raise BadInput(f"unknown endpoint {endpoint!r}{hint} (allowed: {', '.join(ROUTES)})", accepted=list(ROUTES))
