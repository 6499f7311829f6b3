"""Market orders: they are placed, repriced, gradually filled, and then disappear, expire or are cancelled."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .characters import Character, World
from .draws import DAY, HOUR, Row, days_until, draw, iso
from .universe import GOODS

HISTORY_DAYS = 90
MAX_ORDER_DAYS = 90
ORDERS_PER_DAY = {"trader": (5, 12), "miner": (0, 1), "industrialist": (1, 4), "hunter": (0, 1), "explorer": (0, 2)}
DURATIONS_DAYS = (1, 3, 7, 14, 30, 90)


@dataclass(frozen=True)
class Order:
    """An order's complete life cycle; `outcome` is filled, cancelled or expired."""

    order_id: int
    type_id: int
    is_buy: bool
    price_cents: int
    volume_total: int
    placed_s: int
    duration_days: int
    repriced_s: tuple[int, ...]
    ends_s: int
    outcome: str
    sold_share: float


def open_orders(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/orders`: the open orders; a filled order is simply gone."""
    orders = _orders(world, character, now_s, MAX_ORDER_DAYS)
    return [_row(character, order, now_s) for order in orders if order.placed_s <= now_s < order.ends_s]


def order_history(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/orders/history`: orders cancelled or expired in the last 90 days, the last ended first."""
    since_s = now_s - HISTORY_DAYS * DAY
    ended = [
        order
        for order in _orders(world, character, now_s, HISTORY_DAYS + MAX_ORDER_DAYS)
        if order.outcome != "filled" and since_s <= order.ends_s <= now_s
    ]
    ended.sort(key=lambda order: (order.ends_s, order.order_id), reverse=True)
    return [{**_row(character, order, order.ends_s), "state": order.outcome} for order in ended]


def orders_placed(world: World, character: Character, since_s: int, until_s: int) -> list[Order]:
    """Return all orders that were placed in a time, also those that no response has had."""
    days = (until_s - since_s) // DAY + 1
    return [order for order in _orders(world, character, until_s, days) if since_s <= order.placed_s <= until_s]


def _orders(world: World, character: Character, now_s: int, days: int) -> list[Order]:
    return [order for day in days_until(now_s, days) for order in _placed_on(world, character, day)]


def _placed_on(world: World, character: Character, day: int) -> list[Order]:
    def make() -> list[Order]:
        rng = draw(world.seed, "orders", character.index, day)
        count = rng.randint(*ORDERS_PER_DAY[character.profession])
        return [_order(character, day, index, rng) for index in range(count)]

    return world.once(("orders", character.index, day), make)


def _order(character: Character, day: int, index: int, rng: random.Random) -> Order:
    item = rng.choice(GOODS)
    placed_s = day * DAY + rng.randrange(DAY)
    duration_days = rng.choice(DURATIONS_DAYS)
    expires_s = placed_s + duration_days * DAY
    outcome = rng.choices(("filled", "cancelled", "expired"), (6, 1, 3))[0]
    ends_s = expires_s if outcome == "expired" else rng.randrange(placed_s + HOUR, expires_s)
    return Order(
        order_id=5_000_000_000 + (day * 4096 + character.index) * 16 + index,
        type_id=item.type_id,
        is_buy=rng.random() < 0.45,
        price_cents=max(1, int(item.price_cents * rng.uniform(0.9, 1.15))),
        volume_total=max(1, int(character.wealth_cents * rng.uniform(0.002, 0.03)) // item.price_cents),
        placed_s=placed_s,
        duration_days=duration_days,
        repriced_s=tuple(sorted(rng.randrange(placed_s, ends_s) for _ in range(rng.randrange(4)))),
        ends_s=ends_s,
        outcome=outcome,
        sold_share=1.0 if outcome == "filled" else rng.uniform(0.0, 0.9),
    )


def _row(character: Character, order: Order, now_s: int) -> Row:
    repricings = [moment for moment in order.repriced_s if moment <= now_s]
    price_cents = max(1, order.price_cents + len(repricings) * (1 if order.is_buy else -1))
    remain = _volume_remain(order, now_s)
    row: Row = {
        "duration": order.duration_days,
        "is_corporation": False,
        "issued": iso(repricings[-1] if repricings else order.placed_s),
        "location_id": character.home.station_id,
        "order_id": order.order_id,
        "price": price_cents / 100,
        "range": "station" if order.is_buy else "region",
        "region_id": character.home.region_id,
        "type_id": order.type_id,
        "volume_remain": remain,
        "volume_total": order.volume_total,
    }
    if order.is_buy:
        row |= {"escrow": price_cents * remain / 100, "is_buy_order": True, "min_volume": 1}
    return row


def _volume_remain(order: Order, now_s: int) -> int:
    """Return the remaining volume, which falls every quarter of an hour; an open order has at least one left."""
    lived_s = (min(now_s, order.ends_s) - order.placed_s) // 900 * 900
    sold = int(order.volume_total * order.sold_share * lived_s / (order.ends_s - order.placed_s))
    return max(1, order.volume_total - sold)
