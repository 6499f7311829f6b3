"""Secrets in structured data: the log and stored results hide the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from nomad_actors.logs.redaction import HIDDEN, hide_in_data, hide_secrets

X = "gEy-8fP2kq0aT1m4ZsBvXw"


def test_a_results_fields_and_types_stay_as_they_are() -> None:
    result = {
        "refreshed": 3,
        "tokens": 7,
        "access_token": X,
        "ok": True,
        "none": None,
        "note": f"refresh_token={X}",
        "listed": [{"password": "p", "user": "u"}, ["refresh_token", 1.5]],
        "secrets": ["a", "", 4],
    }
    assert hide_in_data(result) == {
        **result,
        "access_token": HIDDEN,
        "note": f"refresh_token={HIDDEN}",
        "listed": [{"password": HIDDEN, "user": "u"}, ["refresh_token", 1.5]],
        "secrets": [HIDDEN, "", 4],
    }


#: Secrets recognised by the name of the field, or by a name before or next to them; not by syntax in a text.
SECRETS_IN_DATA = {
    "field": {"refresh_token": X},
    "deep field": {"a": [{"b": ({"password": X},)}]},
    "pair": [["grant_type", "x"], ["refresh_token", X]],
    "pair in a tuple": (("X-Api-Key", X), ("host", "h")),
    "pair with a list": ["refresh_token", [X]],
    "name at the front": ["refresh_token", "expires", X],
    "list": {"passwords": [X, "b"]},
    "mapping": {"password": {"old": X, "new": X, "user": "b"}},
    "mappings": {"tokens": [{"a": {"b": [X]}}]},
    "number": {"password": 9_876_543_210},
    "number in a mapping": {"passcode": {"old": 9_876_543_210}},
    "number in a pair": ("passcode", 9_876_543_210),
    "large float": {"password": 9_876_543_210.0},
    "name beside value": [{"name": "password", "value": X}],
    "value before name": [{"value": X, "name": "password"}],
    "name beside a number": {"Key": "passcode", "Value": 9_876_543_210},
    "pydantic's error": {"type": "int_parsing", "loc": ["body", "password"], "input": X},
    "confirmation": {"password_confirmation": X},
    "camel confirmation": {"passwordConfirm": X},
    "repeat": {"passwordRepeat": X},
    "numbered": {"password2": X, "api_key_1": X},
    "old": {"client_secret_old": X, "passwordNew": X},
}
SHOWN_IN_DATA = [
    {"tokens": 70_000, "tokens_per_second": 1_500.5, "token_refreshes": 40_000},
    {"password": True, "refresh_token": None},
    [["grant_type", "refresh_token"], ["a", "b"]],
    ["password", "user", "name", "esi_queue", "NOMAD_TOKEN_KEYS", "Proxy-Authorization", "EVE_CALLBACK_PORT"],
    [{"name": "user", "value": "ada"}, {"key": "queue", "input": "token-refresh"}],
    {"name": "password", "label": "Password", "required": True},
    {"refresh_tokens_old": 5_000, "compass": "north", "passed": 4_000},
]


@pytest.mark.parametrize("hide", [lambda value: hide_secrets("", value), hide_in_data], ids=["in lines", "in results"])
class TestLinesAndResults:
    @pytest.mark.parametrize("case", SECRETS_IN_DATA)
    def test_a_secret_is_hidden_by_what_names_it(self, hide: Callable[[Any], Any], case: str) -> None:
        hidden = json.dumps(hide(SECRETS_IN_DATA[case]))
        assert HIDDEN in hidden
        assert X not in hidden
        assert "987654" not in hidden
        assert json.dumps(hide(json.loads(hidden))) == hidden

    @pytest.mark.parametrize("value", SHOWN_IN_DATA)
    def test_values_that_are_not_secrets_are_shown(self, hide: Callable[[Any], Any], value: Any) -> None:
        assert hide(value) == value


def test_a_result_keeps_the_fields_below_a_secrets_name() -> None:
    assert hide_in_data({"password": {"old": X, "at": [1, X]}}) == {"password": {"old": HIDDEN, "at": [1, HIDDEN]}}
    assert hide_in_data({"pass": 12, "token": 3, "auth": 1.5}) == {"pass": 12, "token": 3, "auth": 1.5}


def test_a_results_keys_and_tuples_are_searched() -> None:
    given = {None: ({"password": X}, [1.5]), 1: f"refresh_token={X}", f"refresh_token={X}": 1, "access_token": (X,)}
    found = hide_in_data(given)
    assert found[None] == ({"password": HIDDEN}, [1.5])
    assert found[1] == f"refresh_token={HIDDEN}"
    assert found[f"refresh_token={HIDDEN}"] == 1
    assert found["access_token"] == (HIDDEN,)
    assert X not in json.dumps(found)


@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner, inner)])
def test_a_result_that_is_nested_too_deeply_is_stored_with_a_note(make: Callable[[Any], Any]) -> None:
    value: Any = 1
    for _ in range(18 if make(1) == (1, 1) else 5_000):
        value = make(value)
    kept = json.dumps(hide_in_data(value))
    assert ("nested too deeply" in kept) == (make(1) != (1, 1))


def test_a_result_that_contains_itself_ends() -> None:
    value: list[Any] = []
    value += [value, value]
    assert "nested too deeply" in json.dumps(hide_in_data(value))
