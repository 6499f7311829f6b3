"""Characters and their logins: tokens are encrypted, updated with optimistic locking, and never deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ..clock import Clock
from ..errors import NomadError
from ..logs.known_secrets import KNOWN
from . import schema
from .cipher import TokenCipher
from .database import Database
from .invalid_rows import fits
from .login_keys import ACTIVE, KEY_ID, logins_by_key, refuse_lost_keys
from .new_logins import NewLogin, forget_refusals, save_login
from .ownership import SOLD, Handover

NEEDS_LOGIN = "needs_login"
_DAY_MS = 86_400_000


class LoginChanged(NomadError):
    """Raised if a login's tokens were changed by another writer since they were read."""


@dataclass(frozen=True)
class Character:
    """A character without its tokens."""

    character_id: int
    user_id: int
    name: str
    owner_hash: str
    scopes: frozenset[str]
    state: str
    state_reason: str | None
    state_changed_ms: int
    access_expires_ms: int | None
    refreshed_ms: int
    strikes: int
    first_strike_ms: int | None
    last_strike_ms: int | None
    #: Since when the player is offline, by ESI's last word; None if online or unknown.
    offline_since_ms: int | None


@dataclass(frozen=True)
class Login(Character):
    """A character with its decrypted tokens, which `repr` hides."""

    version: int
    refresh_token: str = field(repr=False)
    access_token: str | None = field(repr=False)


