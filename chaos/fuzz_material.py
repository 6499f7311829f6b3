"""What random requests are made of beside what a document's schemas say: texts that look right and are nearly so."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import requests

#: Texts that one parser or another takes for a number, a place, markup or nothing at all.
TEXTS = [
    *("", " ", "0", "-1", "1_0", " 10 ", "1e5", "1e999", "nan", "-inf", "٣", "9" * 400, "0x10", "true", "null"),
    *(
        "\x00",
        "a\x00b",
        "é",
        "\u202e",
        "𐀀",
        "<script>",
        "'; --",
        "../..",
        "%2e%2e",
        "a/b//c",
        "*",
        "[a-z]",
        "{}",
        "a=b=c",
    ),
]
#: Values that a decoded cursor may hold in place of a state, a score or an id.
VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 2**70, 1e308, [], [1], {}, {"a": 1}),
    *("", "AA", "////", "=", "waiting", "failed", "active", "gone", *TEXTS),
]
FIELDS = ("character_id", "user_id", "endpoint", "type", "nothing")


class Material:
    """Draws such texts; cursors, ids and fingerprints that answers told are drawn again, whole and changed."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._cursors: list[str] = []
        self._fingerprints: list[str] = []
        self._ids: list[str] = []

    def learn(self, answer: requests.Response) -> None:
        """Keep what an answer tells."""
        if answer.headers.get("Content-Type") != "application/json":
            return
        told = answer.json()
        if not isinstance(told, dict):
            return
        self._keep(self._cursors, [told.get("nextCursor")])
        for name in ("jobs", "failures", "operations"):
            listed = told.get(name)
            each = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
            self._keep(self._ids, [one.get("id") for one in each])
            self._keep(self._fingerprints, [one.get("fingerprint") for one in each])

    def _keep(self, kept: list[str], found: list[Any]) -> None:
        kept += [text for text in found if isinstance(text, str)]
        del kept[:-50]

    def text(self) -> str:
        """Return a text for a parameter that takes any."""
        return self._draw.choice(TEXTS)

    def cursor(self) -> str:
        """Return a cursor: one that a list gave, one that is nearly that, or one that never was."""
        if self._cursors and self._draw.random() < 0.3:
            return self._draw.choice(self._cursors)
        return self._draw.choice([self._changed_cursor, self._made_cursor, self.text])()

    def _changed_cursor(self) -> str:
        if not self._cursors:
            return self._made_cursor()
        told = _decoded(self._draw.choice(self._cursors))
        if not isinstance(told, list) or not told:
            return self._made_cursor()
        told[self._draw.randrange(len(told))] = self._draw.choice(VALUES)
        return _encoded(told)

    def _made_cursor(self) -> str:
        """Return a cursor of the form of one kind of list, of which a part or two may be anything."""
        draw = self._draw
        if draw.random() < 0.15:
            return _text(b"[" * 2_000)
        kind = draw.choice("stfa")
        right: dict[str, list[Any]] = {
            "s": [draw.choice(["waiting", "failed", "active", "completed"]), "1793491200000.25", "AAAA"],
            "t": ["AAAAAAAAAAAAAAAAAAAAAA"],
            "f": ["1793491200000", "AAAAAAAAAAA"],
            "a": ["token-refresh", _encoded(["s", draw.choice(["failed", "active"]), draw.choice(VALUES), "AAAA"])],
        }
        return _encoded([kind, *(part if draw.random() < 0.6 else draw.choice(VALUES) for part in right[kind])])

    def of(self, name: str) -> str:
        """Return a text for a parameter of this name."""
        draw = self._draw
        if draw.random() < 0.2:
            return self.text()
        match name:
            case "cursor":
                return self.cursor()
            case "field":
                return f"{draw.choice(FIELDS)}={draw.choice([*TEXTS, '1', '2'])}"
            case "fingerprint" if self._fingerprints:
                return draw.choice(self._fingerprints)
            case "job" | "jobId" | "operation" if self._ids:
                return draw.choice(self._ids)
            case "status":
                return ",".join(draw.choices(["waiting", "paused", "active", "delayed", "completed", "failed"], k=2))
            case "outcome":
                return ",".join(draw.choices(["completed", "skipped", "failed", "cancelled"], k=2))
            case "action":
                return draw.choice(["retry", "remove", "promote", "cancel"])
            case "since" | "until":
                return draw.choice(["0", "1793491200000", "999999999999999"])
            case "limit" | "minutes":
                return draw.choice(["1", "2", "60", "1000"])
        return self.text()


def _encoded(told: Any) -> str:
    return _text(json.dumps(told).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(cursor: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        return None
