"""Wallet entries: trades with their fees and taxes, bounties, missions, insurance, industry."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from .characters import Character
from .draws import Row, iso
from .universe import AGENTS, CONCORD, GOODS, NEARBY_SYSTEMS, PEND_INSURANCE, Item
from .universe import SECURE_COMMERCE_COMMISSION as TAX_OFFICE

LAUNCH_S = 1_052_179_200
# Each character uses only certain seconds (second % 64 == index % 64), so that ids derived from seconds are unique.
STRIDE_S = 64
SALES_TAX = 0.0337
BROKERS_FEE = 0.015
CORPORATION_TAX = 0.1


@dataclass(frozen=True)
class Entry:
    """One journal line without its balance; money in hundredths of an ISK."""

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
class Trade:
    """One market trade: its transaction and its journal lines."""

    entries: tuple[Entry, ...]
    transaction: Row


def row_id(character: Character, second: int, slot: int) -> int:
    """Return a journal id that is unique across characters and increases with time; a second has 32 slots."""
    return ((second - LAUNCH_S) * 64 + character.index // STRIDE_S) * 32 + slot


def trade(character: Character, second: int, rng: random.Random) -> Trade:
    """Generate one trade: sometimes with a broker's fee before it, and with sales tax after a sale."""
    item = rng.choice(GOODS)
    price_cents = max(1, int(item.price_cents * rng.uniform(0.93, 1.09)))
    quantity = max(1, int(character.wealth_cents * rng.uniform(0.0002, 0.006)) // price_cents)
    worth_cents = price_cents * quantity
    is_buy = rng.random() < (0.5 if character.profession == "trader" else 0.25)
    client_id = 90_000_000 + rng.randrange(7_000_000)
    before = [_brokers_fee(character, second, worth_cents)] if rng.random() < 0.35 else []
    after = [] if is_buy else [_sales_tax(character, second, len(before) + 1, worth_cents)]
    journal_id = row_id(character, second, len(before))
    deal = _deal(character, second, item, quantity, worth_cents, client_id, is_buy=is_buy, journal_id=journal_id)
    transaction: Row = {
        "client_id": client_id,
        "date": iso(second),
        "is_buy": is_buy,
        "is_personal": True,
        "journal_ref_id": journal_id,
        "location_id": character.home.station_id,
        "quantity": quantity,
        "transaction_id": _transaction_id(journal_id),
        "type_id": item.type_id,
        "unit_price": price_cents / 100,
    }
    return Trade((*before, deal, *after), transaction)


def _deal(
    character: Character,
    second: int,
    item: Item,
    quantity: int,
    worth_cents: int,
    client_id: int,
    *,
    is_buy: bool,
    journal_id: int,
) -> Entry:
    return Entry(
        id=journal_id,
        second=second,
        ref_type="market_transaction",
        amount_cents=-worth_cents if is_buy else worth_cents,
        description=f"Market: {quantity} x {item.name} {'bought' if is_buy else 'sold'}",
        first_party_id=character.character_id if is_buy else client_id,
        second_party_id=client_id if is_buy else character.character_id,
        context=("market_transaction_id", _transaction_id(journal_id)),
    )


def _transaction_id(journal_id: int) -> int:
    return journal_id - 100_000_000_000


def _brokers_fee(character: Character, second: int, worth_cents: int) -> Entry:
    return Entry(
        id=row_id(character, second, 0),
        second=second,
        ref_type="brokers_fee",
        amount_cents=-max(10_000, int(worth_cents * BROKERS_FEE)),
        description="Market order commission to broker authorized",
        first_party_id=character.character_id,
        second_party_id=character.home.owner_id,
    )


def _sales_tax(character: Character, second: int, slot: int, worth_cents: int) -> Entry:
    return Entry(
        id=row_id(character, second, slot),
        second=second,
        ref_type="transaction_tax",
        amount_cents=-max(1, int(worth_cents * SALES_TAX)),
        description=f"Sales tax paid to {TAX_OFFICE}",
        first_party_id=character.character_id,
        second_party_id=TAX_OFFICE,
    )


def other_income(character: Character, second: int, rng: random.Random) -> Entry:
    """Generate an entry other than a trade: a bounty or mission for hunters, an industry fee, or insurance."""
    earned_cents = int(character.wealth_cents * rng.uniform(0.0005, 0.004))
    chance = rng.random()
    paid = Entry(
        id=row_id(character, second, 0),
        second=second,
        ref_type="insurance",
        amount_cents=earned_cents,
        description="Insurance paid for the loss of a ship",
        first_party_id=PEND_INSURANCE,
        second_party_id=character.character_id,
    )
    if character.profession == "hunter" and chance < 0.55:
        return _bounty(character, paid, rng)
    if character.profession == "hunter" and chance < 0.85:
        return _mission(paid, rng)
    if character.profession == "industrialist" or chance < 0.5:
        return _industry_tax(character, paid)
    return paid


def _bounty(character: Character, paid: Entry, rng: random.Random) -> Entry:
    tax_cents = int(paid.amount_cents * CORPORATION_TAX)
    return replace(
        paid,
        ref_type="bounty_prizes",
        amount_cents=paid.amount_cents - tax_cents,
        description=f"{character.name} got bounty prizes for killing pirates",
        first_party_id=CONCORD,
        context=("eve_system", rng.choice(NEARBY_SYSTEMS)),
        reason=f"{rng.randrange(23_000, 24_000)}: {rng.randint(1, 9)}",
        tax=(tax_cents, character.corporation_id),
    )


def _mission(paid: Entry, rng: random.Random) -> Entry:
    ref_type = rng.choice(("agent_mission_reward", "agent_mission_time_bonus_reward"))
    return replace(paid, ref_type=ref_type, description="Mission reward", first_party_id=rng.choice(AGENTS))


def _industry_tax(character: Character, paid: Entry) -> Entry:
    return replace(
        paid,
        ref_type="industry_job_tax",
        amount_cents=-paid.amount_cents // 4,
        description="Job installation tax paid",
        first_party_id=character.character_id,
        second_party_id=character.home.owner_id,
    )
