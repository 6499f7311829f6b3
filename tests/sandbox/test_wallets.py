"""Wallets: continuous balances, matching ids, rows that appear over time."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from typing import Any, cast

import pytest

from sandbox.world import wallet
from sandbox.world.characters import World
from sandbox.world.draws import DAY, iso

from .conftest import CHARACTERS, NOW_S

Rows = list[dict[str, Any]]


def journal(world: World, index: int, now_s: int = NOW_S) -> Rows:
    """Return a journal, oldest first."""
    return cast(Rows, wallet.journal(world, world.characters[index], now_s))[::-1]


@pytest.mark.parametrize("index", range(CHARACTERS))
def test_each_balance_is_the_previous_one_plus_the_amount(world: World, index: int) -> None:
    rows = journal(world, index)
    assert len(rows) > 100
    for before, row in itertools.pairwise(rows):
        assert round(before["balance"] + row["amount"], 2) == row["balance"], row
    assert min(row["balance"] for row in rows) > 0
    assert wallet.balance(world, world.characters[index], NOW_S) == rows[-1]["balance"]


@pytest.mark.parametrize("index", range(CHARACTERS))
def test_ids_are_unique_and_increase_with_time(world: World, index: int) -> None:
    rows = journal(world, index)
    ids = [row["id"] for row in rows]
    assert ids == sorted(set(ids))
    assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)


def test_a_traders_journal_has_thousands_of_rows_from_the_last_30_days(world: World) -> None:
    rows = journal(world, 0)
    assert 3_000 < len(rows) < 9_000
    assert iso(NOW_S - 30 * DAY) <= rows[0]["date"] < iso(NOW_S - 29 * DAY)
    kinds = Counter(row["ref_type"] for row in rows)
    assert {"market_transaction", "transaction_tax", "brokers_fee", "player_donation"} <= set(kinds)


@pytest.mark.parametrize("index", range(CHARACTERS))
def test_every_transaction_has_its_journal_row(world: World, index: int) -> None:
    rows = {row["id"]: row for row in journal(world, index)}
    trades = cast(Rows, wallet.transactions(world, world.characters[index], NOW_S))
    assert len(trades) == sum(row["ref_type"] == "market_transaction" for row in rows.values())
    for trade in trades:
        row = rows[trade["journal_ref_id"]]
        assert (row["ref_type"], row["context_id"]) == ("market_transaction", trade["transaction_id"])
        sign = -1 if trade["is_buy"] else 1
        assert row["amount"] == pytest.approx(sign * trade["quantity"] * trade["unit_price"], abs=0.01)


def test_a_gift_has_one_id_in_two_journals_with_opposite_signs(world: World) -> None:
    statuses: dict[int, list[float]] = {}
    for index in range(CHARACTERS):
        for row in journal(world, index):
            statuses.setdefault(row["id"], []).append(row["amount"])
    shared = [amounts for amounts in statuses.values() if len(amounts) > 1]
    assert len(shared) > 30
    assert all(len(amounts) == 2 and amounts[0] == -amounts[1] for amounts in shared)


def test_time_adds_rows_at_the_new_end_and_changes_none(world: World) -> None:
    earlier, later = journal(world, 0), journal(world, 0, NOW_S + 3 * DAY)
    known = {row["id"]: row for row in earlier}
    remaining = [row for row in later if row["id"] in known]
    assert all(known[row["id"]] == row for row in remaining)
    assert later[: len(remaining)] == remaining
    assert len(later) > len(remaining) > 2_000


def test_a_journal_generated_later_equals_one_generated_day_by_day(world: World) -> None:
    fresh = World(seed=7, characters=CHARACTERS)
    assert journal(fresh, 0, NOW_S + 40 * DAY) == journal(world, 0, NOW_S + 40 * DAY)


def test_another_seed_is_another_world(world: World) -> None:
    other = World(seed=8, characters=CHARACTERS)
    assert {each.character_id for each in other.characters}.isdisjoint(each.character_id for each in world.characters)


def test_another_process_generates_the_same_world(world: World) -> None:
    program = (
        "from sandbox.world import wallet; from sandbox.world.characters import World; "
        f"w = World(seed=7, characters={CHARACTERS}); print(wallet.journal(w, w.characters[3], {NOW_S})[:50])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout.strip() == str(wallet.journal(world, world.characters[3], NOW_S)[:50])
