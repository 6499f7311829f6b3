"""Random ledgers, read at random times with random rows set aside: no time is claimed that lacks a row that existed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nomad_actors.clock import ManualClock
from nomad_actors.esi import EsiResponse
from nomad_actors.esi.response import SetAside
from nomad_actors.store import Store
from nomad_actors.store.history import JOURNAL
from nomad_actors.store.history.completeness import Completeness, completeness
from nomad_actors.store.schema import wallet_journal

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS = 1_793_491_200_000
_CHARACTERS = itertools.count(90000001)


@dataclass
class Esi:
    """A journal and what ESI shows of it: 30 days, without the second that is not over."""

    entries: list[dict[str, Any]]
    hidden: set[int] = field(default_factory=set)

    def shown(self, read_ms: int, as_of_ms: int) -> list[dict[str, Any]]:
        since_ms = read_ms - 30 * DAY_MS
        return [each for each in self.entries if since_ms < _ms(each) < as_of_ms and each["id"] not in self.hidden]


def _ms(entry: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(entry["date"]).timestamp() * 1000)


def _set(clock: ManualClock, now_ms: int) -> None:
    clock.advance(seconds=(now_ms - clock.now_ms()) / 1000)


def _ledger(source: random.Random, days: int) -> list[dict[str, Any]]:
    """Return entries, several of them often in the same second, whose amounts often cancel each other."""
    entries, balance, at_ms = [], Decimal(0), START_MS - 40 * DAY_MS
    for number in itertools.count(1):
        at_ms += source.choice([0, 0, 1_000, HOUR_MS, DAY_MS, 5 * DAY_MS])
        if at_ms > START_MS + days * DAY_MS:
            return entries
        amount = Decimal(source.choice([-1, 0, 1, -250, 300])) / 100
        balance += amount
        date = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        money = {"amount": amount, "balance": balance}
        without = source.choice([(), (), (), (), ("amount",), ("balance",), ("amount", "balance")])
        known = {name: value for name, value in money.items() if name not in without}
        entries.append({"id": number, "date": date, "ref_type": "x", "description": "d", **known})
    raise AssertionError


@dataclass
class Run:
    """One character whose journal is read from `esi`."""

    store: Store
    clock: ManualClock
    esi: Esi
    character_id: int
    #: The document that is stored, and its time.
    shown: Any = None
    as_of_ms: int = 0

    def read(self, *, lag_ms: int = 0, lost: Callable[[dict[str, Any]], Any] = lambda _entry: None) -> None:
        """Save a response, or a 304 if nothing changed; `lost` returns what is set aside instead of an entry."""
        now_ms = self.clock.now_ms()
        as_of_ms = now_ms - lag_ms
        pairs = [(each, lost(each)) for each in self.esi.shown(now_ms, as_of_ms)]
        aside = tuple(SetAside(bad, "bad", is_stored=False) for _, bad in pairs if bad is not None)
        body = [each for each, bad in pairs if bad is None]
        times = {"as_of_ms": as_of_ms, "next_due_ms": 0}
        if lag_ms == 0 and (body, aside) == self.shown:
            confirmed = EsiResponse(304, True, None, None, None, now_ms, 1, None)
            self.store.documents.renew(self.character_id, JOURNAL, confirmed, **times)
            self.as_of_ms = as_of_ms
            return
        response = EsiResponse(200, False, body[::-1], None, None, now_ms, 1, None, aside)
        self.store.documents.save(self.character_id, JOURNAL, response, **times)
        if as_of_ms >= self.as_of_ms:
            self.shown, self.as_of_ms = (body, aside), as_of_ms

    def completeness(self) -> Completeness:
        with self.store.database.read() as connection:
            return completeness(connection, self.character_id, self.clock.now_ms())["wallet_journal"]

    def missing(self) -> Iterator[dict[str, Any]]:
        query = sa.select(wallet_journal.c.id).where(wallet_journal.c.character_id == self.character_id)
        with self.store.database.read() as connection:
            stored = set(connection.execute(query).scalars())
        return (each for each in self.esi.entries if each["id"] not in stored)


def _is_claimed(found: Completeness, at_ms: int) -> bool:
    if found.complete_since_ms is None or found.complete_until_ms is None:
        return False
    within = found.complete_since_ms <= at_ms < found.complete_until_ms
    return within and not any(hole.from_ms <= at_ms <= hole.until_ms for hole in found.holes)


@pytest.fixture
def run(store: Store, clock: ManualClock, save_login: Callable[..., None]) -> Callable[[Esi], Run]:
    """`run(esi)`: a new character."""

    def begin(esi: Esi) -> Run:
        character_id = next(_CHARACTERS)
        save_login(character_id)
        _set(clock, START_MS)
        return Run(store, clock, esi, character_id)

    return begin


def _spoil(source: random.Random) -> Callable[[dict[str, Any]], Any]:
    spoiled: dict[int, Any] = {}

    def bad(entry: dict[str, Any]) -> Any:
        kinds = [entry | {"description": 5}, {"date": entry["date"]}, {"id": entry["id"]}, None, "text"]
        if source.random() < 0.02:
            spoiled[entry["id"]] = source.choice(kinds)
        return spoiled.get(entry["id"])

    return bad


_RANDOM = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_RANDOM
@given(seed=st.integers(0, 2**32))
def test_no_time_is_claimed_that_lacks_an_entry(seed: int, run: Callable[[Esi], Run]) -> None:
    source = random.Random(seed)
    character = run(Esi(_ledger(source, days=200)))
    spoiled = _spoil(source)
    while character.clock.now_ms() < START_MS + 200 * DAY_MS:
        lag_ms = source.choice([0, 0, 0, HOUR_MS, 3 * DAY_MS])
        character.read(lag_ms=lag_ms, lost=source.choice([lambda _entry: None, spoiled]))
        found = character.completeness()
        claimed = [each for each in character.missing() if _is_claimed(found, _ms(each))]
        assert claimed == [], found
        pause_ms = source.choice([0, HOUR_MS, DAY_MS, 10 * DAY_MS, 29 * DAY_MS, 31 * DAY_MS, 45 * DAY_MS])
        character.clock.advance(seconds=pause_ms / 1000)


@_RANDOM
@given(seed=st.integers(0, 2**32))
def test_everything_that_esi_shows_in_time_is_complete_in_the_end(seed: int, run: Callable[[Esi], Run]) -> None:
    source = random.Random(seed)
    character = run(Esi(_ledger(source, days=60)))
    spoiled = _spoil(source)
    while character.clock.now_ms() < START_MS + 50 * DAY_MS:
        character.read(lag_ms=source.choice([0, 0, HOUR_MS]), lost=source.choice([lambda _entry: None, spoiled]))
        character.clock.advance(seconds=source.choice([HOUR_MS, DAY_MS, 10 * DAY_MS]) / 1000)
    _set(character.clock, START_MS + 55 * DAY_MS)
    character.read()
    found, now_ms = character.completeness(), character.clock.now_ms()
    assert (found.complete_since_ms or now_ms) <= now_ms - 30 * DAY_MS + 1_000
    assert found.complete_until_ms == now_ms
    assert not any(hole.can_be_filled for hole in found.holes)
    assert {hole.cause for hole in found.holes} <= {"set_aside"}
    assert not any(_is_claimed(found, _ms(each)) for each in character.missing())


@_RANDOM
@given(seed=st.integers(0, 2**32))
def test_an_entry_that_esi_hides_is_found_by_the_balances(seed: int, run: Callable[[Esi], Run]) -> None:
    source = random.Random(seed)
    esi = Esi([each for each in _ledger(source, days=25) if {"amount", "balance"} <= each.keys()])
    balance = Decimal(0)
    for each in esi.entries:
        balance += each["amount"]
        each["balance"] = balance
    character = run(esi)
    shown = esi.shown(START_MS + 20 * DAY_MS, START_MS + 20 * DAY_MS)
    hidden = [each for each in shown[1:-1:2] if each["amount"] and source.random() < 0.2]
    esi.hidden = {each["id"] for each in hidden}
    for _ in range(3):
        character.read()
        character.clock.advance(seconds=10 * DAY_MS / 1000)
    _set(character.clock, START_MS + 20 * DAY_MS)
    character.read()
    found = character.completeness()
    assert [each for each in hidden if _is_claimed(found, _ms(each))] == []
    esi.hidden.clear()
    character.clock.advance(seconds=60)
    character.read()
    assert character.completeness().holes == ()
