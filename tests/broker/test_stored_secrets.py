"""What is stored of a run holds no secret, and no part of one where a text was cut."""

from __future__ import annotations

import json
import secrets

import pytest

from nomad_actors.broker import records
from nomad_actors.broker.records import failures, notes
from nomad_actors.logs.known_secrets import KNOWN

TOKEN = f"eyJhbGciOiJSUzI1NiJ9.{secrets.token_urlsafe(900)}"
OPAQUE = f"opaque+{secrets.token_urlsafe(30)}"
FORM = {"grant_type": "refresh_token", "refresh_token": "gEy-8fP2kq0aT1m4ZsBvXw"}


@pytest.fixture(autouse=True)
def _known() -> None:
    KNOWN.add(TOKEN, OPAQUE)


def parts_of(secret: str) -> list[str]:
    return [secret[at : at + 8] for at in range(0, len(secret) - 8, 4)]


@pytest.mark.parametrize("secret", [TOKEN, OPAQUE], ids=["token", "opaque"])
@pytest.mark.parametrize("most", [records.MAX_MESSAGE_CHARS, notes.MAX_LINE_CHARS, failures.MAX_GROUP_MESSAGE_CHARS])
def test_no_part_of_a_secret_is_kept_wherever_it_stands(secret: str, most: int) -> None:
    for before in (0, 1, most - len(secret), most - 20, most - 1, most, most + records.MAX_SECRET_CHARS - 20):
        text = f"{'x' * max(0, before)}{secret} and {FORM} {'y ' * most}"
        kept = [
            records.cut(text),
            records.pack_error("E", text, f"{'z' * (records.MAX_TRACEBACK_CHARS - before)}{text}").decode(),
            notes.cut_line(text).decode(),
            notes.Progress(1, 2, text).pack().decode(),
            failures.pack("job", "E", text)[8:].decode(errors="replace"),
        ]
        for each in kept:
            assert not [part for part in parts_of(secret) if part in each], each
            assert FORM["refresh_token"] not in each


def test_a_cut_text_names_the_number_of_dropped_characters() -> None:
    text = "x" * 50_000
    assert records.cut(text) == f"{'x' * 2000}… [48000 characters left out]"
    assert json.loads(records.pack_error("E", "", text))["traceback"] == (
        f"[{50_000 - records.MAX_TRACEBACK_CHARS} characters left out]\n{'x' * records.MAX_TRACEBACK_CHARS}"
    )
    assert records.cut("short") == "short"
    assert notes.cut_line("y" * 1_001).decode() == f"{'y' * 1000}… [1 characters left out]"


def test_a_results_secrets_are_hidden_and_its_fields_are_not() -> None:
    result = {
        "form": FORM,
        "access_token": TOKEN,
        "text": f"got {OPAQUE}",
        "count": 3,
        "tokens": 4,
        "list": [None, True],
    }
    assert json.loads(records.pack_result(result)) == {
        "form": {"grant_type": "refresh_token", "refresh_token": "[hidden]"},
        "access_token": "[hidden]",
        "text": "got [hidden]",
        "count": 3,
        "tokens": 4,
        "list": [None, True],
    }
