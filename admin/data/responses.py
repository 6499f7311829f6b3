"""The responses with data: one page as JSON, or all rows as a stream; 304 if the caller has them already."""

from __future__ import annotations

import hashlib
import itertools
from http import HTTPStatus
from typing import Any

from flask import Response, g
from werkzeug.http import parse_etags

from nomad_actors import exact_json
from nomad_actors.data import Data

from ..current_app import application
from .encoders import ENCODERS
from .listing import Freshness, Selection, require_user
from .streams import Stream, chunks_of

JSON = "application/json"
CONTENT_TYPES = (JSON, *ENCODERS)
#: Rows of a page without a limit.
PAGE_ROWS = 100


def data() -> Data:
    """Return the data of the current request's application."""
    return Data(application().store, application().clock)


def respond(selection: Selection, content_type: str, known: str | None) -> Response:
    """Return the rows of a selection, or 304 if the caller has them: `known` is its header If-None-Match."""
    if content_type == JSON:
        return json_response(_page(selection), known)
    return _rows(selection, content_type, known)


def json_response(body: dict[str, Any], known: str | None) -> Response:
    """Return a body with exact numbers and its ETag, or 304."""
    text = exact_json.dumps(body)
    return _unless_known(Response(text, mimetype=JSON), _digest(text), known)


def _page(selection: Selection) -> dict[str, Any]:
    limit, form = selection.limit or PAGE_ROWS, selection.listing.form
    # In one transaction, so that the rows are those of `asOf`.
    with application().store.database.read():
        found = list(itertools.islice(selection.rows(limit + 1), limit + 1))
        freshness = _freshness(selection)
    rows = found[:limit]
    more = selection.cursor_of(rows[-1]) if len(found) > limit else None
    return {"rows": list(map(form.json, rows)), "nextCursor": more, **freshness.fields()}


def _rows(selection: Selection, content_type: str, known: str | None) -> Response:
    store, encoder = application().store, ENCODERS[content_type](selection.listing.form)
    user_id = require_user(store, selection.character_id)
    # Before the rows: newer rows under an older ETag are only sent twice.
    freshness = _freshness(selection)
    chunks = chunks_of(selection.rows(selection.limit), encoder)
    first, second = ("".join(chunks), None) if selection.listing.is_short else (next(chunks), next(chunks, None))
    if second is None:
        response = Response(first, content_type=encoder.content_type)
        etag, is_weak = _digest(first), False
    else:
        # Every change of rows is saved with the state of a route, so that these texts name the state of all rows.
        etag, is_weak = _digest(selection.id, str(selection.limit), selection.cursor, repr(freshness), first), True
        response = Response(content_type=encoder.content_type)
    response.headers.update({f"X-{name}": str(at) for name, at in freshness.headers().items() if at is not None})
    response = _unless_known(response, etag, known, weak=is_weak)
    if second is not None and response.status_code == HTTPStatus.OK:
        stream = Stream(
            itertools.chain([first, second], chunks),
            encoder=encoder,
            check=lambda: require_user(store, selection.character_id, (user_id,)),
            request_id=g.request_id,
        )
        response.response = stream.parts()
        response.call_on_close(stream.close)
    return response


def _freshness(selection: Selection) -> Freshness:
    listing, documents = selection.listing, application().store.documents
    states = tuple(documents.state(selection.character_id, route) for route in listing.routes)
    return Freshness(states, data().completeness(selection.character_id)[listing.data_type])


def _unless_known(response: Response, etag: str, known: str | None, *, weak: bool = False) -> Response:
    """Return the response with its ETag, or 304 without a body if that is one of `known`."""
    if known is not None and parse_etags(known).contains_weak(etag):
        response = Response(status=HTTPStatus.NOT_MODIFIED, headers=response.headers)
        response.headers.remove("Content-Type")
        response.headers.remove("Content-Length")
    response.set_etag(etag, weak=weak)
    return response


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]
