"""The rows that are read: times are aware `datetime` (UTC), ISK `Decimal`, ids and quantities `int`.

Fields have ESI's names, except `as_of` and `at`, which are the time of ESI's data. `extra` has the fields from ESI that
have no column. Rows are named tuples: a million of them are made in half the time that dataclasses take.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from .cursors import cursor_of

if TYPE_CHECKING:
    from ..queues import AddedJob

_Extra = dict[str, Any] | None


class JournalEntry(NamedTuple):
    """One entry of the wallet's journal; `balance` is the one after it."""

    character_id: int
    id: int
    date: datetime
    ref_type: str
    amount: Decimal | None
    balance: Decimal | None
    description: str
    context_id: int | None
    context_id_type: str | None
    first_party_id: int | None
    second_party_id: int | None
    reason: str | None
    tax: Decimal | None
    tax_receiver_id: int | None
    extra: _Extra

    @property
    def cursor(self) -> str:
        """What `after` takes to continue after this row."""
        return cursor_of("journal", self.date, self.id)


class Transaction(NamedTuple):
    """One purchase or sale; `journal_ref_id` is the id of its journal entry."""

    character_id: int
    transaction_id: int
    date: datetime
    type_id: int
    quantity: int
    unit_price: Decimal
    is_buy: bool
    is_personal: bool
    client_id: int
    location_id: int
    journal_ref_id: int
    extra: _Extra

    @property
    def cursor(self) -> str:
        """What `after` takes to continue after this row."""
        return cursor_of("transactions", self.date, self.transaction_id)


class Order(NamedTuple):
    """One market order as last seen at `as_of`; `inferred` if its state is a conclusion and not from ESI.

    The state is open, cancelled, expired, filled, or closed if nobody saw how. `duration` is in days.
    """

    character_id: int
    order_id: int
    state: str
    inferred: bool
    issued: datetime
    duration: int
    is_buy_order: bool
    type_id: int
    price: Decimal
    volume_remain: int
    volume_total: int
    min_volume: int | None
    escrow: Decimal | None
    range: str
    location_id: int
    region_id: int
    is_corporation: bool
    #: The first response without the order, while its outcome is unknown.
    missing_since: datetime | None
    as_of: datetime
    extra: _Extra

    @property
    def cursor(self) -> str:
        """What `after` takes to continue after this row."""
        return cursor_of("orders", self.issued, self.order_id)


class OrderEvent(NamedTuple):
    """One change of an order: placed, changed, partly_filled, filled, cancelled, expired, closed, reopened.

    `changes` has the old and the new value of each changed field. `route` and `request_id` name ESI's response.
    """

    character_id: int
    event_id: int
    order_id: int
    at: datetime
    kind: str
    inferred: bool
    changes: dict[str, list[Any]] | None
    route: str | None
    request_id: str | None

    @property
    def cursor(self) -> str:
        """What `after` takes to continue after this row."""
        return cursor_of("order_events", self.at, self.event_id)


class IndustryJob(NamedTuple):
    """One industry job as last seen at `as_of`; `inferred` if its status is a conclusion. `duration` is in seconds."""

    character_id: int
    job_id: int
    status: str
    inferred: bool
    activity_id: int
    blueprint_id: int
    blueprint_type_id: int
    product_type_id: int | None
    runs: int
    licensed_runs: int | None
    successful_runs: int | None
    probability: float | None
    cost: Decimal | None
    duration: int
    start_date: datetime
    end_date: datetime
    pause_date: datetime | None
    completed_date: datetime | None
    completed_character_id: int | None
    installer_id: int
    facility_id: int
    station_id: int
    blueprint_location_id: int
    output_location_id: int
    as_of: datetime
    extra: _Extra

    @property
    def cursor(self) -> str:
        """What `after` takes to continue after this row."""
        return cursor_of("industry_jobs", self.start_date, self.job_id)


class IndustryJobEvent(NamedTuple):
    """One change of an industry job's status; `old_status` is None when it was first seen."""

    character_id: int
    event_id: int
    job_id: int
    at: datetime
    old_status: str | None
    new_status: str
    inferred: bool
    route: str | None
    request_id: str | None

    @property
    def cursor(self) -> str:
        """What `after` takes to continue after this row."""
        return cursor_of("industry_job_events", self.at, self.event_id)


class SkillEvent(NamedTuple):
    """One change of a skill; the deltas are negative after an extraction."""

    character_id: int
    event_id: int
    skill_id: int
    at: datetime
    skillpoints_delta: int
    level_delta: int
    trained_level: int
    inferred: bool
    route: str | None
    request_id: str | None

    @property
    def cursor(self) -> str:
        """What `after` takes to continue after this row."""
        return cursor_of("skill_history", self.at, self.event_id)


class Skill(NamedTuple):
    """One skill: what `/skills` showed at `as_of`, and what the skill queue says has been finished since.

    `/skills` is stale until the character logs in. The inferred fields are None unless the queue, as it was at
    `queue_as_of`, has a higher level whose time has passed. A skill that is only in the queue has zeros and no `as_of`.
    """

    character_id: int
    skill_id: int
    trained_level: int
    active_level: int
    skillpoints: int
    as_of: datetime | None
    inferred_level: int | None = None
    #: None too if the queue does not say it.
    inferred_skillpoints: int | None = None
    #: When the queue says that the inferred level was reached.
    inferred_at: datetime | None = None
    queue_as_of: datetime | None = None

    @property
    def inferred(self) -> bool:
        """Whether `level` is a conclusion from the queue."""
        return self.inferred_level is not None

    @property
    def level(self) -> int:
        """The inferred level, or else the observed one."""
        return self.trained_level if self.inferred_level is None else self.inferred_level


class SkillTotal(NamedTuple):
    """A character's skillpoints from `at` on."""

    character_id: int
    at: datetime
    total_sp: int
    unallocated_sp: int


class Balance(NamedTuple):
    """The wallet's balance at `at`, which the journal entry `entry_id` of `entry_date` left."""

    at: datetime
    balance: Decimal
    entry_id: int
    entry_date: datetime


@dataclass(frozen=True)
class Document:
    """ESI's last complete response for one route; its fractions are `Decimal`.

    `refresh` is the refresh job that was added or waits because the document is too old; the body is the stored one.
    """

    body: Any
    as_of: datetime | None
    fresh_until: datetime | None
    etag: str | None
    route: str
    refresh: AddedJob | None = None
