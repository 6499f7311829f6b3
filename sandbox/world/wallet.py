"""Wallets: journal, market transactions, balance, loyalty points."""

from __future__ import annotations

from .characters import Character, World
from .draws import DAY, Row, days_until, draw
from .universe import LOYALTY_CORPORATIONS
from .wallet_day import WalletDay, make_day

JOURNAL_DAYS = 30


def journal(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/wallet/journal`: the last 30 days, newest first."""
    since_s = now_s - JOURNAL_DAYS * DAY
    days = (_day(world, character, day) for day in days_until(now_s, JOURNAL_DAYS))
    return [row for day in days for second, row in day.journal if since_s <= second <= now_s][::-1]


def transactions(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/wallet/transactions`: the last 30 days, newest first."""
    since_s = now_s - JOURNAL_DAYS * DAY
    days = (_day(world, character, day) for day in days_until(now_s, JOURNAL_DAYS))
    return [row for day in days for second, row in day.transactions if since_s <= second <= now_s][::-1]


def balance(world: World, character: Character, now_s: int) -> float:
    """Return `/wallet`: the balance of the newest journal row."""
    today = _day(world, character, now_s // DAY)
    past = [row["balance"] for second, row in today.journal if second <= now_s]
    newest = past[-1] if past else today.opening_cents / 100
    assert isinstance(newest, float)
    return newest


def loyalty_points(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/loyalty/points`; mission runners earn some every day."""
    rng = draw(world.seed, "loyalty", character.index)
    earned_per_day = 900 if character.profession == "hunter" else 40
    days = (now_s - character.birthday_s) // DAY
    return [
        {"corporation_id": corporation_id, "loyalty_points": rng.randrange(100, 60_000) + days * earned_per_day // 7}
        for corporation_id in sorted(rng.sample(LOYALTY_CORPORATIONS, rng.randrange(1, 5)))
    ]


def _day(world: World, character: Character, day: int) -> WalletDay:
    return world.once(("wallet", character.index, day), lambda: make_day(world, character, day))
