"""ESI sends a bad row: the job stores the others and says so; a useless body replaces nothing, and its ETag neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from nomad_actors.esi import ROUTES, EsiUnavailable
from nomad_actors.jobs.esi_refresh import ESI_DATA_REFRESH, EsiRefreshPayload, EsiRefreshResult, run
from nomad_actors.jobs.historical_data import HISTORICAL_DATA_COLLECTION, HistoricalDataPayload
from nomad_actors.jobs.historical_data import run as collect
from nomad_actors.jobs.services import Services
from sandbox.serve import SandboxServer

JOURNAL = "/characters/{character_id}/wallet/journal"
SKILLS = "/characters/{character_id}/skills"
MAIL = "/characters/{character_id}/mail"
SHIP = "/characters/{character_id}/ship"

Refresh = Callable[[str], EsiRefreshResult]
Rows = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def refresh(services: Services, seeded: dict[str, Any]) -> Refresh:
    """`refresh(endpoint)`: run the job for this test's character."""

    def now(endpoint: str) -> EsiRefreshResult:
        payload = ESI_DATA_REFRESH.validate(
            {"character_id": seeded["character_id"], "user_id": seeded["user_id"], "endpoint": endpoint}
        )
        assert isinstance(payload, EsiRefreshPayload)
        return run(payload, services)

    return now


def _entry(number: int, **changed: Any) -> dict[str, Any]:
    entry = {"id": number, "date": "2026-10-31T12:00:00Z", "ref_type": "bounty_prizes", "description": "d"}
    return entry | changed


def _serve(sandbox: SandboxServer, route: str, body: Any) -> None:
    sandbox.fail(route.replace("{character_id}", "*"), 200, body=body, headers={"ETag": '"new"', "X-Pages": "1"})


@pytest.mark.parametrize(
    "bad",
    [
        {"id": 3},
        _entry(2**63),
        _entry(3, amount=float("nan")),
        _entry(3, date="0000-00-00T00:00:00Z"),
        _entry(3, reason=5),
        None,
        "rubbish",
    ],
)
def test_a_journal_with_one_bad_row(
    services: Services, seeded: dict[str, Any], refresh: Refresh, sandbox: SandboxServer, rows: Rows, bad: Any
) -> None:
    _serve(sandbox, JOURNAL, [_entry(1), _entry(2), bad, _entry(4)])
    result = refresh(JOURNAL)
    assert (result.outcome, result.rows_new, result.rows_set_aside, result.rows_repaired) == ("updated", 3, 1, 0)
    assert rows("SELECT id FROM wallet_journal ORDER BY id") == [(1,), (2,), (4,)]
    assert rows("SELECT route, count(*) FROM set_aside_rows") == [(JOURNAL, 1)]
    state = services.store.documents.state(seeded["character_id"], JOURNAL)
    assert state is not None
    assert (state.etag, state.error, state.set_aside) == ('"new"', None, 1)
    cached = services.cache.get(seeded["character_id"], ROUTES[JOURNAL])
    assert cached is not None
    assert cached.body == [_entry(1), _entry(2), _entry(4)]


def test_a_strange_reason_costs_no_money(
    seeded: dict[str, Any], services: Services, sandbox: SandboxServer, rows: Rows
) -> None:
    _serve(sandbox, JOURNAL, [_entry(1, amount=-5.0, reason="pay\0me \ud83d"), _entry(2)])
    payload = HISTORICAL_DATA_COLLECTION.validate(
        {"character_id": seeded["character_id"], "user_id": seeded["user_id"], "data_type": "wallet_journal"}
    )
    assert isinstance(payload, HistoricalDataPayload)
    result = collect(payload, services)
    assert (result.rows_new, result.rows_set_aside, result.rows_repaired) == (2, 0, 1)
    assert rows("SELECT ref_type, reason FROM wallet_journal WHERE id = 1") == [("bounty_prizes", "pay\ufffdme \ufffd")]
    ((reason, original),) = rows("SELECT reason, row_json FROM set_aside_rows")
    assert reason.startswith("stored with U+FFFD instead: reason has characters")
    assert json.loads(original)["reason"] == "pay\0me \ud83d"


