"""The sandbox's ESI routes, as data.

Paths, scopes, cache times, modes, paging and rate groups are from CCP's OpenAPI document, compatibility date
2026-07-17; `tests/sandbox/esi_facts.json` contains them independently and is compared with this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .world import assets, characters, industry, mail, market, notifications, skills, wallet, whereabouts
from .world.characters import Character, World

Make = Callable[[World, Character, int], object]
Paging = Literal["x-pages", "from_id", "last_mail_id"]

# Rows per page or response. ESI's differ by route and over time; these are small enough for many pages.
PAGE_ROWS = 1000
MAIL_HEADERS = 50

# Tokens per window of 15 minutes, for each application and character.
RATE_GROUPS = {
    "char-location": 1200,
    "char-detail": 600,
    "char-wallet": 150,
    "char-asset": 1800,
    "char-industry": 600,
    "char-social": 600,
    "char-notification": 15,
    "status": 600,
    "meta": 150,
}


@dataclass(frozen=True)
class Route:
    """One route below `/characters/{character_id}`; without a rate group the old error limit applies."""

    path: str
    make: Make
    cache_seconds: int
    scope: str | None = None
    group: str | None = None
    paging: Paging | None = None
    event_based: bool = False

    @property
    def name(self) -> str:
        """The full path in ESI's normal form."""
        return "/characters/{character_id}" + self.path


ROUTES = (
    Route("", characters.public_info, 86_400, event_based=True),
    Route("/corporationhistory", characters.corporation_history, 86_400),
    Route("/location", whereabouts.location, 5, "esi-location.read_location.v1", "char-location"),
    Route("/ship", whereabouts.ship, 5, "esi-location.read_ship_type.v1", "char-location"),
    Route("/online", whereabouts.online, 60, "esi-location.read_online.v1", "char-location"),
    Route("/clones", whereabouts.clones, 120, "esi-clones.read_clones.v1", "char-location"),
    Route("/implants", whereabouts.implants, 120, "esi-clones.read_implants.v1", "char-detail"),
    Route("/wallet", wallet.balance, 120, "esi-wallet.read_character_wallet.v1", "char-wallet"),
    Route("/wallet/journal", wallet.journal, 3_600, "esi-wallet.read_character_wallet.v1", "char-wallet", "x-pages"),
    Route(
        "/wallet/transactions",
        wallet.transactions,
        3_600,
        "esi-wallet.read_character_wallet.v1",
        "char-wallet",
        "from_id",
    ),
    Route("/loyalty/points", wallet.loyalty_points, 3_600, "esi-characters.read_loyalty.v1", "char-wallet"),
    Route("/skills", skills.skills, 60, "esi-skills.read_skills.v1", "char-detail", event_based=True),
    Route("/skillqueue", skills.skill_queue, 60, "esi-skills.read_skillqueue.v1", "char-detail", event_based=True),
    Route("/attributes", skills.attributes, 120, "esi-skills.read_skills.v1", "char-detail"),
    Route("/assets", assets.assets, 3_600, "esi-assets.read_assets.v1", "char-asset", "x-pages"),
    Route("/blueprints", industry.blueprints, 3_600, "esi-characters.read_blueprints.v1", "char-industry", "x-pages"),
    Route("/industry/jobs", industry.industry_jobs, 300, "esi-industry.read_character_jobs.v1", "char-industry"),
    Route("/mining", industry.mining_ledger, 600, "esi-industry.read_character_mining.v1", "char-industry", "x-pages"),
    Route("/orders", market.open_orders, 1_200, "esi-markets.read_character_orders.v1"),
    Route("/orders/history", market.order_history, 3_600, "esi-markets.read_character_orders.v1", paging="x-pages"),
    Route("/mail", mail.mail_headers, 30, "esi-mail.read_mail.v1", "char-social", "last_mail_id"),
    Route("/mail/labels", mail.mail_labels, 30, "esi-mail.read_mail.v1", "char-social"),
    Route("/mail/lists", mail.mail_lists, 120, "esi-mail.read_mail.v1", "char-social"),
    Route(
        "/notifications",
        notifications.notifications,
        600,
        "esi-characters.read_notifications.v1",
        "char-notification",
    ),
    Route(
        "/notifications/contacts",
        notifications.contact_notifications,
        600,
        "esi-characters.read_notifications.v1",
        "char-social",
    ),
)
SCOPES = tuple(sorted({route.scope for route in ROUTES if route.scope}))

# The SSO's paths also begin with a version, which must stay.
_VERSION = re.compile(r"^/(?:latest|legacy|dev|v\d+)(?=/(?!oauth/))")


_ID = re.compile(r"(?<=/)\d+(?=/|$)")


def normal_path(path: str) -> str:
    """Return a path without version prefix and trailing slash, which are optional in ESI."""
    return _VERSION.sub("", path).rstrip("/") or "/"


def route_name(path: str) -> str:
    """Return a path in normal form with placeholders instead of ids, as ESI's specification writes it."""
    names = iter(("{character_id}", "{mail_id}"))
    return _ID.sub(lambda found: next(names, found[0]), path)


def path_id(path: str) -> int | None:
    """Return the character of a path in normal form, None if it has none."""
    match = _ID.search(path)
    return int(match[0]) if match and path.startswith("/characters/") else None
