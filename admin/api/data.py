"""The collected data of a character: its documents, its history, and how complete that is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from flask import Blueprint, Response
from pydantic import Field, WithJsonSchema

from nomad_actors.data import rows
from nomad_actors.data.skills import SKILL_QUEUE
from nomad_actors.errors import BadInput, NomadError, UnknownCharacter, UnknownName
from nomad_actors.store import history
from nomad_actors.store.history.orders import STATES

from ..access.actors import current_actor
from ..current_app import application
from ..data.listing import Listing, Selection, require_user
from ..data.models import (
    DATASETS,
    CompletenessOfTypes,
    StoredDocument,
    UnknownDataset,
    completeness_of,
    document_of,
)
from ..data.responses import CONTENT_TYPES, JSON, data, json_response, respond
from ..data.row_forms import page_model
from ..data.times import read_range
from ..inputs import Input
from ..listing import split_values
from .declared import InAccept, InHeader, InPath, Text, declared

api = Blueprint("data", __name__, url_prefix="/data/characters/<character_id>")

#: Rows of one page, or of one stream with a limit.
MAX_ROWS = 10_000
#: Values of one filter: databases bound the parameters of a query.
MAX_VALUES = 100
_WORD = re.compile(r"[a-z0-9_]{1,100}")
_ID = re.compile(r"[0-9]{1,15}")

JOURNAL = Listing("journal", rows.JournalEntry, "wallet_journal", (history.JOURNAL,))
TRANSACTIONS = Listing("transactions", rows.Transaction, "wallet_transactions", (history.TRANSACTIONS,))
_ORDER_ROUTES = (history.ORDERS, history.ORDERS_HISTORY)
ORDERS = Listing("orders", rows.Order, "market_orders", _ORDER_ROUTES)
ORDER_EVENTS = Listing("order events", rows.OrderEvent, "market_orders", _ORDER_ROUTES)
INDUSTRY_JOBS = Listing("industry jobs", rows.IndustryJob, "industry_jobs", (history.INDUSTRY_JOBS,))
SKILLS = Listing("skills", rows.Skill, "skill_history", (history.SKILLS, SKILL_QUEUE), is_short=True)
SKILL_HISTORY = Listing("skill history", rows.SkillEvent, "skill_history", (history.SKILLS,))


class UnknownOrderState(UnknownName):
    """Raised for the name of a state that market orders do not have."""

    kind = "state of an order"


class NotCollected(NomadError):
    """Raised for a document that does not exist yet."""

    http_status = HTTPStatus.NOT_FOUND


_ARRAY = {"type": "array", "minItems": 1, "maxItems": MAX_VALUES, "items": {"type": "string"}}
#: Separated by commas.
_Values = Annotated[str | None, WithJsonSchema(_ARRAY)]


class RangeQuery(Input):
    """A range of rows by their time, and a page of it."""

    from_: str | None = Field(default=None, alias="from", description="ISO 8601 or ms since the epoch, inclusive")
    to: str | None = Field(default=None, description="ISO 8601 or ms since the epoch, exclusive")
    newest_first: bool = False
    limit: int | None = Field(
        default=None, ge=1, le=MAX_ROWS, description="most rows; without it a page of JSON has 100, a stream all"
    )
    cursor: str = Field(default="", description="`nextCursor` of the previous response")


class JournalQuery(RangeQuery):
    """Filter of the journal."""

    ref_types: _Values = Field(default=None, description="only these kinds of entries")


class TransactionsQuery(RangeQuery):
    """Filter of purchases and sales."""

    type_ids: _Values = Field(default=None, description="only these types of items, by their ids")


class OrdersQuery(RangeQuery):
    """Filter of market orders."""

    states: _Values = Field(default=None, description=f"only these states: {', '.join(STATES)}")


class OrderEventsQuery(RangeQuery):
    """Filter of the changes of market orders."""

    order_id: int | None = Field(default=None, ge=0, le=10**15 - 1)


class IndustryJobsQuery(RangeQuery):
    """Filter of industry jobs."""

    statuses: _Values = Field(default=None, description="only these statuses, such as active, ready and delivered")


def _own_character(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise UnknownCharacter(f"no character has the id {text!r:.80}")
    require_user(application().store, int(text), current_actor().users)
    return int(text)


def _dataset(text: str) -> str:
    if text not in DATASETS:
        raise UnknownDataset(text, DATASETS)
    return text


CharacterId = Annotated[int, InPath("a character's id; one that was sold has a negative one", _own_character)]
Dataset = Annotated[str, InPath("the name of an ESI route's document", _dataset, lambda _: tuple(DATASETS))]
IfNoneMatch = Annotated[str | None, InHeader("If-None-Match", "ETags of earlier responses; 304 if one is current")]
Accept = Annotated[str, InAccept(CONTENT_TYPES)]
AcceptJson = Annotated[str, InAccept((JSON,))]


def _responses(model: type[Any]) -> dict[int, Any]:
    return {200: model, 304: Text(())}


@api.get("/documents/<dataset>")
@declared(_responses(StoredDocument), is_data=True)
def document(character_id: CharacterId, dataset: Dataset, known: IfNoneMatch, accept: AcceptJson) -> Response:
    """Return ESI's last complete response for one route."""
    found = data().document(character_id, DATASETS[dataset])
    if found is None:
        raise NotCollected(f"nothing was collected yet of {DATASETS[dataset]} for the character {character_id}")
    return json_response(document_of(dataset, found).as_json(), known)


