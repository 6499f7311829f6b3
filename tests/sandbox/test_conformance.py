"""Every route has the fields, types, scopes, cache times and limits of CCP's specification."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.limits import WINDOW_S
from sandbox.routes import PAGE_ROWS, RATE_GROUPS, ROUTES
from sandbox.serve import SandboxServer

from .conftest import CHARACTERS, Visitor

# From CCP's OpenAPI document, compatibility date 2026-07-17; "?" marks optional fields.
FACTS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "esi_facts.json").read_text())
ROUTES_BY_NAME = {f"GET {route.name}": route for route in ROUTES}
TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}


def faults_of(shape: Any, value: object, location: str = "answer") -> list[str]:
    """Return where a value differs from the specified shape."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{location} is no array"]
        return [fault for at, each in enumerate(value) for fault in faults_of(shape[0], each, f"{location}[{at}]")]
    if isinstance(shape, dict):
        return _object_faults(shape, value, location)
    if shape == "date-time":
        return [] if _is_time(value) else [f"{location} is no time: {value!r}"]
    if shape == "date":
        return [] if isinstance(value, str) and date.fromisoformat(value) else [f"{location} is no date: {value!r}"]
    if isinstance(value, bool) != (shape == "boolean") or not isinstance(value, TYPES[shape]):
        return [f"{location} is no {shape}: {value!r}"]
    return []


def _object_faults(shape: dict[str, Any], value: object, location: str) -> list[str]:
    if "enum" in shape:
        return [] if value in shape["enum"] else [f"{location} is none of {shape['enum']}: {value!r}"]
    if not isinstance(value, dict):
        return [f"{location} is no object"]
    fields = {name.lstrip("?"): each for name, each in shape["object"].items()}
    required = {name for name in shape["object"] if not name.startswith("?")}
    faults = [f"{location} lacks {name}" for name in required - set(value)]
    faults += [f"{location} has an unknown {name}" for name in set(value) - set(fields)]
    return faults + [
        fault
        for name, each in value.items()
        if name in fields
        for fault in faults_of(fields[name], each, f"{location}.{name}")
    ]


def _is_time(value: object) -> bool:
    form = re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", value) if isinstance(value, str) else None
    return bool(form and datetime.fromisoformat(form[0]))


def test_the_check_itself_sees_missing_unknown_and_mistyped_fields() -> None:
    shape = FACTS["GET /characters/{character_id}/location"]["response"]
    assert faults_of(shape, {"solar_system_id": 30000142}) == []
    assert faults_of(shape, {"station_id": 1}) == ["answer lacks solar_system_id"]
    assert faults_of(shape, {"solar_system_id": True}) == ["answer.solar_system_id is no integer: True"]
    assert faults_of(shape, {"solar_system_id": 1, "x": 1}) == ["answer has an unknown x"]


def test_every_route_conforms_to_the_specification_for_every_character(sandbox: SandboxServer) -> None:
    filled: set[str] = set()
    for index in range(CHARACTERS):
        visitor = Visitor(sandbox, index)
        for route in ROUTES:
            response = visitor.get(route.path, include_completed="true")
            assert response.status_code == 200, (route.name, response.text)
            assert faults_of(FACTS[f"GET {route.name}"]["response"], response.json()) == [], route.name
            if response.json() not in ([], {}):
                filled.add(route.path)
    assert filled == {route.path for route in ROUTES}, "somebody has data of every kind"


@pytest.mark.parametrize("name", ["GET /status", "GET /meta/status", "GET /meta/compatibility-dates"])
def test_esis_routes_about_itself_conform(sandbox: SandboxServer, name: str) -> None:
    response = requests.get(sandbox.base_url + name.removeprefix("GET "), timeout=10)
    assert faults_of(FACTS[name]["response"], response.json()) == []
    assert response.headers["X-Ratelimit-Group"] == FACTS[name]["rate_group"]


def test_mail_bodies_conform(trader: Visitor) -> None:
    mail_id = trader.get("/mail").json()[0]["mail_id"]
    facts = FACTS["GET /characters/{character_id}/mail/{mail_id}"]
    response = trader.get(f"/mail/{mail_id}")
    assert faults_of(facts["response"], response.json()) == []
    assert response.headers["X-Ratelimit-Group"] == facts["rate_group"]


@pytest.mark.parametrize("path", ["/assets/names", "/assets/locations"])
def test_names_and_locations_of_assets_conform(trader: Visitor, path: str) -> None:
    items = [row["item_id"] for row in trader.get("/assets").json()[:50]]
    response = trader.post(path, [*items, 1])
    facts = FACTS[f"POST /characters/{{character_id}}{path}"]
    assert faults_of(facts["response"], response.json()) == []
    assert [row["item_id"] for row in response.json()] == items
    assert response.headers["X-Ratelimit-Group"] == facts["rate_group"]


def test_affiliations_conform_and_leave_out_unknown_characters(sandbox: SandboxServer) -> None:
    known = [login["character_id"] for login in sandbox.logins()]
    response = requests.post(f"{sandbox.base_url}/characters/affiliation", json=[*known, 5], timeout=10)
    assert faults_of(FACTS["POST /characters/affiliation"]["response"], response.json()) == []
    assert [row["character_id"] for row in response.json()] == known


@pytest.mark.parametrize("body", [[], [1, 1], ["1"], {"ids": [1]}, list(range(1001))], ids=str)
def test_invalid_lists_of_ids_are_rejected(sandbox: SandboxServer, body: object) -> None:
    response = requests.post(f"{sandbox.base_url}/characters/affiliation", json=body, timeout=10)
    assert response.status_code == 400
    assert "body must" in response.json()["error"]


def test_the_routes_match_the_specification() -> None:
    for name, route in ROUTES_BY_NAME.items():
        facts = FACTS[name]
        assert ([route.scope] if route.scope else []) == facts["scopes"], name
        assert route.cache_seconds == facts["cache_seconds"], name
        assert route.event_based == facts["event_based"], name
        assert route.paging == facts["pagination"], name
        assert route.group == facts["rate_group"], name
        if route.group:
            assert RATE_GROUPS[route.group] == facts["max_tokens"], name
    assert WINDOW_S == 15 * 60


def test_no_specified_route_is_missing(trader: Visitor) -> None:
    for name in FACTS:
        method, path = name.split()
        if method == "GET" and "{mail_id}" not in path:
            assert trader.request(path.format(character_id=trader.character_id)).status_code == 200, name


@pytest.mark.parametrize("prefix", ["/latest", "/v1", "/v6", "/legacy", "/dev", ""])
@pytest.mark.parametrize("end", ["", "/"])
def test_old_spellings_of_a_path_are_equivalent(trader: Visitor, prefix: str, end: str) -> None:
    response = trader.request(f"{prefix}/characters/{trader.character_id}/skills{end}")
    assert response.json() == trader.get("/skills").json()


def test_unknown_paths_are_not_found(trader: Visitor) -> None:
    for path in ("/nothing", "/characters/1/nothing", f"/characters/{trader.character_id}/wallets"):
        response = trader.request(path)
        assert (response.status_code, response.json()) == (404, {"error": "Not found"})


def test_some_listings_are_longer_than_a_page(trader: Visitor, visit: Callable[[str], Visitor]) -> None:
    assert int(trader.get("/wallet/journal").headers["X-Pages"]) >= 3
    assert int(trader.get("/assets").headers["X-Pages"]) >= 2
    assert len(trader.get("/wallet/transactions").json()) == PAGE_ROWS
    assert len(visit("industrialist").get("/blueprints").json()) > 100
