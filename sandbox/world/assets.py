"""Assets: stacks, fitted ships, nested containers, and recent deliveries."""

from __future__ import annotations

import random
from collections.abc import Iterable

from .characters import Character, World
from .draws import HOUR, Row, draw
from .industry import blueprints
from .universe import CONTAINERS, GOODS, MODULES, SHIPS, STATIONS

STACKS = {"trader": 2_300, "miner": 260, "industrialist": 1_250, "hunter": 420, "explorer": 180}
DELIVERY_SLOT_S = 6 * HOUR
DELIVERIES_SEEN = 12


def assets(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/assets`: a snapshot in which `location_id` is a station's id or the container's `item_id`."""
    owned = world.once(("assets", character.index), lambda: _owned(world, character))
    return owned + _blueprint_items(world, character) + _deliveries(world, character, now_s)


def asset_names(world: World, character: Character, now_s: int, item_ids: Iterable[int]) -> list[Row]:
    """Return `POST /assets/names` for those of `item_ids` that the character owns."""
    singletons = {row["item_id"]: row["is_singleton"] for row in assets(world, character, now_s)}
    return [
        {"item_id": item_id, "name": f"Box {item_id % 1_000}" if singletons[item_id] else "None"}
        for item_id in item_ids
        if item_id in singletons
    ]


def asset_locations(world: World, character: Character, now_s: int, item_ids: Iterable[int]) -> list[Row]:
    """Return `POST /assets/locations`; items in stations have no position in space."""
    known = {row["item_id"] for row in assets(world, character, now_s)}
    nowhere = {"x": 0.0, "y": 0.0, "z": 0.0}
    return [{"item_id": item_id, "position": nowhere} for item_id in item_ids if item_id in known]


class _Packer:
    """Creates items with consecutive ids."""

    def __init__(self, character: Character, rng: random.Random) -> None:
        self.rows: list[Row] = []
        self._luck = rng
        self._next_id = 1_020_000_000_000 + character.index * 1_000_000

    def stack(self, location_id: int, flag: str, kind: str) -> int:
        item = self._luck.choice(GOODS)
        return self.put(item.type_id, location_id, flag, kind, quantity=self._luck.randint(1, 50_000))

    def put(self, type_id: int, location_id: int, flag: str, kind: str, *, quantity: int | None = None) -> int:
        """Add one item and return its id; without a quantity it is an assembled singleton."""
        self._next_id += 1
        self.rows.append(
            {
                "is_singleton": quantity is None,
                "item_id": self._next_id,
                "location_flag": flag,
                "location_id": location_id,
                "location_type": kind,
                "quantity": 1 if quantity is None else quantity,
                "type_id": type_id,
            }
        )
        return self._next_id


def _owned(world: World, character: Character) -> list[Row]:
    rng = draw(world.seed, "assets", character.index)
    packer = _Packer(character, rng)
    stations = [character.home, *rng.sample(STATIONS, 3)]
    stacks = STACKS[character.profession]
    while len(packer.rows) < stacks:
        station = rng.choices(stations, (6, 1, 1, 1))[0]
        # ESI's location types have stations but no structures: a player's structure is an "item".
        kind = "item" if station.kind == "structure" else "station"
        chance = rng.random()
        if chance < 0.08:
            _fill_container(packer, rng, packer.put(rng.choice(CONTAINERS), station.station_id, "Hangar", kind))
        elif chance < 0.12:
            _fit_ship(packer, rng, packer.put(rng.choice(SHIPS).type_id, station.station_id, "Hangar", kind))
        else:
            packer.stack(station.station_id, "Hangar", kind)
    return packer.rows


def _fill_container(packer: _Packer, rng: random.Random, container_id: int) -> None:
    for _ in range(rng.randint(1, 12)):
        packer.stack(container_id, "Unlocked", "item")
    if rng.random() < 0.3:
        inner_id = packer.put(rng.choice(CONTAINERS), container_id, "Unlocked", "item")
        for _ in range(rng.randint(1, 4)):
            packer.stack(inner_id, "Unlocked", "item")


def _fit_ship(packer: _Packer, rng: random.Random, ship_id: int) -> None:
    for slot in range(rng.randint(2, 5)):
        packer.put(rng.choice(MODULES), ship_id, f"MedSlot{slot}", "item")
        packer.put(rng.choice(MODULES), ship_id, f"LoSlot{slot}", "item")
    for _ in range(rng.randint(0, 4)):
        packer.stack(ship_id, "Cargo", "item")


def _blueprint_items(world: World, character: Character) -> list[Row]:
    kind = "item" if character.home.kind == "structure" else "station"
    items: list[Row] = []
    for blueprint in blueprints(world, character, 0):
        item: Row = {
            "is_singleton": True,
            "item_id": blueprint["item_id"],
            "location_flag": blueprint["location_flag"],
            "location_id": blueprint["location_id"],
            "location_type": kind,
            "quantity": 1,
            "type_id": blueprint["type_id"],
        }
        items.append(item | {"is_blueprint_copy": True} if blueprint["quantity"] == -2 else item)
    return items


def _deliveries(world: World, character: Character, now_s: int) -> list[Row]:
    """Return a delivered stack for every six hours of the last three days, so that snapshots change over time."""
    newest = now_s // DELIVERY_SLOT_S
    rows: list[Row] = []
    for slot in range(newest - DELIVERIES_SEEN, newest + 1):
        rng = draw(world.seed, "delivery", character.index, slot)
        rows.append(
            {
                "is_singleton": False,
                "item_id": 1_040_000_000_000 + slot * 4096 + character.index,
                "location_flag": "Deliveries",
                "location_id": character.home.station_id,
                "location_type": "item" if character.home.kind == "structure" else "station",
                "quantity": rng.randint(1, 900),
                "type_id": rng.choice(GOODS).type_id,
            }
        )
    return rows
