"""ESI: which route is asked for, who asks, whether they may, and the answer with its headers."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from flask import Blueprint, Response, g, request

from . import meta
from .access import Asker, authenticate, authorize
from .answers import NotModified, Refusal, as_json, dump
from .caching import Snapshot, etag_of, is_unchanged, validators
from .limits import Bucket
from .paging import select
from .parts import Parts
from .routes import ROUTES, Route, normal_path
from .world import assets, mail
from .world.characters import Character, affiliation

MAX_IDS = 1000

_BY_PATH = {route.path: route for route in ROUTES}
_CHARACTER = re.compile(r"^/characters/(\d+)(/.*)?$")
_MAIL_BODY = re.compile(r"^/mail/(\d+)$")
_OWN_ITEMS = {"/assets/names": assets.asset_names, "/assets/locations": assets.asset_locations}


def create_blueprint(parts: Parts) -> Blueprint:
    """Return the blueprint that answers every path which is not the SSO's or the sandbox's own."""
    blueprint = Blueprint("esi", __name__)

    @blueprint.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @blueprint.route("/<path:path>", methods=["GET", "POST"])
    def answer(path: str) -> Response:
        return _answer(parts)

    return blueprint


def charge(parts: Parts, response: Response) -> Response:
    """Charge an answer to the limiter that guards the request's route, and say so in its headers."""
    asker = authenticate(parts, request)
    return _count(parts, response, asker, _bucket(_target(parts), asker))


def _answer(parts: Parts) -> Response:
    asker, target = authenticate(parts, request), _target(parts)
    bucket = _bucket(target, asker)
    try:
        if parts.enforce_limits:
            _check_limits(parts, asker, bucket)
        date = compatibility_date(parts.clock.now())
        response = target.answer(asker)
        response.headers["X-Compatibility-Date"] = date
    except Refusal as refusal:
        response = refusal.answer()
    return _count(parts, response, asker, bucket)


def _target(parts: Parts) -> _Target:
    return _Target(parts, request.method, normal_path(request.path))


def _bucket(target: _Target, asker: Asker) -> Bucket | None:
    return Bucket(target.group, asker.limited_as) if target.group else None


def _check_limits(parts: Parts, asker: Asker, bucket: Bucket | None) -> None:
    if parts.error_limit.is_spent(asker.address):
        raise Refusal(420, "Error limited", headers=parts.error_limit.headers(asker.address))
    if bucket and (retry_after_s := parts.buckets.retry_after_s(bucket)):
        raise Refusal(429, "Rate limit exceeded", headers={"Retry-After": str(retry_after_s)})


def _count(parts: Parts, response: Response, asker: Asker, bucket: Bucket | None) -> Response:
    """Charge the limiter that guards the route; the two have disjoint headers."""
    status = response.status_code
    if status == 420:
        return response
    if bucket:
        response.headers.update(parts.buckets.settle(bucket, status))
        return response
    if status >= 400:
        parts.error_limit.count_error(asker.address)
    response.headers.update(parts.error_limit.headers(asker.address))
    return response