class Logins:
    """The characters' logins in `database`, encrypted by `cipher`; without a cipher, tokens cannot be accessed."""

    def __init__(self, database: Database, *, cipher: TokenCipher | None, clock: Clock) -> None:
        self._database = database
        self._maybe_cipher = cipher
        self._keys_checked = False
        self._clock = clock

    @property
    def _cipher(self) -> TokenCipher:
        if self._maybe_cipher is None:
            raise NomadError("this process was started without the token keys")
        return self._maybe_cipher

    def check_keys(self) -> None:
        """Check that every working login can be decrypted.

        Raises `CannotStart`, `Unavailable`.
        """
        with self._database.read() as connection:
            refuse_lost_keys(logins_by_key(connection), self._cipher.key_ids, self._cipher.source)
        self._keys_checked = True

    def forget_key(self, key_id: str) -> int:
        """Require a new login for the characters whose tokens a lost key encrypted; return their number.

        Raises `Unavailable`.
        """
        lost = sa.select(schema.logins.c.character_id).where(KEY_ID.in_([key_id]))
        change = (
            sa.update(schema.characters)
            .where(schema.characters.c.state == ACTIVE, schema.characters.c.character_id.in_(lost))
            .values(
                state=NEEDS_LOGIN,
                state_reason=f"the key {key_id} that encrypted its token is lost",
                state_changed_ms=self._clock.now_ms(),
            )
        )
        with self._database.write() as connection:
            return connection.execute(change).rowcount

    def save(
        self,
        *,
        character_id: int,
        user_id: int,
        name: str,
        owner_hash: str,
        scopes: Iterable[str],
        refresh_token: str,
        access_token: str | None = None,
        expires_at_ms: int | None = None,
    ) -> None:
        """Save one login as `save_all` does; raises the same errors."""
        self.save_all(
            [
                NewLogin(
                    character_id=character_id,
                    user_id=user_id,
                    name=name,
                    owner_hash=owner_hash,
                    scopes=scopes,
                    refresh_token=refresh_token,
                    access_token=access_token,
                    expires_at_ms=expires_at_ms,
                )
            ]
        )

    def save_all(self, logins: Sequence[NewLogin]) -> list[Handover]:
        """Save players' logins in one transaction: their characters are active again and keep their history.

        A character that another owner logs in is handed over (see `ownership`); returns what that moved, for each
        login. Raises `CannotStart` if the key of other logins is missing, instead of using a second key; `Unavailable`.
        """
        if not self._keys_checked:
            self.check_keys()
        now_ms = self._clock.now_ms()
        encrypted = [
            self._encrypted(each.character_id, each.refresh_token, each.access_token, each.expires_at_ms)
            for each in logins
        ]
        with self._database.write() as connection:
            return [
                save_login(connection, login, tokens, now_ms) for login, tokens in zip(logins, encrypted, strict=True)
            ]

    def clear_refusals(self, character_id: int, route: str | None = None) -> int:
        """Let the routes that ESI refused, or only `route`, be requested again; return their number.

        Raises `Unavailable`.
        """
        with self._database.write() as connection:
            return forget_refusals(connection, character_id, self._clock.now_ms(), route)

    def get(self, character_id: int) -> Login | None:
        """Return a character with its tokens, or None if it never logged in.

        Raises `UndecryptableToken`, `Unavailable`.
        """
        with self._database.read() as connection:
            row = connection.execute(_LOGIN, {"of_character": character_id}).one_or_none()
        if row is None:
            return None
        opened = {
            "refresh_token": self._cipher.decrypt(row.refresh_token, character_id=character_id, kind="refresh"),
            "access_token": row.access_token
            and self._cipher.decrypt(row.access_token, character_id=character_id, kind="access"),
        }
        KNOWN.add(*opened.values())
        return Login(**{**_fields(row), **opened})

    def character(self, character_id: int) -> Character | None:
        """Return a character without its tokens, or None if it never logged in.

        Raises `Unavailable`.
        """
        with self._database.read() as connection:
            row = connection.execute(_CHARACTER, {"of_character": character_id}).one_or_none()
        return None if row is None else Character(**_fields(row))

    def characters(self, state: str | None = None) -> list[Character]:
        """Return all characters, or those in `state` (active, needs_login), sorted by id.

        Characters whose row cannot be read are left out; `nomad doctor` reports them. Raises `Unavailable`.
        """
        query = _CHARACTERS.order_by(schema.characters.c.character_id).where(
            fits(self._database, schema.characters, schema.logins)
        )
        if state is not None:
            query = query.where(schema.characters.c.state == state)
        with self._database.read() as connection:
            return [Character(**_fields(row)) for row in connection.execute(query)]

    def all(self) -> list[Character]:
        """Return the characters with a working login, sorted by id, without their tokens.

        Raises `Unavailable`.
        """
        return self.characters(ACTIVE)

    def counts(self) -> dict[str, int]:
        """Return the number of characters in each state, including states with none; archives are not characters.

        Raises `Unavailable`.
        """
        state = schema.characters.c.state
        with self._database.read() as connection:
            chosen = (state != SOLD, fits(self._database, schema.characters))
            counts = sa.select(state, sa.func.count()).where(*chosen).group_by(state)
            found = connection.execute(counts).all()
        return {ACTIVE: 0, NEEDS_LOGIN: 0, **{row[0]: row[1] for row in found}}

    def take_flight(self, character_id: int, version: int, *, flight: str, seconds: int) -> bool:
        """Let `flight` refresh this login for at most `seconds`; return False if another flight is doing so, or has.

        Raises `Unavailable`.
        """
        now_ms = self._clock.now_ms()
        free = sa.or_(schema.logins.c.flight.is_(None), schema.logins.c.flight_until_ms <= now_ms)
        return self._change(character_id, version, {"flight": flight, "flight_until_ms": now_ms + seconds * 1000}, free)

    def end_flight(self, character_id: int, *, flight: str) -> None:
        """Let others refresh this login again.

        Raises `Unavailable`.
        """
        is_own = sa.and_(schema.logins.c.character_id == character_id, schema.logins.c.flight == flight)
        with self._database.write() as connection:
            connection.execute(sa.update(schema.logins).where(is_own).values(flight=None, flight_until_ms=None))

    def seal(self, character_id: int, refresh_token: str) -> str:
        """Return a refresh token encrypted as `save_rotated` takes it."""
        KNOWN.add(refresh_token)
        return self._cipher.encrypt(refresh_token, character_id=character_id, kind="refresh")

    def unseal(self, character_id: int, sealed: str) -> str:
        """Return the refresh token that `seal` encrypted.

        Raises `UndecryptableToken`.
        """
        token = self._cipher.decrypt(sealed, character_id=character_id, kind="refresh")
        KNOWN.add(token)
        return token

    def save_rotated(self, character_id: int, version: int, sealed: str) -> None:
        """Save the refresh token that replaces the one of `version`; the access token is dropped, strikes stay.

        Raises `LoginChanged`, `Unavailable`.
        """
        values = {"refresh_token": sealed, "access_token": None, "access_expires_ms": None, "version": version + 1}
        if not self._change(character_id, version, values):
            raise LoginChanged(f"the login of character {character_id} was changed meanwhile")

    def save_refreshed(
        self,
        character_id: int,
        version: int,
        *,
        refresh_token: str,
        access_token: str,
        expires_at_ms: int,
        scopes: Iterable[str],
    ) -> None:
        """Save refreshed tokens and reset the strikes, if the tokens have not changed since `version`.

        Raises `LoginChanged`, `Unavailable`.
        """
        tokens = self._encrypted(character_id, refresh_token, access_token, expires_at_ms)
        with self._database.write() as connection:
            changed = _compare_and_set(connection, character_id, version, {**tokens, "version": version + 1})
            if not changed:
                raise LoginChanged(f"the login of character {character_id} was changed meanwhile")
            same = schema.characters.c.character_id == character_id
            known = connection.execute(sa.select(schema.characters.c.scopes).where(same)).scalar()
            if known != sorted(scopes):
                connection.execute(sa.update(schema.characters).where(same).values(scopes=sorted(scopes)))
                forget_refusals(connection, character_id, self._clock.now_ms())

    def strike(self, character_id: int, version: int) -> bool:
        """Count that SSO reported this login as dead; return False, without counting, if its tokens have changed.

        Raises `Unavailable`.
        """
        now_ms = self._clock.now_ms()
        return self._change(
            character_id,
            version,
            {
                "strikes": schema.logins.c.strikes + 1,
                "first_strike_ms": sa.func.coalesce(schema.logins.c.first_strike_ms, now_ms),
                "last_strike_ms": now_ms,
            },
        )

    def require_login(self, character_id: int, version: int, *, reason: str) -> bool:
        """Mark that the player must log in again; return False if the tokens have changed.

        Raises `Unavailable`.
        """
        with self._database.write() as connection:
            if not _compare_and_set(connection, character_id, version, {"version": version + 1}):
                return False
            connection.execute(
                sa.update(schema.characters)
                .where(schema.characters.c.character_id == character_id)
                .values(state=NEEDS_LOGIN, state_reason=reason, state_changed_ms=self._clock.now_ms())
            )
        return True

    def count_rejected(self) -> int:
        """Return how many logins SSO first rejected within a day, including those that need a new login now.

        Raises `Unavailable`.
        """
        recent = schema.logins.c.first_strike_ms >= self._clock.now_ms() - _DAY_MS
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).where(recent)).scalar_one()

    def _change(
        self, character_id: int, version: int, values: dict[str, Any], *conditions: sa.ColumnElement[bool]
    ) -> bool:
        with self._database.write() as connection:
            return _compare_and_set(connection, character_id, version, values, *conditions)

    def _encrypted(
        self, character_id: int, refresh_token: str, access_token: str | None, expires_at_ms: int | None
    ) -> dict[str, Any]:
        """Return the token columns of a working login, encrypted with the current key."""
        encrypt = self._cipher.encrypt
        KNOWN.add(refresh_token, access_token)
        return {
            "refresh_token": encrypt(refresh_token, character_id=character_id, kind="refresh"),
            "access_token": access_token and encrypt(access_token, character_id=character_id, kind="access"),
            "access_expires_ms": expires_at_ms,
            "refreshed_ms": self._clock.now_ms(),
            "strikes": 0,
            "first_strike_ms": None,
            "last_strike_ms": None,
            "flight": None,
            "flight_until_ms": None,
        }


