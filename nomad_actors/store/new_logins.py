"""Saves what SSO said at players' logins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .login_keys import ACTIVE
from .ownership import Handover, save_character
from .schema import logins, sync_state
from .upsert import upsert


@dataclass(frozen=True, kw_only=True)
class NewLogin:
    """What SSO said at a player's login; `repr` hides the tokens."""

    character_id: int
    user_id: int
    name: str
    #: Another one than before if the character was sold; empty if unknown.
    owner_hash: str
    scopes: Iterable[str]
    refresh_token: str = field(repr=False)
    access_token: str | None = field(default=None, repr=False)
    expires_at_ms: int | None = None


def save_login(connection: Connection, login: NewLogin, tokens: dict[str, Any], now_ms: int) -> Handover:
    """Save a login with its encrypted `tokens`, hand a sold character over, and forget what ESI refused to it."""
    character = {
        "character_id": login.character_id,
        "user_id": login.user_id,
        "name": login.name,
        "owner_hash": login.owner_hash,
        "scopes": sorted(login.scopes),
        "state": ACTIVE,
        "state_reason": None,
        "state_changed_ms": now_ms,
        "created_ms": now_ms,
    }
    handover = save_character(connection, character)
    same = logins.c.character_id == login.character_id
    version = connection.execute(sa.select(logins.c.version).where(same)).scalar()
    upsert(connection, logins, [{"character_id": login.character_id, "version": (version or 0) + 1, **tokens}])
    forget_refusals(connection, login.character_id, now_ms)
    return handover


def forget_refusals(connection: Connection, character_id: int, now_ms: int, route: str | None = None) -> int:
    """Let the routes that ESI refused, or only `route`, be requested again; return their number."""
    own = sync_state.c.character_id == character_id
    # What the sweep has added in vain is overdue again.
    connection.execute(sa.update(sync_state).where(own).values(queued_ms=None))
    chosen = [own, sync_state.c.refused_until_ms.is_not(None)]
    chosen += [] if route is None else [sync_state.c.route == route]
    change = sa.update(sync_state).where(*chosen).values(refused_until_ms=None, refusals=0, next_due_ms=now_ms)
    return connection.execute(change).rowcount
