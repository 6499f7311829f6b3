"""ESI's kinds of paging: X-Pages, from_id, last_mail_id; and the filter for industry jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from .responses import RequestError
from .routes import MAIL_HEADERS, Route
from .world.draws import Row
from .world.industry import OPEN_STATES


def select(route: Route, document: object, query: Mapping[str, str], page_rows: int) -> tuple[object, dict[str, str]]:
    """Return the part of a snapshot that a query selects, at most `page_rows` rows, and its headers.

    Raises `RequestError` (400) for an invalid parameter.
    """
    if route.paging == "x-pages":
        return _page(cast(list[Row], document), _number(query, "page", 1), page_rows)
    if route.paging == "from_id":
        return _from_id(cast(list[Row], document), query, page_rows), {}
    if route.paging == "last_mail_id":
        return _mails(cast(list[Row], document), query), {}
    if route.path == "/industry/jobs":
        return _jobs(cast(list[Row], document), query), {}
    return document, {}


def _page(rows: list[Row], page: int, page_rows: int) -> tuple[list[Row], dict[str, str]]:
    """Page 1 exists even when empty; a page beyond the end is an empty list, not an error (esi-issues #1172)."""
    if page < 1:
        raise RequestError(400, f"page must be 1 or more, got {page}")
    pages = max(1, -(-len(rows) // page_rows))
    return rows[(page - 1) * page_rows : page * page_rows], {"X-Pages": str(pages)}


def _from_id(rows: list[Row], query: Mapping[str, str], page_rows: int) -> list[Row]:
    """Return rows from `from_id` downwards, newest first, including that row (esi-issues #553)."""
    if "from_id" in query:
        from_id = _number(query, "from_id", 0)
        rows = [row for row in rows if cast(int, row["transaction_id"]) <= from_id]
    return rows[:page_rows]


def _mails(rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    """Return at most 50 headers, older than `last_mail_id`, with any of `labels`."""
    if "last_mail_id" in query:
        last_mail_id = _number(query, "last_mail_id", 0)
        rows = [row for row in rows if cast(int, row["mail_id"]) < last_mail_id]
    if "labels" in query:
        label_ids = {int(label) for label in query["labels"].split(",") if label.isdigit()}
        rows = [row for row in rows if label_ids & set(cast(list[int], row["labels"]))]
    return rows[:MAIL_HEADERS]


def _jobs(rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    if query.get("include_completed", "false").lower() == "true":
        return rows
    return [row for row in rows if row["status"] in OPEN_STATES]


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.lstrip("-").isdigit():
        raise RequestError(400, f"{name} must be a whole number, got {text!r}")
    return int(text)
