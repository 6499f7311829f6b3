"""Industry jobs, blueprints and the mining ledger."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .characters import Character, World
from .draws import DAY, HOUR, Row, days_until, draw, iso, iso_day
from .universe import BLUEPRINTS, NEARBY_SYSTEMS, ORES

COMPLETED_DAYS = 90
LONGEST_JOB_DAYS = 14
MINING_DAYS = 30
OPEN_STATES = ("active", "paused", "ready")
JOBS_A_DAY = {"trader": (0, 1), "miner": (0, 1), "industrialist": (2, 6), "hunter": (0, 0), "explorer": (0, 1)}
BLUEPRINTS_OWNED = {"trader": 6, "miner": 4, "industrialist": 180, "hunter": 3, "explorer": 8}
ACTIVITIES = {1: "manufacturing", 3: "time efficiency", 4: "material efficiency", 5: "copying", 8: "invention"}


@dataclass(frozen=True)
class IndustryJob:
    """A job's whole life, known from its beginning; without `delivered_s` it was cancelled at `ends_s`."""

    job_id: int
    activity_id: int
    blueprint: Row
    product_type_id: int
    runs: int
    cost_cents: int
    starts_s: int
    ends_s: int
    delivered_s: int | None
    succeeds: bool


def industry_jobs(world: World, character: Character, now_s: int) -> list[Row]:
    """Answer `/industry/jobs?include_completed=true`: all that run, and what ended in the last 90 days."""
    since_s = now_s - COMPLETED_DAYS * DAY
    jobs = [
        job
        for day in days_until(now_s, COMPLETED_DAYS + LONGEST_JOB_DAYS)
        for job in _installed_on(world, character, day)
        if job.starts_s <= now_s and job.ends_s >= since_s
    ]
    return [_job_row(character, job, now_s) for job in reversed(jobs)]


def blueprints(world: World, character: Character, now_s: int) -> list[Row]:
    """Answer `/blueprints`: originals (quantity -1, endless runs) and copies (quantity -2)."""

    def make() -> list[Row]:
        luck = draw(world.seed, "blueprints", character.index)
        return [_blueprint(character, place, luck) for place in range(BLUEPRINTS_OWNED[character.profession])]

    return world.once(("blueprints", character.index), make)


def mining_ledger(world: World, character: Character, now_s: int) -> list[Row]:
    """Answer `/mining`: ore per day, system and kind over 30 days; today's rows grow while the session lasts."""
    if character.profession not in ("miner", "industrialist"):
        return []
    return [row for day in reversed(days_until(now_s, MINING_DAYS)) for row in _mined_on(world, character, day, now_s)]


def _installed_on(world: World, character: Character, day: int) -> list[IndustryJob]:
    def make() -> list[IndustryJob]:
        luck = draw(world.seed, "industry", character.index, day)
        starts = sorted(luck.randrange(DAY) for _ in range(luck.randint(*JOBS_A_DAY[character.profession])))
        return [_job(world, character, day, place, starts[place], luck) for place in range(len(starts))]

    return world.once(("industry", character.index, day), make)


def _job(
    world: World, character: Character, day: int, place: int, start_of_day_s: int, luck: random.Random
) -> IndustryJob:
    owned = blueprints(world, character, 0)
    blueprint = owned[luck.randrange(len(owned))]
    starts_s = day * DAY + start_of_day_s
    ends_s = starts_s + luck.randrange(HOUR, LONGEST_JOB_DAYS * DAY // 3)
    cancelled = luck.random() < 0.05
    return IndustryJob(
        job_id=500_000_000 + ((day - 18_000) * 4096 + character.index) * 8 + place,
        activity_id=luck.choices(tuple(ACTIVITIES), (6, 1, 1, 2, 2))[0],
        blueprint=blueprint,
        product_type_id=dict(BLUEPRINTS)[_whole(blueprint["type_id"])],
        runs=luck.randint(1, 40),
        cost_cents=luck.randrange(1_000_000, 4_000_000_000),
        starts_s=starts_s,
        ends_s=ends_s,
        delivered_s=None if cancelled else ends_s + luck.randrange(600, DAY),
        succeeds=luck.random() < 0.45,
    )


def _job_row(character: Character, job: IndustryJob, now_s: int) -> Row:
    status = _status(job, now_s)
    row: Row = {
        "activity_id": job.activity_id,
        "blueprint_id": job.blueprint["item_id"],
        "blueprint_location_id": job.blueprint["location_id"],
        "blueprint_type_id": job.blueprint["type_id"],
        "cost": job.cost_cents / 100,
        "duration": job.ends_s - job.starts_s,
        "end_date": iso(job.ends_s),
        "facility_id": character.home.station_id,
        "installer_id": character.character_id,
        "job_id": job.job_id,
        "output_location_id": character.home.station_id,
        "product_type_id": job.product_type_id,
        "runs": job.runs,
        "start_date": iso(job.starts_s),
        "station_id": character.home.station_id,
        "status": status,
    }
    if job.activity_id in (5, 8):
        row |= {"licensed_runs": 10, "probability": 1.0 if job.activity_id == 5 else 0.34}
    if status == "delivered" and job.delivered_s is not None:
        row["completed_character_id"] = character.character_id
        row["completed_date"] = iso(job.delivered_s)
        row["successful_runs"] = job.runs if job.activity_id != 8 or job.succeeds else 0
    return row


def _status(job: IndustryJob, now_s: int) -> str:
    if now_s < job.ends_s:
        return "active"
    if job.delivered_s is None:
        return "cancelled"
    return "ready" if now_s < job.delivered_s else "delivered"


def _blueprint(character: Character, place: int, luck: random.Random) -> Row:
    type_id, _ = luck.choice(BLUEPRINTS)
    is_copy = luck.random() < 0.4
    return {
        "item_id": 1_030_000_000_000 + character.index * 1_000_000 + place,
        "location_flag": "Hangar",
        "location_id": character.home.station_id,
        "material_efficiency": luck.randrange(0, 11),
        "quantity": -2 if is_copy else -1,
        "runs": luck.randint(1, 200) if is_copy else -1,
        "time_efficiency": luck.randrange(0, 21, 2),
        "type_id": type_id,
    }


def _mined_on(world: World, character: Character, day: int, now_s: int) -> list[Row]:
    luck = draw(world.seed, "mining", character.index, day)
    if luck.random() < 0.3:
        return []
    starts_s, lasts_s = day * DAY + luck.randrange(18 * HOUR), luck.randrange(HOUR, 5 * HOUR)
    system_id = luck.choice(NEARBY_SYSTEMS)
    share = min(1.0, max(0.0, (now_s - starts_s) // 900 * 900 / lasts_s))
    mined = [(type_id, int(luck.randrange(2_000, 90_000) * share)) for type_id in luck.sample(ORES, luck.randint(1, 4))]
    return [
        {"date": iso_day(day), "quantity": quantity, "solar_system_id": system_id, "type_id": type_id}
        for type_id, quantity in mined
        if quantity
    ]


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value
