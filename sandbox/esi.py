"""ESI: routing, authorization, and responses with their headers."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from flask import Blueprint, Response, request

from . import meta
from .access import Caller, authorize
from .caching import Snapshot, etag_of, is_unchanged, validators
from .exchange import current
from .paging import select
from .responses import NotModified, RequestError, as_json, dump
from .routes import ROUTES, Route
from .state import SandboxState
from .world import assets, mail
from .world.characters import Character, affiliation

MAX_IDS = 1000

_BY_PATH = {route.path: route for route in ROUTES}
_CHARACTER = re.compile(r"^/characters/(\d+)(/.*)?$")
_MAIL_BODY = re.compile(r"^/mail/(\d+)$")
_OWN_ITEMS = {"/assets/names": assets.asset_names, "/assets/locations": assets.asset_locations}


def create_blueprint(state: SandboxState) -> Blueprint:
    """Return the blueprint for every path that belongs neither to the SSO nor to the control API."""
    blueprint = Blueprint("esi", __name__)

    @blueprint.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @blueprint.route("/<path:path>", methods=["GET", "POST"])
    def respond(path: str) -> Response:
        return _respond(state)

    return blueprint


def rate_group(path: str) -> str | None:
    """Return the rate group of a path in normal form; without one the old error limit applies."""
    match = _CHARACTER.match(path)
    if match is None:
        return meta.GROUPS.get(path)
    rest = match[2] or ""
    if rest in _OWN_ITEMS:
        return "char-asset"
    if _MAIL_BODY.match(rest):
        return "char-social"
    route = _BY_PATH.get(rest)
    return route.group if route else None


def _respond(state: SandboxState) -> Response:
    exchange = current()
    try:
        date = compatibility_date(state.clock.now())
        response = _Target(state, exchange.method, exchange.path).respond(exchange.caller)
        response.headers["X-Compatibility-Date"] = date
    except RequestError as error:
        response = error.response()
    return response


class _Target:
    """The target of a request: a character's route, a mail, names of items, or a public route."""

    def __init__(self, state: SandboxState, method: str, path: str) -> None:
        self._state = state
        self._method = method
        self._path = path
        match = _CHARACTER.match(path)
        self._character_id = int(match[1]) if match else 0
        self._rest = (match[2] or "") if match else None

    def respond(self, caller: Caller) -> Response:
        """Return the response; raises `RequestError` for everything that ESI rejects."""
        if self._rest is None:
            return self._respond_public()
        if self._method == "POST":
            return self._respond_items(caller)
        if match := _MAIL_BODY.match(self._rest):
            return self._respond_mail(caller, int(match[1]))
        if route := _BY_PATH.get(self._rest):
            return self._respond_route(caller, route)
        raise RequestError(404, "Not found")

    def _respond_public(self) -> Response:
        if self._method == "POST" and self._path == "/characters/affiliation":
            known = [self._state.world.character(each) for each in _posted_ids()]
            return as_json([affiliation(each) for each in known if each])
        if self._method == "GET" and self._path in meta.DOCUMENTS:
            make, cache_seconds = meta.DOCUMENTS[self._path]
            outages = self._state.outages
            snapshot = self._state.snapshots.get(self._path, cache_seconds, lambda now_s: make(outages, now_s))
            return self._cached(snapshot, snapshot.document, {}, private=False, event_based=False)
        raise RequestError(404, "Not found")

    def _respond_items(self, caller: Caller) -> Response:
        if (make := _OWN_ITEMS.get(self._rest or "")) is None:
            raise RequestError(404, "Not found")
        character = authorize(self._state, caller, self._character_id, _BY_PATH["/assets"].scope)
        return as_json(make(self._state.world, character, self._state.clock.now_s(), _posted_ids()))

    def _respond_mail(self, caller: Caller, mail_id: int) -> Response:
        route = _BY_PATH["/mail"]
        character = authorize(self._state, caller, self._character_id, route.scope)

        def make(now_s: int) -> object:
            return mail.mail_body(self._state.world, character, now_s, mail_id)

        snapshot = self._state.snapshots.get((self._path, mail_id), route.cache_seconds, make)
        if snapshot.document is None:
            raise RequestError(404, "Mail not found")
        return self._cached(snapshot, snapshot.document, {}, private=True, event_based=False)

    def _respond_route(self, caller: Caller, route: Route) -> Response:
        character = authorize(self._state, caller, self._character_id, route.scope)
        snapshot = self._snapshot(route, character)
        document, headers = select(route, snapshot.document, request.args, self._state.page_rows)
        return self._cached(snapshot, document, headers, private=bool(route.scope), event_based=route.event_based)

    def _snapshot(self, route: Route, character: Character) -> Snapshot:
        key = (route.path, character.character_id)
        fault = current().fault
        return self._state.snapshots.get(
            key,
            route.cache_seconds,
            lambda now_s: route.make(self._state.world, character, now_s),
            renew=fault is not None and fault.renew,
        )

    def _cached(
        self, snapshot: Snapshot, document: object, headers: dict[str, str], *, private: bool, event_based: bool
    ) -> Response:
        body = dump(document)
        etag, now_s = etag_of(body), self._state.clock.now_s()
        current().snapshot, current().etag = snapshot, etag
        headers = headers | validators(etag, snapshot, now_s, private=private, event_based=event_based)
        given = request.headers
        if is_unchanged(etag, snapshot, given.get("If-None-Match"), given.get("If-Modified-Since")):
            return NotModified(headers)
        return Response(body, headers=headers, mimetype="application/json")


def compatibility_date(now: float) -> str:
    """Return the compatibility date for this request: the newest that is not after the requested one.

    The default is the oldest, as CCP documents. Raises `RequestError` (400) for an invalid or future date; ESI's day
    changes at 11:00 UTC.
    """
    requested = request.headers.get("X-Compatibility-Date") or request.args.get("compatibility_date")
    if requested is None:
        return meta.COMPATIBILITY_DATES[-1]
    today = datetime.fromtimestamp(now - 11 * 3_600, UTC).strftime("%Y-%m-%d")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", requested) or requested > today:
        raise RequestError(400, f"X-Compatibility-Date must be a date up to {today}, got {requested!r}")
    return next((date for date in meta.COMPATIBILITY_DATES if date <= requested), meta.COMPATIBILITY_DATES[-1])


def _posted_ids() -> list[int]:
    ids = request.get_json(silent=True)
    if not isinstance(ids, list) or not all(type(each) is int for each in ids):
        raise RequestError(400, "the body must be a JSON array of whole numbers")
    if not 1 <= len(ids) <= MAX_IDS or len(set(ids)) != len(ids):
        raise RequestError(400, f"the body must contain 1 to {MAX_IDS} different ids, got {len(ids)}")
    return ids
