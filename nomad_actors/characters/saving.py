"""Saves players' logins, and removes what would show a new owner the old owner's data or stop the character."""

from __future__ import annotations

from collections.abc import Sequence

import redis

from ..errors import Unavailable
from ..esi import EsiCache
from ..esi.limits import Limiter
from ..esi.limits.brakes import rejected
from ..logs import get_logger
from ..store import Handover, NewLogin, Store
from ..store.ownership import is_other_owner, owner_hashes

logger = get_logger("nomad_actors.characters.saving")


def save_logins(store: Store, cache: EsiCache, limiter: Limiter, logins: Sequence[NewLogin]) -> list[Handover]:
    """Save logins in one transaction; return what each moved (see `store.ownership`).

    A character that was sold loses its cached documents; a login ends ESI's refusals and the brake of its character.
    Raises `CannotStart`, `Unavailable`; nothing is saved if the cache of a sold character does not answer.
    """
    stored = owner_hashes(store.database, [each.character_id for each in logins])
    sold = [each.character_id for each in logins if is_other_owner(stored.get(each.character_id, ""), each.owner_hash)]
    # Before, so that a crash cannot leave them to the new owner; and after, because a job may have put one there.
    _forget_documents(cache, sold)
    saved = store.logins.save_all(logins)
    _forget_documents(cache, sold)
    lift_brakes(limiter, [each.character_id for each in logins])
    return saved


def _forget_documents(cache: EsiCache, character_ids: Sequence[int]) -> None:
    try:
        for character_id in character_ids:
            cache.clean_character(character_id, dry_run=False)
    except redis.RedisError as error:
        raise Unavailable(
            f"the ESI cache, which may have data of an earlier owner, does not answer: {error}; log in again later"
        ) from error


def lift_brakes(limiter: Limiter, character_ids: Sequence[int]) -> None:
    """Let characters whose tokens ESI rejected be requested again; a limiter that does not answer is only logged."""
    try:
        in_force = {brake.name for brake in limiter.state().brakes}
        for name in in_force.intersection(rejected(character_id, "").name for character_id in character_ids):
            limiter.lift(name)
    except Unavailable as error:
        logger.warning("the brake of a character cannot be lifted; it ends by itself", error=str(error))
