"""Values for random requests beyond the document's schemas: texts that are almost valid."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import requests

#: Texts that some parser takes for a number, a path, markup or an empty value.
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
#: Values in a decoded cursor instead of a state, a score or an id.
VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 2**70, 1e308, [], [1], {}, {"a": 1}),
    *("", "AA", "////", "=", "waiting", "failed", "active", "gone", *TEXTS),
]
FIELDS = ("character_id", "user_id", "endpoint", "type", "nothing")


class Material:
    """Draws such texts, and cursors, ids and fingerprints from earlier responses, unchanged or changed."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._cursors: list[str] = []
        self._fingerprints: list[str] = []
        self._ids: list[str] = []

    def learn(self, response: requests.Response) -> None:
        """Remember the cursors, ids and fingerprints of a response."""
        if response.headers.get("Content-Type") != "application/json":
            return
        decoded = response.json()
        if not isinstance(decoded, dict):
            return
        self._remember(self._cursors, [decoded.get("nextCursor")])
        for name in ("jobs", "failures", "operations"):
            listed = decoded.get(name)
            items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
            self._remember(self._ids, [item.get("id") for item in items])
            self._remember(self._fingerprints, [item.get("fingerprint") for item in items])

    def _remember(self, known: list[str], found: list[Any]) -> None:
        known += [text for text in found if isinstance(text, str)]
        del known[:-50]

    def text(self) -> str:
        """Return a text for a free-text parameter."""
        return self._draw.choice(TEXTS)

    def cursor(self) -> str:
        """Return a cursor: one from a list, a changed one, or an invented one."""
        if self._cursors and self._draw.random() < 0.3:
            return self._draw.choice(self._cursors)
        return self._draw.choice([self._mutated_cursor, self._new_cursor, self.text])()

    def _mutated_cursor(self) -> str:
        if not self._cursors:
            return self._new_cursor()
        decoded = _decoded(self._draw.choice(self._cursors))
        if not isinstance(decoded, list) or not decoded:
            return self._new_cursor()
        decoded[self._draw.randrange(len(decoded))] = self._draw.choice(VALUES)
        return _encoded(decoded)

    def _new_cursor(self) -> str:
        """Return a cursor in the form of one kind of list, with one or two random parts."""
        draw = self._draw
        if draw.random() < 0.15:
            return _text(b"[" * 2_000)
        kind = draw.choice("stfa")
        valid: dict[str, list[Any]] = {
            "s": [draw.choice(["waiting", "failed", "active", "completed"]), "1793491200000.25", "AAAA"],
            "t": ["AAAAAAAAAAAAAAAAAAAAAA"],
            "f": ["1793491200000", "AAAAAAAAAAA"],
            "a": ["token-refresh", _encoded(["s", draw.choice(["failed", "active"]), draw.choice(VALUES), "AAAA"])],
        }
        return _encoded([kind, *(part if draw.random() < 0.6 else draw.choice(VALUES) for part in valid[kind])])

    def value_for(self, name: str) -> str:
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


def _encoded(decoded: Any) -> str:
    return _text(json.dumps(decoded).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(cursor: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        return None
