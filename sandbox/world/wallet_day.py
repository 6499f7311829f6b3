"""One wallet on one day: its entries, gifts between characters, and continuous balances.

A day's opening balance depends only on the day; the last row of each day brings the balance to the next day's opening.
So each day can be generated without the earlier ones, and the balances are still continuous over any number of days.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .characters import Character, World
from .draws import DAY, Row, draw, iso
from .wallet_entries import STRIDE_S, Entry, other_income, row_id, trade

MOMENTS_PER_DAY = DAY // STRIDE_S
CLOSING_SLOT, TRANSFER_SLOT = 30, 31
SHARE_OF_TRADES = {"trader": 0.97, "miner": 0.8, "industrialist": 0.7, "hunter": 0.1, "explorer": 0.75}
EVENTS_PER_DAY = {
    "trader": (70, 110),
    "miner": (3, 9),
    "industrialist": (10, 24),
    "hunter": (12, 36),
    "explorer": (3, 10),
}


@dataclass(frozen=True)
class WalletDay:
    """One wallet on one UTC day, in chronological order: journal and transactions with their seconds."""

    opening_cents: int
    journal: tuple[tuple[int, Row], ...]
    transactions: tuple[tuple[int, Row], ...]


def make_day(world: World, character: Character, day: int) -> WalletDay:
    """Generate a UTC day (number of days since the Unix epoch) for one character."""
    rng = draw(world.seed, "wallet", character.index, day)
    entries: list[Entry] = []
    trades: list[tuple[int, Row]] = []
    moments = sorted(rng.sample(range(MOMENTS_PER_DAY - 1), rng.randint(*EVENTS_PER_DAY[character.profession])))
    for moment in moments:
        second = day * DAY + moment * STRIDE_S + character.index % STRIDE_S
        if rng.random() < SHARE_OF_TRADES[character.profession]:
            traded = trade(character, second, rng)
            entries += traded.entries
            trades.append((second, traded.transaction))
        else:
            entries.append(other_income(character, second, rng))
    entries += _transfers(world, character, day)
    entries.sort(key=lambda entry: entry.id)
    opening_cents = _opening_cents(world, character, day)
    left_cents = opening_cents + sum(entry.amount_cents for entry in entries)
    entries.append(_closing(world, character, day, left_cents))
    return WalletDay(opening_cents, tuple(_with_balances(entries, opening_cents)), tuple(trades))


def _opening_cents(world: World, character: Character, day: int) -> int:
    season = math.sin(2 * math.pi * (day + character.index * 5) / 29)
    mood = draw(world.seed, "opening", character.index, day).uniform(0.97, 1.03)
    return int(character.wealth_cents * (1 + 0.15 * season) * mood)


def _transfers(world: World, character: Character, day: int) -> Iterator[Entry]:
    """Yield gifts between characters: one id in two journals with opposite signs, as in the real ESI."""
    count = len(world.characters)
    rng = draw(world.seed, "transfers", day)
    if count == 1:
        return
    for moment in rng.sample(range(MOMENTS_PER_DAY - 1), min(1 + count // 3, 200)):
        giver, receiver = rng.sample(world.characters, 2)
        second = day * DAY + moment * STRIDE_S + giver.index % STRIDE_S
        amount_cents = int(min(giver.wealth_cents, receiver.wealth_cents) * rng.uniform(0.001, 0.02))
        if character not in (giver, receiver):
            continue
        yield Entry(
            id=row_id(giver, second, TRANSFER_SLOT),
            second=second,
            ref_type="player_donation",
            amount_cents=amount_cents if character is receiver else -amount_cents,
            description=f"{giver.name} deposited cash into {receiver.name}'s account",
            first_party_id=giver.character_id,
            second_party_id=receiver.character_id,
        )


def _closing(world: World, character: Character, day: int, left_cents: int) -> Entry:
    """Return the day's last row: a transfer to or from the player's alt that leads to the next day's opening."""
    second = day * DAY + (MOMENTS_PER_DAY - 1) * STRIDE_S + character.index % STRIDE_S
    amount_cents = _opening_cents(world, character, day + 1) - left_cents
    alt_id = 95_000_000 + character.index
    giver_id, receiver_id = (alt_id, character.character_id) if amount_cents >= 0 else (character.character_id, alt_id)
    return Entry(
        id=row_id(character, second, CLOSING_SLOT),
        second=second,
        ref_type="player_donation",
        amount_cents=amount_cents,
        description=f"{giver_id} deposited cash into {receiver_id}'s account",
        first_party_id=giver_id,
        second_party_id=receiver_id,
        reason="settling up",
    )


def _with_balances(entries: list[Entry], opening_cents: int) -> Iterator[tuple[int, Row]]:
    balance_cents = opening_cents
    for entry in entries:
        balance_cents += entry.amount_cents
        yield entry.second, _journal_row(entry, balance_cents)


def _journal_row(entry: Entry, balance_cents: int) -> Row:
    row: Row = {
        "amount": entry.amount_cents / 100,
        "balance": balance_cents / 100,
        "date": iso(entry.second),
        "description": entry.description,
        "first_party_id": entry.first_party_id,
        "id": entry.id,
        "reason": entry.reason,
        "ref_type": entry.ref_type,
        "second_party_id": entry.second_party_id,
    }
    if entry.context is not None:
        row["context_id_type"], row["context_id"] = entry.context
    if entry.tax is not None:
        row["tax"], row["tax_receiver_id"] = entry.tax[0] / 100, entry.tax[1]
    return row
