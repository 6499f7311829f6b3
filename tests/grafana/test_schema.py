"""The dashboards fit Grafana's own model of one, as its foundation SDK for 11.6 has it.

The SDK reads JSON without checking it, so we do both: what it read has the types that it declares, and it writes
everything that was in the file, so that no field's name is unknown to it.
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
    """Let the SDK read the fields of each kind of panel and of Prometheus' queries too."""
    pytest.importorskip("grafana_foundation_sdk", reason="grafana-foundation-sdk is not installed")
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()


def mistyped(value: object, declared: Any, where: str) -> Iterator[str]:
    """Yield what in `value` is not of its declared type."""
    if isinstance(value, dict) and hasattr(declared, "from_json"):
        # Transformations are left as they are in the file.
        value = declared.from_json(value)
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if declared in (Any, object):
        yield from _inside(value, where)
    elif origin is typing.Union:
        found = [list(mistyped(value, each, where)) for each in arguments if each is not type(None) or value is None]
        # The one that goes deepest says best what is wrong.
        yield from [] if [] in found else max(found, key=lambda each: each[0].count("/"))
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{where}: {value!r} is not one of {arguments}"
    elif isinstance(declared, type) and issubclass(declared, enum.Enum):
        # Read as they are, not as members.
        if value not in [*declared, *(member.value for member in declared)]:
            yield f"{where}: {value!r} is not one of {[member.value for member in declared]}"
    elif not _is_a(value, origin or declared):
        yield f"{where}: {value!r} is no {declared}"
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


def lost(given: object, written: object, where: str = "") -> Iterator[str]:
    """Yield what the file has and the SDK does not write again."""
    if isinstance(given, dict) and isinstance(written, dict):
        for name, value in given.items():
            # What is empty may be left out.
            if name in written or value:
                yield from lost(value, written.get(name), f"{where}/{name}")
    elif isinstance(given, list) and isinstance(written, list) and len(given) == len(written):
        for number, (one, other) in enumerate(zip(given, written, strict=True)):
            yield from lost(one, other, f"{where}/{number}")
    elif given != written:
        yield f"{where}: {given!r} was read as {written!r}"


def wrong(dashboard: dict[str, Any]) -> list[str]:
    """Return what does not fit the model."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    read = Dashboard.from_json(dashboard)
    return [*mistyped(read, Dashboard, ""), *lost(dashboard, json.loads(JSONEncoder().encode(read)))]


def test_a_dashboard_fits_grafanas_model(dashboard):
    assert wrong(dashboard) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda panel: panel.update(title=3), "title: 3 is no"),
        (lambda panel: panel.update(desription="misspelt"), "desription: 'misspelt' was read as None"),
        (lambda panel: panel["options"].update(colorMode="valu"), "'valu'"),
        (lambda panel: panel["gridPos"].update(w="4"), "w: '4' is no"),
        (lambda panel: panel["targets"][0].update(instant="yes"), "instant: 'yes' is no"),
        (lambda panel: panel["targets"][0].update(expression="up"), "expression: 'up' was read as None"),
        (lambda panel: panel["fieldConfig"]["defaults"].update(noValu="-"), "noValu: '-' was read as None"),
    ],
)
def test_what_does_not_fit_is_found(change, said):
    from monitoring.dashboards.files import dashboards
    from nomad_actors.thresholds import table

    dashboard = json.loads(json.dumps(dashboards(table())[0]))
    change(next(panel for panel in dashboard["panels"] if panel["type"] == "stat"))
    try:
        found = wrong(dashboard)
    except (ValueError, TypeError) as error:  # So it says that an enumeration has no such value.
        found = [str(error)]
    assert any(said in each for each in found), found