@api.get("/journal")
@declared(_responses(page_model(rows.JournalEntry)), is_data=True)
def journal(character_id: CharacterId, query: JournalQuery, known: IfNoneMatch, accept: Accept) -> Response:
    """Return the entries of the wallet's journal, by their date."""
    read = partial(data().journal, ref_types=_values("refTypes", query.ref_types, _WORD))
    return respond(_selection(JOURNAL, character_id, read, query), accept, known)


@api.get("/transactions")
@declared(_responses(page_model(rows.Transaction)), is_data=True)
def transactions(character_id: CharacterId, query: TransactionsQuery, known: IfNoneMatch, accept: Accept) -> Response:
    """Return purchases and sales, by their date."""
    texts = _values("typeIds", query.type_ids, _ID)
    read = partial(data().transactions, type_ids=None if texts is None else list(map(int, texts)))
    return respond(_selection(TRANSACTIONS, character_id, read, query), accept, known)


@api.get("/orders")
@declared(_responses(page_model(rows.Order)), is_data=True)
def orders(character_id: CharacterId, query: OrdersQuery, known: IfNoneMatch, accept: Accept) -> Response:
    """Return market orders as last seen, by when they were issued."""
    states = _values("states", query.states, _WORD)
    if unknown := set(states or ()) - set(STATES):
        raise UnknownOrderState(min(unknown), STATES)
    return respond(_selection(ORDERS, character_id, partial(data().orders, states=states), query), accept, known)


@api.get("/orders/events")
@declared(_responses(page_model(rows.OrderEvent)), is_data=True)
def order_events(character_id: CharacterId, query: OrderEventsQuery, known: IfNoneMatch, accept: Accept) -> Response:
    """Return the changes of market orders, by when they were seen."""
    read = partial(data().order_events, order_id=query.order_id)
    return respond(_selection(ORDER_EVENTS, character_id, read, query), accept, known)


@api.get("/industry-jobs")
@declared(_responses(page_model(rows.IndustryJob)), is_data=True)
def industry_jobs(character_id: CharacterId, query: IndustryJobsQuery, known: IfNoneMatch, accept: Accept) -> Response:
    """Return industry jobs as last seen, by their start."""
    read = partial(data().industry_jobs, statuses=_values("statuses", query.statuses, _WORD))
    return respond(_selection(INDUSTRY_JOBS, character_id, read, query), accept, known)


@api.get("/skills")
@declared(_responses(page_model(rows.Skill)), is_data=True)
def skills(character_id: CharacterId, known: IfNoneMatch, accept: Accept) -> Response:
    """Return every skill, by id, and what the skill queue says has been finished since."""
    found = data().skills(character_id)
    # All of them are one page.
    return respond(Selection(SKILLS, character_id, {}, lambda *_: found, limit=max(len(found), 1)), accept, known)


@api.get("/skills/history")
@declared(_responses(page_model(rows.SkillEvent)), is_data=True)
def skill_history(character_id: CharacterId, query: RangeQuery, known: IfNoneMatch, accept: Accept) -> Response:
    """Return the changes of skills, by when they were seen."""
    return respond(_selection(SKILL_HISTORY, character_id, data().skill_history, query), accept, known)


@api.get("/completeness")
@declared(_responses(CompletenessOfTypes), is_data=True)
def completeness(character_id: CharacterId, known: IfNoneMatch, accept: AcceptJson) -> Response:
    """Return since when each data type is complete, and where rows may be missing."""
    return json_response(completeness_of(data().completeness(character_id)).as_json(), known)


def _selection(listing: Listing, character_id: int, read: Callable[..., Iterable[Any]], query: RangeQuery) -> Selection:
    from_, to = read_range(query.from_, query.to)

    def read_behind(after: str | None, limit: int | None) -> Iterable[Any]:
        return read(
            character_id=character_id, from_=from_, to=to, after=after, limit=limit, newest_first=query.newest_first
        )

    parameters = query.model_dump(exclude={"limit", "cursor"})
    return Selection(listing, character_id, parameters, read_behind, query.cursor, query.limit)


def _values(name: str, text: str | None, allowed: re.Pattern[str]) -> list[str] | None:
    """Return the comma-separated values of a filter, None without one; raises `BadInput`."""
    if text is None:
        return None
    values = list(split_values(text))
    wrong = [value for value in values if not allowed.fullmatch(value)]
    if wrong or len(values) > MAX_VALUES:
        form = "digits" if allowed is _ID else "letters a to z, digits and _"
        shown = f"{wrong[0]!r:.80}" if wrong else f"{len(values)} values"
        raise BadInput(f"query parameter {name!r} has {shown} (allowed: 1 to {MAX_VALUES} values of {form})")
    return values
