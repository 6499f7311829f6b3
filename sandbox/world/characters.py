"""The characters of the sandbox: names, corporations, professions."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from .draws import DAY, Row, draw, iso
from .universe import STATIONS, Station

T = TypeVar("T")

MAX_CHARACTERS = 4096
CHARACTERS_PER_USER = 3

FIRST_NAMES = [
    "Aeron",
    "Bryn",
    "Cassia",
    "Dax",
    "Elira",
    "Fenris",
    "Galen",
    "Hesper",
    "Ione",
    "Jarek",
    "Kaia",
    "Lucan",
    "Mirelle",
    "Nadir",
    "Orla",
    "Petra",
    "Quill",
    "Rhea",
    "Soren",
    "Talia",
    "Ulric",
    "Vesna",
    "Wren",
    "Xanthe",
    "Yorick",
    "Zara",
    "Anneke",
    "Bastian",
    "Corvin",
    "Delphine",
    "Eskil",
    "Freya",
]
LAST_NAMES = [
    "Amarant",
    "Blackwood",
    "Caldera",
    "Drakan",
    "Estrada",
    "Farrow",
    "Grimaldi",
    "Harkness",
    "Isaksen",
    "Jorvik",
    "Kestrel",
    "Lazarov",
    "Moravec",
    "Nakamura",
    "Okonkwo",
    "Pryde",
    "Quandt",
    "Ravenna",
    "Sarum",
    "Thorne",
    "Ulmaris",
    "Valkar",
    "Winther",
    "Xenakis",
    "Yamada",
    "Zarifov",
]
CORPORATIONS = (
    (98100001, "Long Haul Logistics", 99010001),
    (98100002, "Veldspar Liberation Front", None),
    (98100003, "Nine to Five Holdings", 99010002),
    (98100004, "Quiet Margin Traders", None),
    (98100005, "Lowsec Bakery", 99010001),
    (98100006, "Salvage and Sons", None),
)
PROFESSIONS = ("trader", "miner", "industrialist", "hunter", "explorer")
WEALTH_ISK = {
    "trader": 9_000_000_000,
    "miner": 650_000_000,
    "industrialist": 3_200_000_000,
    "hunter": 1_400_000_000,
    "explorer": 420_000_000,
}
BLOODLINES = ((1, 1), (1, 2), (2, 3), (2, 4), (4, 5), (4, 6), (8, 7), (8, 8))


@dataclass(frozen=True)
class Character:
    """One simulated character; its `index` does not depend on the number of characters."""

    index: int
    character_id: int
    user_id: int
    name: str
    gender: str
    race_id: int
    bloodline_id: int
    corporation_id: int
    alliance_id: int | None
    birthday_s: int
    security_status: float
    profession: str
    home: Station
    wealth_cents: int


class World:
    """Everything that a seed determines, and a cache for data that is expensive to generate."""

    def __init__(self, *, seed: int, characters: int) -> None:
        if not 1 <= characters <= MAX_CHARACTERS:
            raise ValueError(f"characters must be 1 to {MAX_CHARACTERS}, got {characters}")
        self.seed = seed
        names = _names(seed)
        self.characters = tuple(_character(seed, index, names) for index in range(characters))
        self._by_id = {each.character_id: each for each in self.characters}
        self._made: dict[object, object] = {}

    def character(self, character_id: int) -> Character | None:
        """Return the character with this id, if it exists."""
        return self._by_id.get(character_id)

    def once(self, key: object, make: Callable[[], T]) -> T:
        """Return the cached value for `key`, or make it; two threads may both make it, with the same result."""
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])


def _character(seed: int, index: int, names: list[str]) -> Character:
    rng = draw(seed, "character", index)
    profession = PROFESSIONS[index % len(PROFESSIONS)]
    race_id, bloodline_id = rng.choice(BLOODLINES)
    corporation_id, _, alliance_id = rng.choice(CORPORATIONS)
    return Character(
        index=index,
        character_id=2_112_000_000 + index * 10_000 + rng.randrange(10_000),
        user_id=1 + index // CHARACTERS_PER_USER,
        name=_name(names, index),
        gender=rng.choice(("male", "female")),
        race_id=race_id,
        bloodline_id=bloodline_id,
        corporation_id=corporation_id,
        alliance_id=alliance_id,
        birthday_s=1_546_300_800 + rng.randrange(7 * 365 * DAY),
        security_status=round(rng.uniform(-2.5, 5.0), 8),
        profession=profession,
        home=rng.choice(STATIONS),
        wealth_cents=int(WEALTH_ISK[profession] * rng.uniform(0.6, 1.6)) * 100,
    )


def _names(seed: int) -> list[str]:
    pairs = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    draw(seed, "names").shuffle(pairs)
    return pairs


def _name(names: list[str], index: int) -> str:
    generation, position = divmod(index, len(names))
    return names[position] + (" " + "I" * (generation + 1) if generation else "")


def owner_hash(seed: int, character_id: int, sales: int) -> str:
    """Return the SSO's `owner` claim, which changes each time a character is sold."""
    digest = hashlib.sha256(f"{seed}:{character_id}:{sales}".encode()).digest()
    return base64.b64encode(digest[:20]).decode()


def public_info(world: World, character: Character, now_s: int) -> Row:
    """Return `/characters/{character_id}`."""
    rng = draw(world.seed, "public", character.index)
    info: Row = {
        "achievement_score": rng.randrange(40, 4_000),
        "birthday": iso(character.birthday_s),
        "bloodline_id": character.bloodline_id,
        "corporation_id": character.corporation_id,
        "description": f"{character.profession.capitalize()} at {character.home.name}.",
        "gender": character.gender,
        "name": character.name,
        "race_id": character.race_id,
        "security_status": character.security_status,
    }
    if character.alliance_id is not None:
        info["alliance_id"] = character.alliance_id
    return info


def corporation_history(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/characters/{character_id}/corporationhistory`, newest first."""
    rng = draw(world.seed, "corporations", character.index)
    employers = [1000166 + rng.randrange(6), *rng.sample([each[0] for each in CORPORATIONS], rng.randrange(1, 4))]
    employers = [each for each in employers if each != character.corporation_id] + [character.corporation_id]
    rows: list[Row] = []
    for index, employer in enumerate(employers):
        joined_s = character.birthday_s + index * 97 * DAY + (rng.randrange(60 * DAY) if index else 0)
        record_id = 30_000_000 + character.index * 50 + index
        rows.append({"corporation_id": employer, "record_id": record_id, "start_date": iso(joined_s)})
    return rows[::-1]


def affiliation(character: Character) -> Row:
    """Return one row of `POST /characters/affiliation`."""
    row: Row = {"character_id": character.character_id, "corporation_id": character.corporation_id}
    if character.alliance_id is not None:
        row["alliance_id"] = character.alliance_id
    return row
