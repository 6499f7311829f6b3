"""Hostile arguments of `schedule_job`: mutated cron expressions, and arguments of wrong types."""

from __future__ import annotations

import math
import random
from typing import Any

from . import objects, texts
from .job_types import DATA, PLAIN

_NAMES = ("sun", "mon", "TUE", "Fri", "sat", "jan", "FEB", "dec", "L", "W", "5L", "1W", "mon#2", "?", "H", "R")
_ALIASES = ("@daily", "@hourly", "@yearly", "@reboot", "@every 5m", "@weekly ", "@")
_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Etc/GMT+12", "utc", "EST"),
    *("Mars/Base", "../../etc/passwd", "/etc/localtime", "Europe", "posixrules", "leapseconds", "+02:00", "UTC\x00"),
)


def arguments(draw: random.Random) -> dict[str, Any]:
    """Return keyword arguments for `schedule_job`, some of them hostile."""
    valid: dict[str, Any] = {
        "name": f"hostile-{draw.randrange(5)}",
        "cron": cron(draw),
        "job": draw.choice(((DATA.name, {"value": 1}), (PLAIN, {}), (DATA, {"text": "x"}))),
        "timezone": draw.choice(_ZONES),
        "run_on_init": draw.random() < 0.3,
        "enabled": True,
        "misfire": draw.choice(("skip", "once", "all")),
        "overlap": draw.choice((None, "skip", "queue", "replace")),
        "max_lateness_seconds": draw.choice((None, 0, 60, 86_400)),
        "description": "",
    }
    for name in draw.sample(sorted(valid), draw.choice((0, 0, 1, 1, 2, 4))):
        valid[name] = _wrong(draw, name)
    return valid


def _wrong(draw: random.Random, name: str) -> Any:
    if name == "job" and draw.random() < 0.7:
        return (draw.choice((DATA.name, DATA, objects.anything(draw))), objects.anything(draw))
    if name == "max_lateness_seconds" and draw.random() < 0.5:
        return draw.choice((math.inf, math.nan, -1, 1e308, 10**400, True, "60"))
    return draw.choice((objects.anything, texts.text))(draw)


def cron(draw: random.Random) -> str:
    """Return a cron expression, or almost one."""
    kind = draw.random()
    if kind < 0.1:
        return draw.choice(_ALIASES)
    count = draw.choice((5, 5, 5, 5, 5, 5, 4, 6, 7))
    fields = [_field(draw, *_FIELDS[min(position, 4)]) for position in range(count)]
    expression = draw.choice((" ", " ", " ", "  ", "\t")).join(fields)
    return texts.pierce(draw, expression) if kind > 0.8 else expression


def _field(draw: random.Random, low: int, high: int) -> str:
    def number() -> str:
        if draw.random() < 0.1:
            return draw.choice((*_NAMES, "99", "-1", "60", "007", "1.5", "9" * 30))
        return str(draw.randint(low, high))

    if draw.random() < 0.35:
        return "*"
    parts = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        part = draw.choice((number(), f"{number()}-{number()}", "*"))
        parts.append(part + draw.choice(("", "", "", f"/{number()}", "/0", "/2")))
    return ",".join(parts)
