"""What a request asks for: one kind of a character's rows, selected by the parameters of its query."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nomad_actors import exact_json
from nomad_actors.errors import BadInput, UnknownCharacter
from nomad_actors.store import Store
from nomad_actors.store.documents import RouteState
from nomad_actors.store.history.completeness import Completeness
from nomad_actors.store.ownership import user_of

from .row_forms import RowForm

_ID_DIGITS = 12


@dataclass(frozen=True)
class Listing:
    """One kind of rows; `routes` are the ESI routes that they come from, in the data type that completeness knows.

    With `is_short` all rows are sent as one text, also when they change without any of these routes.
    """

    name: str
    row: type[Any]
    data_type: str
    routes: tuple[str, ...]
    is_short: bool = False

    @cached_property
    def form(self) -> RowForm:
        return RowForm(self.row)


@dataclass(frozen=True)
class Selection:
    """The rows of one request. `read` returns those after a cursor of theirs, at most as many as the limit."""

    listing: Listing
    character_id: int
    #: The filters of the query, as they were sent.
    parameters: Mapping[str, Any]
    read: Callable[[str | None, int | None], Iterable[Any]]
    cursor: str = ""
    limit: int | None = None

    @property
    def id(self) -> str:
        """What tells the selection from others; its cursors begin with it."""
        described = [self.listing.name, self.character_id, self.parameters]
        return hashlib.sha256(exact_json.dumps(described, sort_keys=True).encode()).hexdigest()[:_ID_DIGITS]

    def rows(self, limit: int | None) -> Iterable[Any]:
        """Return the rows after the query's cursor; raises `BadInput` if that is a cursor of another selection."""
        return self.read(self._after(), limit)

    def cursor_of(self, row: Any) -> str:
        return f"{self.id}.{row.cursor}"

    def _after(self) -> str | None:
        if not self.cursor:
            return None
        selection, _, after = self.cursor.partition(".")
        try:
            if selection == self.id:
                # The listing checks it only when it is read.
                self.read(after, 0)
                return after
        except BadInput:
            pass
        allowed = "`nextCursor` of a response to the same path with the same parameters, except limit"
        raise BadInput(f"cursor {self.cursor!r:.80} is not of this query (allowed: {allowed})", accepted=[allowed])


@dataclass(frozen=True)
class Freshness:
    """How the routes of a listing are: what `asOf` and `completeSince` say, and what distinguishes two states."""

    states: tuple[RouteState | None, ...]
    completeness: Completeness

    @property
    def as_of_ms(self) -> int | None:
        return min((each.as_of_ms for each in self.states if each and each.as_of_ms is not None), default=None)

    @property
    def fresh_until_ms(self) -> int | None:
        until = (each.fresh_until_ms for each in self.states if each and each.fresh_until_ms is not None)
        return min(until, default=None)

    def fields(self) -> dict[str, int | None]:
        """Return the fields of a response beside its rows."""
        return {
            "asOf": self.as_of_ms,
            "freshUntil": self.fresh_until_ms,
            "completeSince": self.completeness.complete_since_ms,
            "completeUntil": self.completeness.complete_until_ms,
        }

    def headers(self) -> dict[str, int | None]:
        """Return the same for responses without such fields, by the names of headers without their `X-`."""
        names = ("As-Of", "Fresh-Until", "Complete-Since", "Complete-Until")
        return dict(zip(names, self.fields().values(), strict=True))


def require_user(store: Store, character_id: int, users: tuple[int, ...] = ()) -> int:
    """Return the character's user.

    Raises `UnknownCharacter` if it never logged in or, with `users`, belongs to another one: one text for both, so that
    nobody learns which characters others have.
    """
    user_id = user_of(store.database, character_id)
    if user_id is None or (users and user_id not in users):
        raise UnknownCharacter(f"character {character_id} never logged in")
    return user_id
