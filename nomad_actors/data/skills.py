"""A character's skills: the skill queue combined with `/skills`, which is stale until the character logs in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..store import Store
from ..store.history.rows import to_ms
from ..store.schema import skill_levels
from .moments import to_datetime
from .rows import Skill

SKILL_QUEUE = "/characters/{character_id}/skillqueue"


def read_skills(store: Store, character_id: int, now_ms: int) -> tuple[Skill, ...]:
    """Return every skill by id.

    Raises `Unavailable`.
    """
    with store.database.read():
        observed = _observed(store, character_id)
        state = store.documents.state(character_id, SKILL_QUEUE)
        queue = store.documents.body(character_id, SKILL_QUEUE) or []
    as_of = None if state is None or state.as_of_ms is None else to_datetime(state.as_of_ms)
    for entry in _finished(queue, now_ms):
        skill = observed.get(entry["skill_id"]) or Skill(character_id, entry["skill_id"], 0, 0, 0, None)
        if entry["finished_level"] > skill.level:
            observed[skill.skill_id] = _concluded(skill, entry, as_of)
    return tuple(observed[skill_id] for skill_id in sorted(observed))


def _observed(store: Store, character_id: int) -> dict[int, Skill]:
    query = sa.select(skill_levels).where(skill_levels.c.character_id == character_id)
    with store.database.read() as connection:
        return {
            row.skill_id: Skill(
                character_id,
                row.skill_id,
                row.trained_level,
                row.active_level,
                row.skillpoints,
                to_datetime(row.as_of_ms),
            )
            for row in connection.execute(query)
        }


def _finished(queue: list[dict[str, Any]], now_ms: int) -> Iterable[dict[str, Any]]:
    """Yield the entries of the queue whose time has passed; a paused queue has no times."""
    return (each for each in queue if (ends_ms := _end_ms(each)) is not None and ends_ms <= now_ms)


def _end_ms(entry: dict[str, Any]) -> int | None:
    text = entry.get("finish_date")
    return None if text is None else to_ms(text)


def _concluded(skill: Skill, entry: dict[str, Any], as_of: datetime | None) -> Skill:
    ends_ms = _end_ms(entry)
    assert ends_ms is not None
    return skill._replace(
        inferred_level=entry["finished_level"],
        inferred_skillpoints=entry.get("level_end_sp"),
        inferred_at=to_datetime(ends_ms),
        queue_as_of=as_of,
    )