@pytest.mark.parametrize(
    ("route", "body", "reason"),
    [
        (JOURNAL, [{"id": 3}, None], "none of its 2 rows can be stored; the first: date, description, ref_type is"),
        (SKILLS, {"total_sp": 1}, "skills is missing"),
        (SKILLS, {"total_sp": 1, "skills": [{"skill_id": 1}] * 2}, "the first: a row of skills active_skill_level, "),
        (SHIP, {"ship_item_id": "1", "ship_name": "x", "ship_type_id": 5}, "ship_item_id is a text and not an integer"),
        (SHIP, {"error": "Timeout"}, "is missing"),
    ],
)
def test_a_useless_body_replaces_nothing(
    services: Services,
    seeded: dict[str, Any],
    refresh: Refresh,
    sandbox: SandboxServer,
    advance: Callable[[float], None],
    rows: Rows,
    route: str,
    body: Any,
    reason: str,
) -> None:
    refresh(route)
    before = services.store.documents.body(seeded["character_id"], route)
    state = services.store.documents.state(seeded["character_id"], route)
    assert state is not None
    advance(7_200)
    _serve(sandbox, route, body)
    with pytest.raises(EsiUnavailable, match="ESI's response for ") as failed:
        refresh(route)
    assert reason in str(failed.value)
    assert services.store.documents.body(seeded["character_id"], route) == before
    after = services.store.documents.state(seeded["character_id"], route)
    assert after is not None
    assert (after.etag, after.synced_ms) == (state.etag, state.synced_ms)
    assert (after.failures, reason in (after.error or "")) == (1, True)
    assert rows("SELECT * FROM set_aside_rows") == []
    # And the next good response ends it.
    assert refresh(route).sent
    renewed = services.store.documents.state(seeded["character_id"], route)
    assert renewed is not None
    assert (renewed.failures, renewed.error) == (0, None)


def _skill(number: int, points: int = 250) -> dict[str, int]:
    levels = {"active_skill_level": 1, "trained_skill_level": 1}
    return {"skill_id": number, "skillpoints_in_skill": points, **levels}


@pytest.mark.parametrize(
    "bad", [{"skill_id": 2}, _skill(2, -(2**63)), _skill(2, 2**63 - 1), _skill(2) | {"skill_id": "2"}]
)
def test_one_bad_skill_costs_no_other_and_nothing_is_inferred(
    services: Services, refresh: Refresh, sandbox: SandboxServer, rows: Rows, advance: Callable[[float], None], bad: Any
) -> None:
    _serve(sandbox, SKILLS, {"skills": [_skill(1), _skill(2), _skill(3)], "total_sp": 750})
    refresh(SKILLS)
    advance(3_600)
    # The total says that the second skill is lost, but the list has a row that nobody can read.
    _serve(sandbox, SKILLS, {"skills": [_skill(1, 500), bad, _skill(3)], "total_sp": 750})
    result = refresh(SKILLS)
    assert (result.outcome, result.rows_set_aside, result.events) == ("updated", 1, 1)
    assert rows("SELECT skill_id, skillpoints FROM skill_levels ORDER BY skill_id") == [(1, 500), (2, 250), (3, 250)]
    assert rows("SELECT skill_id, skillpoints_delta FROM skill_events") == [(1, 250)]
    ((reason,),) = rows("SELECT reason FROM set_aside_rows")
    assert reason.startswith("a row of skills ")


def test_the_same_bad_recipient_of_two_mails(refresh: Refresh, sandbox: SandboxServer, rows: Rows) -> None:
    recipients = [
        {"recipient_id": "x", "recipient_type": "character"},
        {"recipient_id": 5, "recipient_type": "character"},
    ]
    _serve(sandbox, MAIL, [{"mail_id": number, "recipients": recipients} for number in (1, 2)])
    assert (refresh(MAIL).rows_set_aside, rows("SELECT count(*) FROM set_aside_rows")) == (2, [(1,)])
