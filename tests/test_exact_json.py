from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nomad_actors import exact_json

AMOUNTS = st.integers().map(lambda hundredths: Decimal(hundredths).scaleb(-2))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | AMOUNTS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_written_is_read_unchanged(value: Any) -> None:
    assert exact_json.loads(exact_json.dumps(value)) == value


@pytest.mark.parametrize("text", ["0.10", "12345678901234567.89", "-0.01", "1E+400", "5.000", "1E-999999999"])
def test_a_fraction_keeps_its_text(text: str) -> None:
    assert exact_json.dumps(exact_json.loads(f"[{text}]")) == f"[{text}]"


@pytest.mark.parametrize("text", ["9" * 5_000, "1e99999999999999999999", "Infinity"])
def test_a_number_that_cannot_be_represented_spoils_no_other(text: str) -> None:
    assert exact_json.loads(f'[{text}, 0.5, {{"a": 7}}]') == [math.inf, Decimal("0.5"), {"a": 7}]


@pytest.mark.parametrize("text", ["", "[", "{'a': 1}", "[1,]", "01", "\ufeff"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|BOM|delimiter|value"):
        exact_json.loads(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_nan_and_infinity_are_written_only_where_allowed(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        exact_json.dumps(value)
    assert exact_json.dumps(value, allow_nan=True).strip("[]-") in ("NaN", "Infinity")


def test_keys_are_sorted_on_request() -> None:
    assert exact_json.dumps({"b": Decimal("1.10"), "a": "\ud800"}, sort_keys=True) == '{"a":"\\ud800","b":1.10}'
