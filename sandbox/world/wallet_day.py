"""One wallet on one day: trades, fees, bounties, gifts, and the unbroken chain of balances.

A day's opening balance is a function of the day alone; the last row of each day brings the balance to the next day's
opening. So every day can be made without the days before it, and the chain still holds over any number of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .characters import Character, World
from .draws import DAY, Row, draw, iso
from .universe import AGENTS, CONCORD, GOODS, NEARBY_SYSTEMS, PEND_INSURANCE
from .universe import SECURE_COMMERCE_COMMISSION as TAX_OFFICE

LAUNCH_S = 1_052_179_200
# Each character acts in seconds of its own (second % 64 == index % 64), so that ids made of seconds are unique.
STRIDE_S = 64
MOMENTS_A_DAY = DAY // STRIDE_S
CLOSING_SLOT, TRANSFER_SLOT = 30, 31
SALES_TAX = 0.0337
BROKERS_FEE = 0.015
CORPORATION_TAX = 0.1
EVENTS_A_DAY = {
    "trader": (70, 110),
    "miner": (3, 9),
    "industrialist": (10, 24),
    "hunter": (12, 36),
    "explorer": (3, 10),
}


@dataclass(frozen=True)
class Entry:
    """One line of a journal before its balance is known; money in hundredths of an ISK."""

    id: int
    second: int
    ref_type: str
    amount_cents: int
    description: str
    first_party_id: int
    second_party_id: int
    context: tuple[str, int] | None = None
    reason: str = ""
    tax: tuple[int, int] | None = None


@dataclass(frozen=True)
class WalletDay:
    """What happened in one wallet on one UTC day, in the order of time: journal and transactions with their seconds."""

    opening_cents: int
    journal: tuple[tuple[int, Row], ...]
    transactions: tuple[tuple[int, Row], ...]


def make_day(world: World, character: Character, day: int) -> WalletDay:
    """Make the UTC day with this number (days since the Unix epoch) for one character."""
    luck = draw(world.seed, "wallet", character.index, day)
    entries: list[Entry] = []
    trades: list[tuple[int, Row]] = []
    moments = sorted(luck.sample(range(MOMENTS_A_DAY - 1), luck.randint(*EVENTS_A_DAY[character.profession])))
    for moment in moments:
        second = day * DAY + moment * STRIDE_S + character.index % STRIDE_S
        if luck.random() < _share_of_trades(character):
            entries += _trade(character, second, luck, trades)
        else:
            entries.append(_living(character, second, luck))
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


def _share_of_trades(character: Character) -> float:
    return {"trader": 0.97, "miner": 0.8, "industrialist": 0.7, "hunter": 0.1, "explorer": 0.75}[character.profession]


def _row_id(character: Character, second: int, slot: int) -> int:
    return ((second - LAUNCH_S) * 64 + character.index // STRIDE_S) * 32 + slot


def _trade(character: Character, second: int, luck: random.Random, trades: list[tuple[int, Row]]) -> Iterator[Entry]:
    item = luck.choice(GOODS)
    price_cents = max(1, int(item.price_cents * luck.uniform(0.93, 1.09)))
    quantity = max(1, int(character.wealth_cents * luck.uniform(0.0002, 0.006)) // price_cents)
    worth_cents = price_cents * quantity
    is_buy = luck.random() < (0.5 if character.profession == "trader" else 0.25)
    client_id = 90_000_000 + luck.randrange(7_000_000)
    slot = 0
    if luck.random() < 0.35:
        yield _brokers_fee(character, second, worth_cents)
        slot = 1
    journal_id = _row_id(character, second, slot)
    transaction_id = journal_id - 100_000_000_000
    buyer, seller = (character.character_id, client_id) if is_buy else (client_id, character.character_id)
    yield Entry(
        id=journal_id,
        second=second,
        ref_type="market_transaction",
        amount_cents=-worth_cents if is_buy else worth_cents,
        description=f"Market: {quantity} x {item.name} {'bought' if is_buy else 'sold'}",
        first_party_id=buyer,
        second_party_id=seller,
        context=("market_transaction_id", transaction_id),
    )
    if not is_buy:
        yield _sales_tax(character, second, slot + 1, worth_cents)
    trade: Row = {
        "client_id": client_id,
        "date": iso(second),
        "is_buy": is_buy,
        "is_personal": True,
        "journal_ref_id": journal_id,
        "location_id": character.home.station_id,
        "quantity": quantity,
        "transaction_id": transaction_id,
        "type_id": item.type_id,
        "unit_price": price_cents / 100,
    }
    trades.append((second, trade))


def _brokers_fee(character: Character, second: int, worth_cents: int) -> Entry:
    return Entry(
        id=_row_id(character, second, 0),
        second=second,
        ref_type="brokers_fee",
        amount_cents=-max(10_000, int(worth_cents * BROKERS_FEE)),
        description="Market order commission to broker authorized",
        first_party_id=character.character_id,
        second_party_id=character.home.owner_id,
    )


def _sales_tax(character: Character, second: int, slot: int, worth_cents: int) -> Entry:
    return Entry(
        id=_row_id(character, second, slot),
        second=second,
        ref_type="transaction_tax",
        amount_cents=-max(1, int(worth_cents * SALES_TAX)),
        description=f"Sales tax paid to {TAX_OFFICE}",
        first_party_id=character.character_id,
        second_party_id=TAX_OFFICE,
    )


def _living(character: Character, second: int, luck: random.Random) -> Entry:
    """What a wallet sees beside trade: bounties, missions, insurance, industry fees."""
    earned_cents = int(character.wealth_cents * luck.uniform(0.0005, 0.004))
    entry = Entry(
        id=_row_id(character, second, 0),
        second=second,
        ref_type="bounty_prizes",
        amount_cents=earned_cents,
        description=f"{character.name} got bounty prizes for killing pirates in space",
        first_party_id=CONCORD,
        second_party_id=character.character_id,
    )
    chance = luck.random()
    if character.profession == "hunter" and chance < 0.55:
        tax_cents = int(earned_cents * CORPORATION_TAX)
        system_id = luck.choice(NEARBY_SYSTEMS)
        return replace(
            entry,
            amount_cents=earned_cents - tax_cents,
            context=("eve_system", system_id),
            reason=f"{luck.randrange(23_000, 24_000)}: {luck.randint(1, 9)}",
            tax=(tax_cents, character.corporation_id),
        )
    if character.profession == "hunter" and chance < 0.85:
        return _mission(character, entry, luck)
    if character.profession == "industrialist" or chance < 0.5:
        return replace(
            entry,
            ref_type="industry_job_tax",
            amount_cents=-earned_cents // 4,
            description="Job installation tax paid",
            first_party_id=character.character_id,
            second_party_id=character.home.owner_id,
        )
    return replace(
        entry, ref_type="insurance", description="Insurance paid for the loss of a ship", first_party_id=PEND_INSURANCE
    )


def _mission(character: Character, entry: Entry, luck: random.Random) -> Entry:
    agent_id = luck.choice(AGENTS)
    ref_type = luck.choice(("agent_mission_reward", "agent_mission_time_bonus_reward"))
    return replace(entry, ref_type=ref_type, description="Mission reward", first_party_id=agent_id)


def _transfers(world: World, character: Character, day: int) -> Iterator[Entry]:
    """Gifts between inhabitants: one id in two journals with opposite signs, as ESI really does."""
    count = len(world.characters)
    luck = draw(world.seed, "transfers", day)
    if count == 1:
        return
    for moment in luck.sample(range(MOMENTS_A_DAY - 1), min(1 + count // 3, 200)):
        giver, taker = luck.sample(world.characters, 2)
        second = day * DAY + moment * STRIDE_S + giver.index % STRIDE_S
        amount_cents = int(min(giver.wealth_cents, taker.wealth_cents) * luck.uniform(0.001, 0.02))
        if character not in (giver, taker):
            continue
        yield Entry(
            id=_row_id(giver, second, TRANSFER_SLOT),
            second=second,
            ref_type="player_donation",
            amount_cents=amount_cents if character is taker else -amount_cents,
            description=f"{giver.name} deposited cash into {taker.name}'s account",
            first_party_id=giver.character_id,
            second_party_id=taker.character_id,
        )


def _closing(world: World, character: Character, day: int, left_cents: int) -> Entry:
    """The day's last row: to or from the player's alt, whatever leads to the next day's opening."""
    second = day * DAY + (MOMENTS_A_DAY - 1) * STRIDE_S + character.index % STRIDE_S
    amount_cents = _opening_cents(world, character, day + 1) - left_cents
    alt_id = 95_000_000 + character.index
    giver_id, taker_id = (alt_id, character.character_id) if amount_cents >= 0 else (character.character_id, alt_id)
    return Entry(
        id=_row_id(character, second, CLOSING_SLOT),
        second=second,
        ref_type="player_donation",
        amount_cents=amount_cents,
        description=f"{giver_id} deposited cash into {taker_id}'s account",
        first_party_id=giver_id,
        second_party_id=taker_id,
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