class _Target:
    """What a method and a path mean: a route of a character, a mail, an item's names, or a route of nobody's."""

    def __init__(self, parts: Parts, method: str, path: str) -> None:
        self._parts = parts
        self._method = method
        self._path = path
        match = _CHARACTER.match(path)
        self._character_id = int(match[1]) if match else 0
        self._rest = (match[2] or "") if match else None

    @property
    def group(self) -> str | None:
        """The rate group that the answer is charged to, if any."""
        if self._rest is None:
            return meta.GROUPS.get(self._path)
        if self._rest in _OWN_ITEMS:
            return "char-asset"
        if _MAIL_BODY.match(self._rest):
            return "char-social"
        route = _BY_PATH.get(self._rest)
        return route.group if route else None

    def answer(self, asker: Asker) -> Response:
        """Answer; raises `Refusal` for everything that ESI refuses."""
        if self._rest is None:
            return self._answer_public()
        if self._method == "POST":
            return self._answer_items(asker)
        if match := _MAIL_BODY.match(self._rest):
            return self._answer_mail(asker, int(match[1]))
        if route := _BY_PATH.get(self._rest):
            return self._answer_route(asker, route)
        raise Refusal(404, "Not found")

    def _answer_public(self) -> Response:
        if self._method == "POST" and self._path == "/characters/affiliation":
            known = [self._parts.world.character(each) for each in _posted_ids()]
            return as_json([affiliation(each) for each in known if each])
        if self._method == "GET" and self._path in meta.DOCUMENTS:
            make, cache_seconds = meta.DOCUMENTS[self._path]
            snapshot = self._parts.snapshots.get(self._path, cache_seconds, make)
            return self._cached(snapshot, snapshot.document, {}, private=False, event_based=False)
        raise Refusal(404, "Not found")

    def _answer_items(self, asker: Asker) -> Response:
        if (make := _OWN_ITEMS.get(self._rest or "")) is None:
            raise Refusal(404, "Not found")
        character = authorize(self._parts, asker, self._character_id, _BY_PATH["/assets"].scope)
        return as_json(make(self._parts.world, character, self._parts.clock.now_s(), _posted_ids()))

    def _answer_mail(self, asker: Asker, mail_id: int) -> Response:
        route = _BY_PATH["/mail"]
        character = authorize(self._parts, asker, self._character_id, route.scope)

        def make(now_s: int) -> object:
            return mail.mail_body(self._parts.world, character, now_s, mail_id)

        snapshot = self._parts.snapshots.get((self._path, mail_id), route.cache_seconds, make)
        if snapshot.document is None:
            raise Refusal(404, "Mail not found")
        return self._cached(snapshot, snapshot.document, {}, private=True, event_based=False)

    def _answer_route(self, asker: Asker, route: Route) -> Response:
        character = authorize(self._parts, asker, self._character_id, route.scope)
        snapshot = self._snapshot(route, character)
        document, headers = select(route, snapshot.document, request.args)
        return self._cached(snapshot, document, headers, private=bool(route.scope), event_based=route.event_based)

    def _snapshot(self, route: Route, character: Character) -> Snapshot:
        key = (route.path, character.character_id)
        return self._parts.snapshots.get(
            key, route.cache_seconds, lambda now_s: route.make(self._parts.world, character, now_s), renew=g.renew
        )

    def _cached(
        self, snapshot: Snapshot, document: object, headers: dict[str, str], *, private: bool, event_based: bool
    ) -> Response:
        body = dump(document)
        etag, now_s = etag_of(body), self._parts.clock.now_s()
        headers = headers | validators(etag, snapshot, now_s, private=private, event_based=event_based)
        asked = request.headers
        if is_unchanged(etag, snapshot, asked.get("If-None-Match"), asked.get("If-Modified-Since")):
            return NotModified(headers)
        return Response(body, headers=headers, mimetype="application/json")


def compatibility_date(now: float) -> str:
    """Return the date whose behaviour answers this request: the newest not after the one asked for.

    Without one it is the oldest, as CCP documents. Raises `Refusal` (400) for a date that is none or in the future;
    ESI's day changes at 11:00 UTC.
    """
    asked = request.headers.get("X-Compatibility-Date") or request.args.get("compatibility_date")
    if asked is None:
        return meta.COMPATIBILITY_DATES[-1]
    today = datetime.fromtimestamp(now - 11 * 3_600, UTC).strftime("%Y-%m-%d")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", asked) or asked > today:
        raise Refusal(400, f"X-Compatibility-Date must be a date up to {today}, got {asked!r}")
    return next((date for date in meta.COMPATIBILITY_DATES if date <= asked), meta.COMPATIBILITY_DATES[-1])


def _posted_ids() -> list[int]:
    ids = request.get_json(silent=True)
    if not isinstance(ids, list) or not all(type(each) is int for each in ids):
        raise Refusal(400, "the body must be a JSON array of whole numbers")
    if not 1 <= len(ids) <= MAX_IDS or len(set(ids)) != len(ids):
        raise Refusal(400, f"the body must hold 1 to {MAX_IDS} different ids, got {len(ids)}")
    return ids
