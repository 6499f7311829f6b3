"""The dashboards match Grafana's model of a dashboard in its foundation SDK for 11.6.

The SDK reads JSON without checking it. So the tests check that the values have the declared types, and that the SDK
writes everything that was in the file, which means that it knows every field.
"""

from __future__ import annotations

import enum
import json
import typing
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    """Register the models of each kind of panel and of Prometheus' queries with the SDK."""
    pytest.importorskip("grafana_foundation_sdk", reason="grafana-foundation-sdk is not installed")
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()


def mistyped(value: object, declared: Any, where: str) -> Iterator[str]:
    """Yield the parts of `value` without their declared type."""
    if isinstance(value, dict) and hasattr(declared, "from_json"):
        # The SDK leaves transformations as they are in the file.
        value = declared.from_json(value)
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if declared in (Any, object):
        yield from _inside(value, where)
    elif origin is typing.Union:
        found = [list(mistyped(value, each, where)) for each in arguments if each is not type(None) or value is None]
        # The deepest message describes the problem best.
        yield from [] if [] in found else max(found, key=lambda each: each[0].count("/"))
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{where}: {value!r} is not one of {arguments}"
    elif isinstance(declared, type) and issubclass(declared, enum.Enum):
        # The SDK reads values, not members.
        if value not in [*declared, *(member.value for member in declared)]:
            yield f"{where}: {value!r} is not one of {[member.value for member in declared]}"
    elif not _is_a(value, origin or declared):
        yield f"{where}: {value!r} is not a {declared}"
    elif origin is list:
        for number, each in enumerate(value):
            yield from mistyped(each, arguments[0], f"{where}/{number}")
    elif origin is dict:
        for name, each in value.items():
            yield from mistyped(each, arguments[1], f"{where}/{name}")
    else:
        yield from _inside(value, where)


def _inside(value: object, where: str) -> Iterator[str]:
    if not type(value).__module__.startswith("grafana_foundation_sdk"):
        return
    for name, declared in typing.get_type_hints(type(value)).items():
        yield from mistyped(getattr(value, name), declared, f"{where}/{name}")


def _is_a(value: object, kind: type) -> bool:
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return value is None if kind is type(None) else isinstance(value, kind)


def lost(original: object, written: object, where: str = "") -> Iterator[str]:
    """Yield the parts of the file that the SDK does not write."""
    if isinstance(original, dict) and isinstance(written, dict):
        for name, value in original.items():
            # Empty values may be left out.
            if name in written or value:
                yield from lost(value, written.get(name), f"{where}/{name}")
    elif isinstance(original, list) and isinstance(written, list) and len(original) == len(written):
        for number, (one, other) in enumerate(zip(original, written, strict=True)):
            yield from lost(one, other, f"{where}/{number}")
    elif original != written:
        yield f"{where}: {original!r} was read as {written!r}"


def wrong(dashboard: dict[str, Any]) -> list[str]:
    """Return the mismatches with the model."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    parsed = Dashboard.from_json(dashboard)
    return [*mistyped(parsed, Dashboard, ""), *lost(dashboard, json.loads(JSONEncoder().encode(parsed)))]


def test_a_dashboard_matches_grafanas_model(dashboard):
    assert wrong(dashboard) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda panel: panel.update(title=3), "title: 3 is not a"),
        (lambda panel: panel.update(desription="misspelt"), "desription: 'misspelt' was read as None"),
        (lambda panel: panel["options"].update(colorMode="valu"), "'valu'"),
        (lambda panel: panel["gridPos"].update(w="4"), "w: '4' is not a"),
        (lambda panel: panel["targets"][0].update(instant="yes"), "instant: 'yes' is not a"),
        (lambda panel: panel["targets"][0].update(expression="up"), "expression: 'up' was read as None"),
        (lambda panel: panel["fieldConfig"]["defaults"].update(noValu="-"), "noValu: '-' was read as None"),
    ],
)
def test_a_mismatch_is_found(change, message):
    from monitoring.files import dashboards
    from nomad_actors.thresholds import table

    dashboard = json.loads(json.dumps(dashboards(table())[0]))
    change(next(panel for panel in dashboard["panels"] if panel["type"] == "stat"))
    try:
        found = wrong(dashboard)
    except (ValueError, TypeError) as error:  # An enumeration without this value.
        found = [str(error)]
    assert any(message in each for each in found), found
