"""The page on ESI lists the routes correctly."""

from __future__ import annotations

from pathlib import Path

from nomad_actors.esi import ROUTES

PAGE = Path(__file__).parent.parent.parent / "docs" / "esi.md"


def test_the_documented_routes_are_complete() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `CHARACTER_")]
    expected = []
    for route in ROUTES.values():
        query = "?" + "&".join(f"{name}={value}" for name, value in route.query) if route.query else ""
        path = route.name.removeprefix("/characters/{character_id}") + query or "(itself)"
        scopes = ", ".join(f"`{scope}`" for scope in route.scopes) or "public"
        facts = (route.cache_seconds, route.interval_seconds, route.paging or "", route.rate_group or "")
        expected.append(" | ".join(map(str, (f"| `{route.group}`", f"`{path}`", scopes, *facts))) + " |")
    assert sorted(rows) == sorted(expected)
