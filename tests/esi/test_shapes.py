"""The shapes are CCP's, and each check accepts what both databases take and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nomad_actors.esi import ROUTES, Route, checks
from nomad_actors.esi.checks import UNSTORABLE, Check, ListOf, ObjectOf
from nomad_actors.esi.shapes import SHAPES

FACTS = json.loads((Path(__file__).parent.parent / "sandbox" / "esi_facts.json").read_text(encoding="utf-8"))
WORDS = {
    checks.integer: "integer",
    checks.natural: "integer",
    checks.isk: "number",
    checks.number: "number",
    checks.flag: "boolean",
    checks.text: "string",
    checks.time: "date-time",
    checks.date: "date",
}
#: A mail without its id is of no use; CCP does not promise one.
STRICTER = {"/characters/{character_id}/mail": {"mail_id"}}


def described(check: Check, stricter: set[str]) -> Any:
    """Return a shape as the facts describe it; a text is also what an enumeration is."""
    if isinstance(check, ListOf):
        return [described(check.each, stricter)]
    if isinstance(check, ObjectOf):
        optional = {f"?{name}": described(each, stricter) for name, each in check.optional.items()}
        required = {f"?{n}" if n in stricter else n: described(c, stricter) for n, c in check.required.items()}
        return {"object": required | optional}
    return WORDS.get(check, "string")


def without_enumerations(shape: Any) -> Any:
    if isinstance(shape, list):
        return [without_enumerations(each) for each in shape]
    if isinstance(shape, dict):
        if "enum" in shape:
            return "string"
        return {name: without_enumerations(each) for name, each in shape.items()}
    return shape


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.name)
def test_a_shape_has_ccps_fields_and_types(route: Route) -> None:
    facts = without_enumerations(FACTS[f"GET {route.name}"]["response"])
    assert described(route.shape, STRICTER.get(route.name, set())) == facts


def test_every_shape_is_of_a_route() -> None:
    assert {"/characters/{character_id}" + suffix for suffix in SHAPES} == set(ROUTES)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            checks.integer,
            [0, -1, 2**63 - 1, -(2**63)],
            [2**63, -(2**63) - 1, True, 1.0, "1", None, [], float("nan"), 10**4000],
        ),
        (checks.natural, [0, 2**62 - 1], [-1, 2**62, 2**63, True, 1.0, None]),
        (
            checks.number,
            [0, -0.01, 1e308, 2**70],
            [float("nan"), float("inf"), -float("inf"), 10**400, True, "1.5", None],
        ),
        (checks.flag, [True, False], [0, 1, "true", None]),
        (checks.text, ["", "Jita IV - Moon 4", "ü \U0001f680"], ["a\0", "\ud83d", "\udc00x", 5, None, ["a"]]),
        (checks.short_text(3), ["abc"], ["abcd", "a\0", 5]),
        (
            checks.time,
            ["2026-10-30T12:13:14Z", "2026-10-30T12:13:14", "2026-10-30T12:13:14.5+02:00"],
            [
                *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "10000-01-01T00:00:00Z"),
                *("9999-12-31T23:59:59-01:00", "2026-02-30T00:00:00Z", "2026-10-30", "yesterday", "", "\ud800"),
                *(1_793_000_000, None, True, ["2026-10-30T12:13:14Z"]),
            ],
        ),
        (checks.date, ["2026-10-30"], ["2026-10-30T00:00:00Z", "2026-13-01", "20261030", "0000-01-01", 5, None]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_check_accepts_its_kind_and_describes_the_rest(check: Check, good: list[Any], bad: list[Any]) -> None:
    assert [check(value) for value in good] == [None] * len(good)
    for value in bad:
        problem = check(value)
        assert problem, repr(value)
        assert problem.isascii()


def test_unknown_fields_are_accepted_at_any_depth_unless_a_database_rejects_them() -> None:
    shape = ObjectOf({"id": checks.integer}, {"note": checks.text})
    assert shape({"id": 1, "note": None, "new": {"deep": [1, {"er": "x"}, None, 1.5, 10**30]}}) is None
    for value in (float("nan"), {"a": [float("inf")]}):
        assert "not a finite number" in (shape({"id": 1, "new": value}) or "")
    for value in ("a\0", {"\ud800": 1}, [["\udfff"]]):
        assert (shape({"id": 1, "new": value}) or "").endswith(UNSTORABLE)
    assert (shape({"id": 1, "a\0": 1}) or "").endswith(UNSTORABLE)
    nested: Any = 1
    for _ in range(60):
        nested = [nested]
    assert shape({"id": 1, "new": nested}) == "new is nested more than 50 levels deep"
    assert shape({"note": "x"}) == "id is missing"
    assert shape({"id": None}) == "id is null and not an integer"
