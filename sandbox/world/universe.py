"""Stations, items and NPCs with the game's ids, as far as the simulated characters need them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Station:
    """An NPC station, or a player's structure (id above 10^12)."""

    station_id: int
    system_id: int
    region_id: int
    owner_id: int
    name: str

    @property
    def kind(self) -> str:
        """ESI's location type: "station" or "structure"."""
        return "structure" if self.station_id > 1_000_000_000_000 else "station"


@dataclass(frozen=True)
class Item:
    """An item type and its price in hundredths of an ISK."""

    type_id: int
    name: str
    price_cents: int


STATIONS = (
    Station(60003760, 30000142, 10000002, 1000035, "Jita IV - Moon 4 - Caldari Navy Assembly Plant"),
    Station(60008494, 30002187, 10000043, 1000086, "Amarr VIII (Oris) - Emperor Family Academy"),
    Station(60011866, 30002659, 10000032, 1000120, "Dodixie IX - Moon 20 - Federation Navy Assembly Plant"),
    Station(60004588, 30002510, 10000030, 1000049, "Rens VI - Moon 8 - Brutor Tribe Treasury"),
    Station(60005686, 30002053, 10000042, 1000057, "Hek VIII - Moon 12 - Boundless Creation Factory"),
    Station(1028858195912, 30000144, 10000002, 98100001, "Perimeter - Long Haul Yard"),
)
NEARBY_SYSTEMS = (30000142, 30000144, 30000145, 30000139, 30002780, 30001363, 30002768, 30002765, 30000140, 30000143)

CONCORD = 1000125
SECURE_COMMERCE_COMMISSION = 1000132
PEND_INSURANCE = 1000137
LOYALTY_CORPORATIONS = (1000035, 1000086, 1000120, 1000049, 1000057, 1000125, 1000179)
AGENTS = (3008416, 3008501, 3012377, 3014113, 3015820)

GOODS = (
    Item(34, "Tritanium", 412),
    Item(35, "Pyerite", 1_950),
    Item(36, "Mexallon", 7_310),
    Item(37, "Isogen", 11_890),
    Item(38, "Nocxium", 80_400),
    Item(39, "Zydrine", 151_200),
    Item(40, "Megacyte", 312_500),
    Item(11399, "Morphite", 4_100_000),
    Item(209, "Scourge Heavy Missile", 9_800),
    Item(222, "Antimatter Charge S", 1_600),
    Item(28668, "Nanite Repair Paste", 3_120_000),
    Item(2488, "Warrior II", 49_500_000),
    Item(2456, "Hobgoblin II", 61_000_000),
    Item(2185, "Hammerhead II", 97_000_000),
    Item(438, "1MN Afterburner II", 88_000_000),
    Item(2048, "Damage Control II", 59_000_000),
    Item(1319, "Expanded Cargohold II", 41_000_000),
    Item(3841, "Large Shield Extender II", 71_000_000),
    Item(587, "Rifter", 52_000_000),
    Item(621, "Caracal", 1_130_000_000),
    Item(24698, "Drake", 5_400_000_000),
    Item(33475, "Mobile Tractor Unit", 740_000_000),
)
SHIPS = (
    Item(587, "Rifter", 52_000_000),
    Item(621, "Caracal", 1_130_000_000),
    Item(24698, "Drake", 5_400_000_000),
    Item(638, "Raven", 21_000_000_000),
    Item(17480, "Procurer", 3_900_000_000),
    Item(22544, "Hulk", 31_000_000_000),
    Item(650, "Nereus", 160_000_000),
    Item(33468, "Astero", 8_700_000_000),
)
MODULES = (438, 2048, 1319, 3841, 2410, 2281, 1952, 31790)
CONTAINERS = (17366, 3467, 3465)
ORES = (1230, 1228, 1224, 18, 1227, 20, 1226, 1231, 21, 1229)
IMPLANTS = (9899, 9941, 9942, 9943, 9956, 10216, 10208, 10212)
BLUEPRINTS = ((691, 587), (955, 621), (24699, 24698), (2489, 2488), (2457, 2456), (2186, 2185), (439, 438), (803, 34))
