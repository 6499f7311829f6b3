"""The other domains are consistent: orders end, skills are trained, containers nest, jobs end."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest

from sandbox.world import assets, industry, mail, market, notifications, skills, whereabouts
from sandbox.world.characters import Character, World
from sandbox.world.draws import DAY, HOUR, iso
from sandbox.world.universe import STATIONS

from .conftest import CHARACTERS, NOW_S

Rows = list[dict[str, Any]]
STRUCTURES = {station.station_id for station in STATIONS if station.kind == "structure"}
EACH_CHARACTER = pytest.mark.parametrize("index", range(CHARACTERS))


def open_orders(world: World, character: Character, now_s: int) -> dict[int, dict[str, Any]]:
    """Return the open orders by id."""
    return {row["order_id"]: row for row in cast(Rows, market.open_orders(world, character, now_s))}


def test_open_orders_are_filled_repriced_and_then_end_in_one_of_three_ways(world: World) -> None:
    trader = world.characters[0]
    before, after = open_orders(world, trader, NOW_S), open_orders(world, trader, NOW_S + 5 * DAY)
    remaining = before.keys() & after.keys()
    assert any(after[each]["volume_remain"] < before[each]["volume_remain"] for each in remaining)
    assert all(after[each]["volume_remain"] <= before[each]["volume_remain"] for each in remaining)
    repriced = [each for each in remaining if after[each]["price"] != before[each]["price"]]
    assert repriced
    assert all(after[each]["issued"] > before[each]["issued"] for each in repriced)
    history = {row["order_id"]: row for row in cast(Rows, market.order_history(world, trader, NOW_S + 5 * DAY))}
    gone = before.keys() - after.keys()
    assert {history[each]["state"] if each in history else "filled" for each in gone} == {
        "filled",
        "cancelled",
        "expired",
    }
    assert not history.keys() & after.keys()


@EACH_CHARACTER
def test_order_ids_are_unique_and_no_row_is_from_the_future(world: World, index: int) -> None:
    character = world.characters[index]
    rows = cast(Rows, market.open_orders(world, character, NOW_S)) + cast(
        Rows, market.order_history(world, character, NOW_S)
    )
    assert len({row["order_id"] for row in rows}) == len(rows)
    assert all(row["issued"] <= iso(NOW_S) for row in rows)
    assert all(1 <= row["volume_remain"] <= row["volume_total"] for row in rows)


@EACH_CHARACTER
def test_the_queue_is_continuous_from_now_on(world: World, index: int) -> None:
    queue = cast(Rows, skills.skill_queue(world, world.characters[index], NOW_S))
    assert queue[0]["start_date"] <= iso(NOW_S) < queue[0]["finish_date"]
    for before, row in itertools.pairwise(queue):
        assert row["start_date"] == before["finish_date"]
        assert row["queue_position"] == before["queue_position"] + 1


@EACH_CHARACTER
def test_a_finished_queue_entry_becomes_a_trained_skill(world: World, index: int) -> None:
    character = world.characters[index]
    queue = cast(Rows, skills.skill_queue(world, character, NOW_S))
    finished_s = NOW_S + 400 * DAY
    trained = {row["skill_id"]: row for row in cast(Rows, skills.skills(world, character, finished_s)["skills"])}
    before = skills.skills(world, character, NOW_S)
    for row in queue[:3]:
        assert trained[row["skill_id"]]["trained_skill_level"] >= row["finished_level"]
    assert cast(int, skills.skills(world, character, finished_s)["total_sp"]) > cast(int, before["total_sp"])
    points = [row["skillpoints_in_skill"] for row in cast(Rows, before["skills"])]
    assert sum(points) == before["total_sp"]


@EACH_CHARACTER
def test_every_asset_is_in_a_station_or_in_another_asset(world: World, index: int) -> None:
    rows = cast(Rows, assets.assets(world, world.characters[index], NOW_S))
    items = {row["item_id"]: row for row in rows}
    assert len(items) == len(rows)
    for row in rows:
        if row["location_type"] == "item" and row["location_id"] not in STRUCTURES:
            assert items[row["location_id"]]["is_singleton"]
        else:
            assert row["location_id"] in {station.station_id for station in STATIONS}
    inner = [row for row in rows if items.get(row["location_id"], {}).get("location_id") in items]
    assert inner, "containers lie in containers"


@EACH_CHARACTER
def test_blueprints_are_assets_too(world: World, index: int) -> None:
    character = world.characters[index]
    items = {row["item_id"]: row for row in cast(Rows, assets.assets(world, character, NOW_S))}
    owned = cast(Rows, industry.blueprints(world, character, NOW_S))
    assert owned
    for blueprint in owned:
        assert items[blueprint["item_id"]].get("is_blueprint_copy", False) == (blueprint["quantity"] == -2)
        assert (blueprint["runs"] == -1) == (blueprint["quantity"] == -1)


def test_assets_differ_a_day_later_by_a_few_stacks(world: World) -> None:
    trader = world.characters[0]
    today = {row["item_id"] for row in cast(Rows, assets.assets(world, trader, NOW_S))}
    tomorrow = {row["item_id"] for row in cast(Rows, assets.assets(world, trader, NOW_S + DAY))}
    assert len(today - tomorrow) == len(tomorrow - today) == 4


def test_an_industry_job_goes_from_active_to_ready_to_delivered(world: World) -> None:
    character = next(each for each in world.characters if each.profession == "industrialist")
    states: dict[int, list[str]] = {}
    for hour in range(0, 24 * 12, 2):
        for row in cast(Rows, industry.industry_jobs(world, character, NOW_S + hour * HOUR)):
            statuses = states.setdefault(row["job_id"], [])
            if row["status"] not in statuses[-1:]:
                statuses.append(row["status"])
    assert ["active", "ready", "delivered"] in states.values()
    sequences = (
        ["active", "ready", "delivered"],
        ["active", "delivered"],
        ["ready", "delivered"],
        ["active", "cancelled"],
    )
    parts = [sequence[:length] for sequence in sequences for length in range(1, 4)] + [["delivered"], ["cancelled"]]
    assert all(statuses in parts for statuses in states.values())


@EACH_CHARACTER
def test_mails_and_notifications_come_newest_first_with_rising_ids(world: World, index: int) -> None:
    character = world.characters[index]
    for rows, key, moment in (
        (cast(Rows, mail.mail_headers(world, character, NOW_S)), "mail_id", "timestamp"),
        (cast(Rows, notifications.notifications(world, character, NOW_S)), "notification_id", "timestamp"),
    ):
        assert [row[key] for row in rows] == sorted({row[key] for row in rows}, reverse=True)
        assert [row[moment] for row in rows] == sorted((row[moment] for row in rows), reverse=True)
        assert rows[0][moment] <= iso(NOW_S)


def test_unread_counts_are_those_of_the_headers(world: World) -> None:
    for character in world.characters:
        unread = sum(not row["is_read"] for row in mail.mail_headers(world, character, NOW_S))
        assert mail.mail_labels(world, character, NOW_S)["total_unread_count"] == unread


def test_mined_ore_grows_during_the_session_and_then_stays(world: World) -> None:
    miner = next(each for each in world.characters if each.profession == "miner")

    def mined(now_s: int) -> dict[tuple[str, int], int]:
        rows = cast(Rows, industry.mining_ledger(world, miner, now_s))
        return {(row["date"], row["type_id"]): row["quantity"] for row in rows}

    evening, next_day = mined(NOW_S), mined(NOW_S + DAY)
    yesterday = iso(NOW_S - DAY)[:10]
    assert all(
        next_day[key] == quantity
        for key, quantity in evening.items()
        if iso(NOW_S - 29 * DAY)[:10] < key[0] <= yesterday
    )
    assert all(next_day.get(key, 0) >= quantity for key, quantity in evening.items() if key[0] > yesterday)


def test_people_log_in_move_and_go_home(world: World) -> None:
    character = world.characters[0]
    days = [whereabouts.online(world, character, NOW_S + hour * HOUR) for hour in range(72)]
    assert {day["online"] for day in days} == {True, False}
    for day in days:
        assert (str(day["last_login"]) > str(day["last_logout"])) == day["online"]
    systems = {
        cast(int, whereabouts.location(world, character, NOW_S + hour * HOUR)["solar_system_id"]) for hour in range(72)
    }
    assert len(systems) > 1
    assert character.home.system_id in systems


@EACH_CHARACTER
def test_a_character_is_the_same_in_a_larger_sandbox(world: World, index: int) -> None:
    assert World(seed=7, characters=200).characters[index] == world.characters[index]


def test_names_and_ids_are_unique() -> None:
    crowd = World(seed=1, characters=1_000).characters
    assert len({each.name for each in crowd}) == len({each.character_id for each in crowd}) == 1_000


def test_an_invalid_number_of_characters_is_rejected() -> None:
    with pytest.raises(ValueError, match="1 to 4096, got 0"):
        World(seed=1, characters=0)
