"""The state of ESI's limits and of each character's routes over HTTP."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from nomad_actors.esi import ROUTES, NotSent
from nomad_actors.esi.limits import Outcome
from nomad_actors.esi.limits.brakes import down
from nomad_actors.store.history.completeness import DATA_TYPES
from nomad_actors.store.schema import history_coverage, history_holes

from .conftest import AdminApp

ESI, CHARACTERS = "/admin/jobs/esi", "/admin/jobs/characters"
WALLET = "/characters/{character_id}/wallet"
NOTIFICATIONS = "/characters/{character_id}/notifications"


@pytest.fixture
def ada(app: AdminApp) -> int:
    """A character with one route that ESI refuses and one that is in order."""
    app.store.logins.save(
        character_id=90000001,
        user_id=7,
        name="Ada Voss",
        owner_hash="owner",
        scopes=ROUTES[WALLET].scopes,
        refresh_token="first refresh token",
    )
    documents, now_ms = app.store.documents, app.clock.now_ms()
    documents.save_requested(90000001, WALLET)
    documents.save_failure(
        90000001, WALLET, error="ESI answered 403", request_id="abc", refused_until_ms=now_ms + 3_600_000
    )
    return 90000001


def spend(app: AdminApp, route: str) -> None:
    """Spend a bucket until there is no room in it."""
    for _ in range(1000):
        try:
            app.limiter.settle(app.limiter.reserve(ROUTES[route], 7), Outcome(spent=5))
        except NotSent:
            return
    pytest.fail("the bucket has no end")


def test_limits_buckets_brakes_and_refusals(operator: FlaskClient, app: AdminApp, ada: int) -> None:
    empty = operator.get(ESI).get_json()
    assert (empty["isPaused"], empty["limits"]["brakes"], empty["limits"]["errorsRemaining"]) == (False, [], 100)
    assert (empty["limits"]["concurrency"], empty["limits"]["ssoConcurrency"]) == (32, 4)
    spend(app, NOTIFICATIONS)
    held = app.limiter.reserve(ROUTES[WALLET], 7)
    app.limiter.brake(down("ESI answered 503 for /status"))
    found = operator.get(ESI).get_json()
    (brake,) = found["limits"]["brakes"]
    assert (brake["name"], brake["kind"], brake["reason"], brake["probes"]) == (
        "esi",
        "down",
        "ESI answered 503 for /status",
        True,
    )
    assert found["limits"]["underWay"] == 1
    for name in ("starving", "busy"):
        (bucket,) = found["limits"][name]
        assert (bucket["group"], bucket["limit"], bucket["used"]) == ("char-notification", 15, 10)
        assert bucket["share"] == pytest.approx(0.667, abs=0.01)
    app.limiter.settle(held, Outcome(spent=2))
    (refusal,) = found["refusals"]["newest"]
    assert (refusal["characterId"], refusal["endpoint"], refusal["reason"]) == (ada, WALLET, "ESI answered 403")
    assert (found["refusals"]["byEndpoint"], found["refusals"]["nextCursor"]) == ({WALLET: 1}, None)


def test_refusals_are_paged(operator: FlaskClient, app: AdminApp, ada: int) -> None:
    for name in (NOTIFICATIONS, "/characters/{character_id}/mail"):
        until_ms = app.clock.now_ms() + 60_000
        app.store.documents.save_failure(ada, name, error="403", refused_until_ms=until_ms)
    seen, cursor = [], "0"
    while cursor:
        found = operator.get(f"{ESI}?limit=2&cursor={cursor}").get_json()["refusals"]
        assert found["total"] == 3
        seen += [each["endpoint"] for each in found["newest"]]
        cursor = found["nextCursor"]
    assert sorted(seen) == sorted([WALLET, NOTIFICATIONS, "/characters/{character_id}/mail"])


def test_limits_are_shown_while_the_database_is_away(operator: FlaskClient, app: AdminApp, ada: int) -> None:
    app.remove_database()
    try:
        found = operator.get(ESI)
        assert (found.status_code, found.get_json()["refusals"]) == (200, None)
        assert operator.get(CHARACTERS).status_code == 503
    finally:
        app.restore_database()


def test_characters_with_their_numbers(operator: FlaskClient, app: AdminApp, ada: int) -> None:
    (found,) = operator.get(CHARACTERS).get_json()["characters"]
    assert (found["characterId"], found["userId"], found["name"], found["state"]) == (ada, 7, "Ada Voss", "active")
    assert (found["needsAttention"], found["routes"], found["refused"], found["failing"]) == (True, 1, 1, 1)
    assert operator.get(f"{CHARACTERS}?q=voss&state=active&userId=7").get_json()["total"] == 1
    assert operator.get(f"{CHARACTERS}?q=nobody").get_json()["characters"] == []
    assert operator.get(f"{CHARACTERS}?state=dead").status_code == 422
    assert "nextCursor" in operator.get(f"{CHARACTERS}?cursor=1").get_json()["detail"]


def test_a_page_goes_on_at_the_cursor(operator: FlaskClient, app: AdminApp, ada: int) -> None:
    login = {"user_id": 7, "name": "Bo", "owner_hash": "o", "scopes": [], "refresh_token": "second refresh token"}
    app.store.logins.save(character_id=90000000, **login)
    first = operator.get(f"{CHARACTERS}?limit=1").get_json()
    assert ([each["characterId"] for each in first["characters"]], first["total"]) == ([ada], 2)
    second = operator.get(f"{CHARACTERS}?limit=1&cursor={first['nextCursor']}").get_json()
    assert ([each["characterId"] for each in second["characters"]], second["nextCursor"]) == ([90000000], None)


def test_each_route_of_a_character_says_why_it_is_stale(operator: FlaskClient, app: AdminApp, ada: int) -> None:
    app.limiter.brake(down("ESI answered 503 for /status"))
    found = operator.get(f"{CHARACTERS}/{ada}").get_json()
    by_endpoint = {each["endpoint"]: each for each in found["endpoints"]}
    assert list(by_endpoint) == list(ROUTES)
    assert all(each["isStale"] is (each["whyStale"] is not None) for each in found["endpoints"])
    wallet = by_endpoint[WALLET]
    assert (wallet["requestId"], wallet["refusals"], wallet["isSubscribed"]) == ("abc", 1, True)
    assert wallet["whyStale"].startswith("nothing is sent until")
    assert wallet["whyStale"].endswith(": ESI answered 403")
    assert by_endpoint[NOTIFICATIONS]["whyStale"].startswith("the login lacks the scope")
    public = "/characters/{character_id}"
    assert by_endpoint[public]["whyStale"] == "nobody has requested it yet"
    app.store.documents.save_requested(ada, public)
    (first, *_) = operator.get(f"{CHARACTERS}/{ada}").get_json()["endpoints"]
    assert first["whyStale"].startswith("brake esi until")


def test_a_character_says_how_complete_its_history_is(operator: FlaskClient, app: AdminApp, ada: int) -> None:
    never = {"completeSince": None, "completeUntil": None, "holes": 0, "canBeFilled": 0}
    assert operator.get(f"{CHARACTERS}/{ada}").get_json()["completeness"] == dict.fromkeys(DATA_TYPES, never)
    now_ms, day_ms, of = app.clock.now_ms(), 86_400_000, {"character_id": ada, "data_type": "wallet_journal"}
    span = {"complete_since_ms": now_ms - 60 * day_ms, "complete_until_ms": now_ms}
    hole = of | {"cause": "retention", "details": "", "found_ms": now_ms}
    with app.store.database.write() as connection:
        connection.execute(sa.insert(history_coverage).values(of | span | {"complete_read_ms": now_ms}))
        for days in (40, 20):
            times = {"from_ms": now_ms - (days + 1) * day_ms, "until_ms": now_ms - days * day_ms}
            connection.execute(sa.insert(history_holes).values(hole | times))
    found = operator.get(f"{CHARACTERS}/{ada}").get_json()["completeness"]
    known = {"completeSince": now_ms - 60 * day_ms, "completeUntil": now_ms, "holes": 2, "canBeFilled": 1}
    assert found == dict.fromkeys(DATA_TYPES, never) | {"wallet_journal": known}


@pytest.mark.parametrize("text", ["90000009", "ada", "9" * 40, "-1"])
def test_an_unknown_character_is_404(operator: FlaskClient, text: str) -> None:
    assert operator.get(f"{CHARACTERS}/{text}").status_code == 404
