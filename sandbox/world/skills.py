"""Skills, the training queue and the attributes.

A character trains along a fixed plan at a fixed speed since its birth, so that skills and queue depend only on the
time.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from .characters import Character, World
from .draws import DAY, HOUR, Row, draw, iso

# Skill id and rank: a level costs 250 x rank x sqrt(32)^(level - 1) skill points.
SKILLS = (
    (3300, 1), (3301, 1), (3302, 1), (3303, 1), (3304, 3), (3305, 3), (3306, 3), (3307, 5), (3308, 5), (3309, 5),
    (3310, 2), (3311, 2), (3312, 2), (3315, 4), (3316, 2), (3317, 5), (3318, 2), (3319, 1), (3320, 2), (3321, 2),
    (3324, 3), (3325, 4), (3326, 5), (3327, 1), (3328, 2), (3329, 2), (3330, 2), (3331, 2), (3332, 5), (3333, 5),
    (3334, 5), (3335, 5), (3336, 8), (3337, 8), (3338, 8), (3339, 8), (3380, 1), (3385, 1), (3386, 1), (3387, 2),
    (3388, 3), (3389, 3), (3392, 1), (3393, 1), (3394, 2), (3402, 1), (3403, 1), (3406, 1), (3409, 3), (3410, 3),
    (3411, 3), (3412, 3), (3413, 1), (3416, 1), (3417, 1), (3418, 3), (3419, 3), (3420, 4), (3424, 2), (3425, 2),
    (3426, 1), (3427, 2), (3428, 2), (3429, 1), (3432, 2), (3436, 1), (3442, 5), (3443, 1), (3444, 2), (3446, 2),
    (3447, 3), (3449, 1), (3450, 1), (3451, 2), (3452, 4), (3453, 2), (3454, 2), (3455, 1), (3456, 5), (16594, 2),
    (16595, 1), (16596, 4), (16597, 3), (16598, 3), (16622, 3), (18580, 6), (3355, 1), (3356, 2), (3359, 3),
    (17940, 4), (22551, 5), (22578, 4), (16281, 1), (24624, 8), (24625, 8), (11395, 6), (12180, 1), (12189, 5),
    (11207, 6), (11566, 3), (12092, 4), (12093, 4), (12095, 4), (12096, 6), (12098, 5), (12201, 3), (12202, 3),
    (12203, 8), (12204, 5), (12205, 8), (12206, 5), (12207, 8), (12208, 5), (12209, 8), (12210, 3), (12211, 5),
    (12212, 5), (12213, 3), (16591, 6), (19719, 6), (20342, 5), (20524, 9), (20525, 12), (20526, 9), (20527, 9),
    (20528, 9), (20530, 12), (20531, 12), (20532, 12), (20533, 14), (22536, 2), (22552, 5), (22761, 6), (23950, 8),
    (24311, 14), (24312, 14), (24313, 14), (24314, 14), (28374, 12), (28609, 8), (28656, 10), (28667, 10), (29029, 14),
    (29637, 8),
)  # fmt: skip
MAX_QUEUE_LENGTH = 40
ATTRIBUTES = ("charisma", "intelligence", "memory", "perception", "willpower")


@dataclass(frozen=True)
class Step:
    """One level of one skill in the plan, with the plan's total skill points when it is done."""

    skill_id: int
    level: int
    from_sp: int
    to_sp: int
    plan_sp: int


def skills(world: World, character: Character, now_s: int) -> Row:
    """Return `/skills`: only finished levels, as ESI shows them until the next login."""
    plan, done = _progress(world, character, now_s)
    trained: dict[int, Step] = {step.skill_id: step for step in plan[:done]}
    rows = [
        {
            "active_skill_level": step.level,
            "skill_id": step.skill_id,
            "skillpoints_in_skill": step.to_sp,
            "trained_skill_level": step.level,
        }
        for step in sorted(trained.values(), key=lambda step: step.skill_id)
    ]
    return {
        "skills": rows,
        "total_sp": sum(step.to_sp for step in trained.values()),
        "unallocated_sp": draw(world.seed, "unallocated", character.index).choice((0, 0, 0, 52_000, 500_000)),
    }


def skill_queue(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/skillqueue`: the skill in training and those that follow."""
    plan, done = _progress(world, character, now_s)
    length = 3 + draw(world.seed, "queue", character.index).randrange(MAX_QUEUE_LENGTH)
    rows: list[Row] = []
    for position, step in enumerate(plan[done : done + length]):
        rows.append(
            {
                "finish_date": iso(_reached_s(character, step.plan_sp)),
                "finished_level": step.level,
                "level_end_sp": step.to_sp,
                "level_start_sp": step.from_sp,
                "queue_position": position,
                "skill_id": step.skill_id,
                "start_date": iso(_reached_s(character, step.plan_sp - (step.to_sp - step.from_sp))),
                "training_start_sp": step.from_sp,
            }
        )
    return rows


def attributes(world: World, character: Character, now_s: int) -> Row:
    """Return `/attributes`: 99 points on five attributes, as after a remap."""
    rng = draw(world.seed, "attributes", character.index)
    first, second = rng.sample(ATTRIBUTES, 2)
    points: Row = {name: 27 if name == first else 21 if name == second else 17 for name in ATTRIBUTES}
    remapped_s = character.birthday_s + rng.randrange(300) * DAY
    return points | {
        "accrued_remap_cooldown_date": iso(remapped_s + 365 * DAY),
        "bonus_remaps": rng.randrange(3),
        "last_remap_date": iso(remapped_s),
    }


def _progress(world: World, character: Character, now_s: int) -> tuple[list[Step], int]:
    plan = world.once(("plan", character.index), lambda: _plan(world, character))
    trained_sp = (now_s - character.birthday_s) * _sp_per_hour(character) // HOUR
    return plan, bisect.bisect_right(plan, trained_sp, key=lambda step: step.plan_sp)


def _reached_s(character: Character, plan_sp: int) -> int:
    """Return the second when the plan's points are reached, the first one at which `_progress` counts the step."""
    return character.birthday_s - (-plan_sp * HOUR // _sp_per_hour(character))


def _sp_per_hour(character: Character) -> int:
    # Slower than the game's maximum of 2,700: nobody trains all the time, and the plan must last for years.
    return 1_200 + character.character_id % 800


def _plan(world: World, character: Character) -> list[Step]:
    rng = draw(world.seed, "plan", character.index)
    ranking: list[tuple[float, int, int, int]] = []
    for skill_id, rank in SKILLS:
        weight = rng.uniform(0.0, 250.0)
        for level in range(1, 6):
            weight += rng.uniform(0.0, 4.0 * level * rank)
            ranking.append((weight, skill_id, level, rank))
    plan: list[Step] = []
    plan_sp = 0
    for _, skill_id, level, rank in sorted(ranking):
        from_sp, to_sp = _level_sp(rank, level - 1), _level_sp(rank, level)
        plan_sp += to_sp - from_sp
        plan.append(Step(skill_id, level, from_sp, to_sp, plan_sp))
    return plan


def _level_sp(rank: int, level: int) -> int:
    return int(250 * rank * 32 ** ((level - 1) / 2)) if level else 0
