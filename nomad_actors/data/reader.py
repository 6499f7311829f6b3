"""Reading what was collected: documents, history and its completeness. All it writes is a refresh job on request."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ..clock import Clock
from ..errors import UnknownCharacter
from ..logs.foreign_text import safe_repr
from ..store import Store
from ..store.history.completeness import Completeness, completeness
from ..store.schema import characters, skill_totals
from . import listings, rows
from .balances import balances
from .documents import Reading, Refresh, add_refresh, age_ms, read_document, route_of
from .listings import Query, RowT
from .moments import Moment, range_ms, to_datetime
from .skills import read_skills

#: Built once: building takes longer than executing.
_CHARACTER = sa.select(characters.c.user_id, characters.c.state).where(
    characters.c.character_id == sa.bindparam("of_character")
)


class Data:
    """The data of all characters in the database of `store`; thread-safe.

    `from_` is part of a range, `to` is not; both take a date (from 00:00 UTC), a datetime (without a zone: UTC) or such
    a text. Lists are ordered by time and id, or the other way round with `newest_first`; they are read in pages while
    you iterate, so they may be of any length, and rows that are added meanwhile may appear. `after` is the `cursor` of
    the last row that you have; `limit` is the most rows.

    Every method raises `UnknownCharacter` for a character that never logged in, `BadInput` for a wrong argument, and
    `Unavailable` if the database does not answer. A sold character's data is read by its negative id.
    """

    def __init__(self, store: Store, clock: Clock, refresh: Refresh = add_refresh) -> None:
        self._store = store
        self._database = store.database
        self._clock = clock
        self._refresh = refresh

    def close(self) -> None:
        """Close the connections to the database."""
        self._store.close()

    def document(
        self, character_id: int, endpoint: str, *, refresh_if_older: timedelta | float | None = None
    ) -> rows.Document | None:
        """Return the last response for `endpoint`, such as `/characters/{character_id}/wallet`; None if there is none.

        If it is older than `refresh_if_older` (a timedelta, or seconds) and ESI can have something newer, a refresh job
        is added, unless one waits already. The stored document is returned at once, with `refresh` naming that job.
        """
        route, older_ms = route_of(endpoint), age_ms(refresh_if_older)
        user_id, state = self._check(character_id)
        reading = Reading(character_id, user_id, state, route, self._clock.now_ms())
        return read_document(self._store, reading, older_ms, self._refresh)

    def journal(
        self,
        character_id: int,
        from_: Moment | None = None,
        to: Moment | None = None,
        *,
        ref_types: Collection[str] | None = None,
        after: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[rows.JournalEntry]:
        """Return the entries of the wallet's journal, by their date."""
        query = Query(listings.JOURNAL, character_id, from_, to, after, limit, newest_first)
        return self._rows(query, ref_type=ref_types)

    def transactions(
        self,
        character_id: int,
        from_: Moment | None = None,
        to: Moment | None = None,
        *,
        type_ids: Collection[int] | None = None,
        after: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[rows.Transaction]:
        """Return purchases and sales, by their date."""
        query = Query(listings.TRANSACTIONS, character_id, from_, to, after, limit, newest_first)
        return self._rows(query, type_id=type_ids)

    def orders(
        self,
        character_id: int,
        states: Collection[str] | None = None,
        from_: Moment | None = None,
        to: Moment | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[rows.Order]:
        """Return market orders as last seen, by when they were issued."""
        query = Query(listings.ORDERS, character_id, from_, to, after, limit, newest_first)
        return self._rows(query, state=states)

    def order_events(
        self,
        character_id: int,
        from_: Moment | None = None,
        to: Moment | None = None,
        order_id: int | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[rows.OrderEvent]:
        """Return the changes of market orders, or of one order."""
        query = Query(listings.ORDER_EVENTS, character_id, from_, to, after, limit, newest_first)
        return self._rows(query, order_id=None if order_id is None else [order_id])

    def industry_jobs(
        self,
        character_id: int,
        statuses: Collection[str] | None = None,
        from_: Moment | None = None,
        to: Moment | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[rows.IndustryJob]:
        """Return industry jobs as last seen, by their start."""
        query = Query(listings.INDUSTRY_JOBS, character_id, from_, to, after, limit, newest_first)
        return self._rows(query, status=statuses)

    def industry_job_events(
        self,
        character_id: int,
        from_: Moment | None = None,
        to: Moment | None = None,
        job_id: int | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[rows.IndustryJobEvent]:
        """Return the changes of industry jobs' statuses, or those of one job."""
        query = Query(listings.INDUSTRY_JOB_EVENTS, character_id, from_, to, after, limit, newest_first)
        return self._rows(query, job_id=None if job_id is None else [job_id])

    def skills(self, character_id: int) -> tuple[rows.Skill, ...]:
        """Return every skill, by id: what `/skills` showed, and what the skill queue says has been finished since."""
        self._check(character_id)
        return read_skills(self._store, character_id, self._clock.now_ms())

    def skill_history(
        self,
        character_id: int,
        from_: Moment | None = None,
        to: Moment | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[rows.SkillEvent]:
        """Return the changes of skills."""
        query = Query(listings.SKILL_HISTORY, character_id, from_, to, after, limit, newest_first)
        return self._rows(query)

    def skill_totals(
        self, character_id: int, from_: Moment | None = None, to: Moment | None = None
    ) -> tuple[rows.SkillTotal, ...]:
        """Return the character's skillpoints each time they changed."""
        self._check(character_id)
        from_ms, to_ms = range_ms(from_, to)
        at_ms = skill_totals.c.at_ms
        query = sa.select(skill_totals).where(skill_totals.c.character_id == character_id).order_by(at_ms)
        query = query if from_ms is None else query.where(at_ms >= from_ms)
        query = query if to_ms is None else query.where(at_ms < to_ms)
        with self._database.read() as connection:
            return tuple(
                rows.SkillTotal(character_id, to_datetime(row.at_ms), row.total_sp, row.unallocated_sp)
                for row in connection.execute(query)
            )

    def balance_history(
        self,
        character_id: int,
        from_: Moment | None = None,
        to: Moment | None = None,
        every: timedelta | None = None,
    ) -> Iterator[rows.Balance]:
        """Return the wallet's balance after each journal entry, or with `every` the last known one of each period.

        Periods begin at multiples of `every` since 1970, UTC, and `at` is their beginning. A period without entries has
        the balance of the one before it, which is wrong inside a hole: see `completeness`.
        """
        self._check(character_id)
        return balances(self._database, self._clock, character_id, from_, to, every)

    def completeness(self, character_id: int) -> dict[str, Completeness]:
        """Return since when each data type is complete and where it has holes; also for types that were never read."""
        self._check(character_id)
        with self._database.read() as connection:
            return completeness(connection, character_id, self._clock.now_ms())

    def _rows(self, query: Query[RowT], **only: Collection[Any] | None) -> Iterator[RowT]:
        self._check(query.character_id)
        return query.read(self._database, only)

    def _check(self, character_id: int) -> tuple[int, str]:
        """Return the character's user and state."""
        if not isinstance(character_id, int) or abs(character_id) >= 2**63:
            raise UnknownCharacter(f"{safe_repr(character_id, 100)} is no character's id")
        with self._database.read() as connection:
            found = connection.execute(_CHARACTER, {"of_character": character_id}).one_or_none()
        if found is None:
            raise UnknownCharacter(f"character {character_id} never logged in")
        return found.user_id, found.state
