"""Industry jobs, blueprints and the mining ledger."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .characters import Character, World
from .draws import DAY, HOUR, Row, days_until, draw, iso, iso_day
from .universe import BLUEPRINTS, NEARBY_SYSTEMS, ORES

COMPLETED_DAYS = 90
MAX_JOB_DAYS = 14
MINING_DAYS = 30
OPEN_STATES = ("active", "paused", "ready")
JOBS_PER_DAY = {"trader": (0, 1), "miner": (0, 1), "industrialist": (2, 6), "hunter": (0, 0), "explorer": (0, 1)}
BLUEPRINTS_OWNED = {"trader": 6, "miner": 4, "industrialist": 180, "hunter": 3, "explorer": 8}
ACTIVITIES = {1: "manufacturing", 3: "time efficiency", 4: "material efficiency", 5: "copying", 8: "invention"}


@dataclass(frozen=True)
class IndustryJob:
    """A job's complete life cycle; without `delivered_s` it is cancelled at `ends_s`."""

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
    """Return `/industry/jobs?include_completed=true`: running jobs, and those that ended in the last 90 days."""
    since_s = now_s - COMPLETED_DAYS * DAY
    jobs = [
        job
        for day in days_until(now_s, COMPLETED_DAYS + MAX_JOB_DAYS)
        for job in _installed_on(world, character, day)
        if job.starts_s <= now_s and job.ends_s >= since_s
    ]
    return [_job_row(character, job, now_s) for job in reversed(jobs)]


def blueprints(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/blueprints`: originals (quantity -1, unlimited runs) and copies (quantity -2)."""

    def make() -> list[Row]:
        rng = draw(world.seed, "blueprints", character.index)
        return [_blueprint(character, index, rng) for index in range(BLUEPRINTS_OWNED[character.profession])]

    return world.once(("blueprints", character.index), make)


def mining_ledger(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/mining`: ore per day, system and type for 30 days; today's rows grow during the session."""
    if character.profession not in ("miner", "industrialist"):
        return []
    return [row for day in reversed(days_until(now_s, MINING_DAYS)) for row in _mined_on(world, character, day, now_s)]


def _installed_on(world: World, character: Character, day: int) -> list[IndustryJob]:
    def make() -> list[IndustryJob]:
        rng = draw(world.seed, "industry", character.index, day)
        starts = sorted(rng.randrange(DAY) for _ in range(rng.randint(*JOBS_PER_DAY[character.profession])))
        return [_job(world, character, day, index, starts[index], rng) for index in range(len(starts))]

    return world.once(("industry", character.index, day), make)


def _job(
    world: World, character: Character, day: int, index: int, start_of_day_s: int, rng: random.Random
) -> IndustryJob:
    owned = blueprints(world, character, 0)
    blueprint = owned[rng.randrange(len(owned))]
    starts_s = day * DAY + start_of_day_s
    ends_s = starts_s + rng.randrange(HOUR, MAX_JOB_DAYS * DAY // 3)
    cancelled = rng.random() < 0.05
    return IndustryJob(
        job_id=500_000_000 + ((day - 18_000) * 4096 + character.index) * 8 + index,
        activity_id=rng.choices(tuple(ACTIVITIES), (6, 1, 1, 2, 2))[0],
        blueprint=blueprint,
        product_type_id=dict(BLUEPRINTS)[_require_int(blueprint["type_id"])],
        runs=rng.randint(1, 40),
        cost_cents=rng.randrange(1_000_000, 4_000_000_000),
        starts_s=starts_s,
        ends_s=ends_s,
        delivered_s=None if cancelled else ends_s + rng.randrange(600, DAY),
        succeeds=rng.random() < 0.45,
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


def _blueprint(character: Character, index: int, rng: random.Random) -> Row:
    type_id, _ = rng.choice(BLUEPRINTS)
    is_copy = rng.random() < 0.4
    return {
        "item_id": 1_030_000_000_000 + character.index * 1_000_000 + index,
        "location_flag": "Hangar",
        "location_id": character.home.station_id,
        "material_efficiency": rng.randrange(0, 11),
        "quantity": -2 if is_copy else -1,
        "runs": rng.randint(1, 200) if is_copy else -1,
        "time_efficiency": rng.randrange(0, 21, 2),
        "type_id": type_id,
    }


def _mined_on(world: World, character: Character, day: int, now_s: int) -> list[Row]:
    rng = draw(world.seed, "mining", character.index, day)
    if rng.random() < 0.3:
        return []
    starts_s, lasts_s = day * DAY + rng.randrange(18 * HOUR), rng.randrange(HOUR, 5 * HOUR)
    system_id = rng.choice(NEARBY_SYSTEMS)
    share = min(1.0, max(0.0, (now_s - starts_s) // 900 * 900 / lasts_s))
    mined = [(type_id, int(rng.randrange(2_000, 90_000) * share)) for type_id in rng.sample(ORES, rng.randint(1, 4))]
    return [
        {"date": iso_day(day), "quantity": quantity, "solar_system_id": system_id, "type_id": type_id}
        for type_id, quantity in mined
        if quantity
    ]


def _require_int(value: object) -> int:
    assert isinstance(value, int)
    return value
