"""What to do about rows that are missing: a command, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from ..history.completeness import Hole, shown_since_ms
from .characters import Checked

#: The scopes that each data type needs.
Scopes = Mapping[Any, Set[str]]

#: By data type: the group of routes that has its rows.
_GROUPS = {"wallet_journal": "CHARACTER_WALLET", "wallet_transactions": "CHARACTER_WALLET"}
_LOST = "ESI no longer has these rows"
_UNSEEN = "nothing can be done for this time. Orders that somebody requests are listed every 20 minutes from then on"
_SOLD = "the character was sold, and ESI is not asked for its earlier owner"
_NOTHING = "nothing can be done: {}. What reads the history must leave this time out"


def obstacle(character: Checked, data_type: str, scopes: Scopes) -> str | None:
    """Return what to do before a data type of a character can be collected; None if that is nothing."""
    login = f"nomad login --user-id {character.user_id}"
    if character.needs_login:
        return f"its login no longer works: {login}"
    missing = sorted(scopes.get(data_type, frozenset()) - character.scopes)
    return f"its login lacks the scope {', '.join(missing)}: {login}" if missing else None


def to_collect(character: Checked, data_type: str, scopes: Scopes) -> str:
    """Return how to collect a data type of a character now."""
    command = (
        f"nomad enqueue historical-data-collection --character-id {character.character_id} "
        f"--user-id {character.user_id} --data-type {data_type}"
    )
    return obstacle(character, data_type, scopes) or command


def to_fill(character: Checked, hole: Hole, scopes: Scopes) -> str:
    """Return how to fill a hole, or why nothing can be done."""
    if hole.can_be_filled:
        return to_collect(character, hole.data_type, scopes)
    if hole.cause == "unseen":
        return _UNSEEN
    return _NOTHING.format(_SOLD if character.is_sold else _LOST)


def to_restore(character: Checked, data_type: str, date_ms: int, now_ms: int, scopes: Scopes) -> str:
    """Return how to get back a row of the wallet that was stored, or should have been."""
    backup = "the row was never stored or was deleted here: restore it from a backup"
    since_ms = shown_since_ms(data_type, now_ms)
    if character.is_sold or since_ms is None or date_ms <= since_ms:
        return backup
    # Without the ETag: ESI would say that nothing has changed.
    command = f"nomad characters refresh {character.character_id} --group {_GROUPS[data_type]} --full"
    return f"{backup}, or read all again that ESI has: {obstacle(character, data_type, scopes) or command}"
