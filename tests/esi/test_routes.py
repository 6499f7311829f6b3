"""The routes match CCP's document, and every spelling of an endpoint finds its route."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nomad_actors.errors import BadInput
from nomad_actors.esi import GROUPS, ROUTES, Route, normalise

FACTS = json.loads((Path(__file__).parent.parent / "sandbox" / "esi_facts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.name)
def test_a_route_matches_ccps_document(route: Route) -> None:
    facts = FACTS[f"GET {route.name}"]
    assert list(route.scopes) == facts["scopes"]
    assert (route.cache_seconds, route.rate_group) == (facts["cache_seconds"], facts["rate_group"])
    stated = {"page": "x-pages", "from_id": "from_id", "last_mail_id": "last_mail_id"}
    assert route.paging == next((style for name, style in stated.items() if name in facts["query"]), None)
    assert {name for name, _ in route.query} <= set(facts["query"])


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.name)
def test_no_route_is_requested_more_often_than_its_freshness(route: Route) -> None:
    assert route.interval_seconds >= route.cache_seconds


@pytest.mark.parametrize(
    ("suffix", "interval_seconds"),
    [
        ("/location", 300),
        ("/ship", 300),
        ("/online", 300),
        ("/mail", 120),
        ("/skills", 600),
        ("/wallet/journal", 3_600),
    ],
)
def test_frequently_changing_routes_use_our_interval(suffix: str, interval_seconds: int) -> None:
    assert ROUTES["/characters/{character_id}" + suffix].interval_seconds == interval_seconds


def test_a_group_has_the_routes_that_callers_expect() -> None:
    assert {name: [route.dataset for route in routes] for name, routes in GROUPS.items()} == {
        "CHARACTER_OVERVIEW": [
            *("character", "location", "ship", "corporationhistory", "online", "clones", "implants"),
        ],
        "CHARACTER_WALLET": ["wallet", "wallet_journal", "wallet_transactions", "loyalty_points"],
        "CHARACTER_SKILLS": ["skills", "skillqueue", "attributes"],
        "CHARACTER_ASSETS": ["assets", "blueprints"],
        "CHARACTER_INDUSTRY": ["industry_jobs", "mining"],
        "CHARACTER_MARKET": ["orders", "orders_history"],
        "CHARACTER_MAIL": ["mail", "mail_labels", "mail_lists"],
        "CHARACTER_NOTIFICATIONS": ["notifications", "notifications_contacts"],
    }
    assert all(route.group == name for name, routes in GROUPS.items() for route in routes)


@pytest.mark.parametrize(
    "endpoint",
    [
        "/latest/characters/{character_id}/wallet/journal/",
        "/v6/characters/{character_id}/wallet/journal/",
        "/legacy/characters/95465499/wallet/journal",
        "/characters/95465499/wallet/journal?page=2",
        "characters/{character_id}/wallet/journal",
    ],
)
def test_every_spelling_finds_the_same_route(endpoint: str) -> None:
    assert normalise(endpoint).name == "/characters/{character_id}/wallet/journal"


def test_the_character_itself_is_a_route() -> None:
    assert normalise("/latest/characters/95465499/").dataset == "character"


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "/",
        "/characters/abc/wallet",
        "/characters/1/wallet/../skills",
        "/corporations/1/wallets",
        "/v1/v2/characters/1",
    ],
)
def test_an_unknown_route_is_rejected(endpoint: str) -> None:
    with pytest.raises(BadInput) as refused:
        normalise(endpoint)
    assert set(refused.value.accepted) == set(ROUTES)


def test_a_misspelt_route_is_rejected_with_the_closest_ones() -> None:
    with pytest.raises(BadInput, match=r"did you mean /characters/\{character_id\}/wallet/journal"):
        normalise("/latest/characters/95465499/wallet/journals/")


def test_a_path_contains_the_character_id() -> None:
    assert normalise("/characters/{character_id}/skills").path(42) == "/characters/42/skills"