_CHARACTERS = sa.select(
    schema.characters.c.character_id,
    schema.characters.c.user_id,
    schema.characters.c.name,
    schema.characters.c.owner_hash,
    schema.characters.c.scopes,
    schema.characters.c.state,
    schema.characters.c.state_reason,
    schema.characters.c.state_changed_ms,
    schema.logins.c.access_expires_ms,
    schema.logins.c.refreshed_ms,
    schema.logins.c.strikes,
    schema.logins.c.first_strike_ms,
    schema.logins.c.last_strike_ms,
    schema.characters.c.offline_since_ms,
).join(schema.logins, schema.logins.c.character_id == schema.characters.c.character_id)


#: Built once: building takes longer than executing.
_CHARACTER = _CHARACTERS.where(schema.characters.c.character_id == sa.bindparam("of_character"))
_LOGIN = _CHARACTER.add_columns(schema.logins.c.version, schema.logins.c.refresh_token, schema.logins.c.access_token)


def _fields(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    return {**row._mapping, "scopes": frozenset(row.scopes)}


def _compare_and_set(
    connection: Connection,
    character_id: int,
    version: int,
    values: dict[str, Any],
    *conditions: sa.ColumnElement[bool],
) -> bool:
    same = (schema.logins.c.character_id == character_id, schema.logins.c.version == version, *conditions)
    return connection.execute(sa.update(schema.logins).where(*same).values(**values)).rowcount == 1
