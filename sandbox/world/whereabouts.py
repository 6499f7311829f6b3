"""The state of characters: sessions, location, ship, clones, implants."""

from __future__ import annotations

from .characters import Character, World
from .draws import DAY, HOUR, Row, draw, iso
from .universe import IMPLANTS, NEARBY_SYSTEMS, SHIPS, STATIONS

MOVE_S = 600


def online(world: World, character: Character, now_s: int) -> Row:
    """Return `/online`."""
    login_s, logout_s = _last_session(world, character, now_s)
    is_online = now_s < logout_s
    if is_online:
        _, logout_s = _last_session(world, character, login_s - 1)
    return {
        "last_login": iso(login_s),
        "last_logout": iso(logout_s),
        "logins": (login_s - character.birthday_s) // DAY,
        "online": is_online,
    }


def location(world: World, character: Character, now_s: int) -> Row:
    """Return `/location`: at home if offline, else in a nearby system or docked."""
    _, logout_s = _last_session(world, character, now_s)
    rng = draw(world.seed, "location", character.index, now_s // MOVE_S)
    if now_s < logout_s and rng.random() < 0.7:
        return {"solar_system_id": rng.choice(NEARBY_SYSTEMS)}
    dock = "structure_id" if character.home.kind == "structure" else "station_id"
    return {"solar_system_id": character.home.system_id, dock: character.home.station_id}


def ship(world: World, character: Character, now_s: int) -> Row:
    """Return `/ship`: one ship per session."""
    login_s, _ = _last_session(world, character, now_s)
    rng = draw(world.seed, "ship", character.index, login_s // DAY)
    index = rng.randrange(len(SHIPS))
    return {
        "ship_item_id": 1_050_000_000_000 + character.index * 100 + index,
        "ship_name": f"{character.name.split()[0]}'s {SHIPS[index].name}",
        "ship_type_id": SHIPS[index].type_id,
    }


def clones(world: World, character: Character, now_s: int) -> Row:
    """Return `/clones`."""
    rng = draw(world.seed, "clones", character.index)
    jump_clones = [
        {
            "implants": sorted(rng.sample(IMPLANTS, rng.randrange(4))),
            "jump_clone_id": 40_000_000 + character.index * 10 + index,
            "location_id": station.station_id,
            "location_type": station.kind,
        }
        for index, station in enumerate(rng.sample(STATIONS, rng.randrange(4)))
    ]
    home = {"location_id": character.home.station_id, "location_type": character.home.kind}
    jumped_s = character.birthday_s + rng.randrange(30, 700) * DAY
    return {
        "home_location": home,
        "jump_clones": jump_clones,
        "last_clone_jump_date": iso(jumped_s),
        "last_station_change_date": iso(jumped_s - DAY),
    }


def implants(world: World, character: Character, now_s: int) -> list[int]:
    """Return `/implants`."""
    rng = draw(world.seed, "implants", character.index)
    return sorted(rng.sample(IMPLANTS, rng.randrange(6)))


def _last_session(world: World, character: Character, now_s: int) -> tuple[int, int]:
    """Return login and logout of the last session that has begun; there is one each evening."""
    day = now_s // DAY
    login_s, logout_s = _session(world, character, day)
    return (login_s, logout_s) if login_s <= now_s else _session(world, character, day - 1)


def _session(world: World, character: Character, day: int) -> tuple[int, int]:
    rng = draw(world.seed, "session", character.index, day)
    login_s = day * DAY + rng.randrange(12 * HOUR, 21 * HOUR)
    return login_s, login_s + rng.randrange(20 * 60, 4 * HOUR)
