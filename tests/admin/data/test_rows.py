"""Every list over HTTP: fields, filters, ranges, pages, formats and validators."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from nomad_actors import exact_json
from nomad_actors.data.skills import SKILL_QUEUE
from nomad_actors.store import history
from nomad_actors.store.history.orders import STATES

from .conftest import ADA, MINUTE_MS, START_MS, Admin, AdminApp, collect, collect_everything, entry

LISTS = ("journal", "transactions", "orders", "orders/events", "industry-jobs", "skills", "skills/history")
NDJSON, CSV = "application/x-ndjson", "text/csv"


def test_the_journal_has_camel_case_names_times_in_ms_and_every_digit(admin: Admin) -> None:
    response = admin.get(f"{ADA}/journal?limit=1")
    body = exact_json.loads(response.text)
    (row,) = body["rows"]
    assert '"balance":90000000000000.01' in response.text
    assert (row["id"], row["date"], row["refType"]) == (1, START_MS + MINUTE_MS, "bounty_prizes")
    assert "cursor" not in row
    assert (body["asOf"], body["freshUntil"]) == (START_MS, START_MS + 60 * MINUTE_MS)
    assert {"completeSince", "completeUntil", "nextCursor"} <= set(body)


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("transactions", [1, 2]),
        ("transactions?typeIds=35,36", [2]),
        ("orders", [1, 2]),
        ("orders?states=filled,expired", []),
        *((f"orders?states={state}", [1, 2] if state == "open" else []) for state in STATES),
        ("orders?states=open&newestFirst=true", [2, 1]),
        ("orders/events?orderId=1", [1, 1]),
        ("industry-jobs", [1, 2]),
        ("industry-jobs?statuses=delivered", [1]),
        ("skills", [3300, 3301]),
        ("skills/history", [3300]),
        ("journal?refTypes=bounty_prizes&from=2026-11-01T00:02:00Z&to=2026-11-01T00:04:00Z", [2, 3]),
        (f"journal?from={START_MS + 2 * MINUTE_MS}&to={START_MS + 4 * MINUTE_MS}", [2, 3]),
        ("journal?from=2026-11-01T03:02%2B03:00&to=2026-11-02&limit=2", [2, 3]),
        ("journal?to=2026-11-01", []),
        ("journal?from=0&to=253402300799999", [1, 2, 3, 4, 5]),
        ("journal?refTypes=player_donation", []),
        ("journal?newestFirst=true&limit=2", [5, 4]),
    ],
)
def test_filters_and_ranges(admin: Admin, path: str, ids: list[int]) -> None:
    found = admin.rows(f"{ADA}/{path}")["rows"]
    keys = ("orderId", "jobId", "skillId", "transactionId", "id")
    assert [next(row[key] for key in keys if key in row) for row in found] == ids


def test_the_page_has_every_state_of_an_order() -> None:
    page = (Path(__file__).parents[3] / "docs" / "data-http.md").read_text(encoding="utf-8")
    assert f"`states`: {', '.join(f'`{each}`' for each in STATES)} |" in page


@pytest.mark.parametrize("newest_first", ["true", "false"])
def test_cursors_show_each_row_once_although_others_arrive(
    admin: Admin, app: AdminApp, character: int, newest_first: str
) -> None:
    entries = [entry(number, minute=10 + number // 3) for number in range(1, 20)]
    # Several of the same minute: their ids decide.
    collect(app.store, history.JOURNAL, entries, character_id=character)
    seen, cursor, query = [], "", f"newestFirst={newest_first}&refTypes=bounty_prizes"
    while cursor is not None:
        page = admin.rows(f"{character}/journal?{query}&limit=4&cursor={cursor}")
        seen += [row["id"] for row in page["rows"]]
        cursor = page["nextCursor"]
        if len(seen) == 8:
            late = [entry(100, minute=1), entry(101, minute=59)]
            collect(app.store, history.JOURNAL, late, character_id=character, as_of_ms=START_MS + MINUTE_MS)
    expected = [*range(19, 0, -1), 100] if newest_first == "true" else [*range(1, 20), 101]
    assert seen == expected


def test_the_last_page_has_no_cursor_even_if_it_is_full(admin: Admin) -> None:
    assert admin.rows(f"{ADA}/journal?limit=5")["nextCursor"] is None
    assert admin.rows(f"{ADA}/journal?limit=4")["nextCursor"]


@pytest.mark.parametrize("path", LISTS)
def test_ndjson_and_csv_have_the_rows_of_json(admin: Admin, path: str) -> None:
    rows = exact_json.loads(admin.get(f"{ADA}/{path}").text)["rows"]
    assert rows
    lines = admin.get(f"{ADA}/{path}", Accept=NDJSON)
    assert lines.headers["Content-Type"] == NDJSON
    assert list(map(exact_json.loads, lines.text.splitlines())) == rows
    table = admin.get(f"{ADA}/{path}", Accept=CSV)
    assert table.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert list(csv.DictReader(io.StringIO(table.text))) == [
        {name: _text(value) for name, value in row.items()} for row in rows
    ]
    assert table.headers["X-As-Of"] == lines.headers["X-As-Of"]


def _text(value: object) -> str:
    if value is None:
        return ""
    return exact_json.dumps(value) if isinstance(value, bool | dict) else str(value)


def test_csv_quotes_what_players_write(admin: Admin, app: AdminApp, character: int) -> None:
    text = 'a, "b"\r\nc é'
    collect(app.store, history.JOURNAL, [entry(1, reason=text)], character_id=character)
    response = admin.get(f"{character}/journal", Accept=CSV)
    (row,) = csv.DictReader(io.StringIO(response.content.decode(), newline=""))
    assert (row["reason"], row["balance"]) == (text, "90000000000000.01")


@pytest.mark.parametrize("content_type", [NDJSON, CSV])
def test_a_range_without_rows_is_an_empty_stream(
    admin: Admin, app: AdminApp, character: int, content_type: str
) -> None:
    lines = admin.get(f"{character}/journal", Accept=content_type).text.splitlines()
    assert len(lines) == (1 if content_type == CSV else 0)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("application/x-ndjson, application/json;q=0.9", NDJSON),
        ("text/*", "text/csv"),
    ],
)
def test_the_header_accept_chooses_the_format(admin: Admin, accept: str, content_type: str) -> None:
    response = admin.get(f"{ADA}/journal", Accept=accept)
    assert response.headers["Content-Type"].partition(";")[0] == content_type


@pytest.mark.parametrize("path", ["journal", "completeness", "documents/wallet_journal"])
@pytest.mark.parametrize("accept", ["application/xml", "text/html", "application/json;q=0"])
def test_another_format_is_406_and_names_those_there_are(admin: Admin, path: str, accept: str) -> None:
    response = admin.get(f"{ADA}/{path}", Accept=accept)
    assert (response.status_code, response.headers["Content-Type"]) == (406, "application/problem+json")
    assert response.json()["accepted"][0] == "application/json"


@pytest.mark.parametrize("accept", ["application/json", NDJSON, CSV])
@pytest.mark.parametrize("path", ["journal", "skills", "orders?states=open"])
def test_what_has_not_changed_is_304(admin: Admin, app: AdminApp, character: int, path: str, accept: str) -> None:
    collect_everything(app.store, character)
    first = admin.get(f"{character}/{path}", Accept=accept)
    etag = first.headers["ETag"]
    second = admin.get(f"{character}/{path}", Accept=accept, If_None_Match=f'"other", {etag}')
    assert (second.status_code, second.content, second.headers["ETag"]) == (304, b"", etag)
    assert "Content-Type" not in second.headers
    assert admin.get(f"{character}/{path}", Accept=accept, If_None_Match='"other"').status_code == 200
    other = "application/json" if accept != "application/json" else CSV
    assert admin.get(f"{character}/{path}", Accept=other, If_None_Match=etag).status_code == 200
    changed = [entry(1, description="another text"), entry(6)]
    for route, body in ((history.JOURNAL, changed), (history.ORDERS, []), (history.SKILLS, _trained())):
        collect(app.store, route, body, character_id=character, as_of_ms=START_MS + 90 * MINUTE_MS)
    third = admin.get(f"{character}/{path}", Accept=accept, If_None_Match=etag)
    assert (third.status_code, third.headers["ETag"] != etag) == (200, True)


def test_a_queue_that_changes_the_last_of_many_skills_is_no_304(admin: Admin, app: AdminApp, character: int) -> None:
    many = [
        {"skill_id": n, "active_skill_level": 1, "skillpoints_in_skill": 250, "trained_skill_level": 1}
        for n in range(600)
    ]
    collect(app.store, history.SKILLS, {"skills": many, "total_sp": 150_000}, character_id=character)
    first = admin.get(f"{character}/skills", Accept=CSV)
    queued = {"skill_id": 599, "finished_level": 2, "queue_position": 0, "finish_date": "2026-11-01T00:00:00Z"}
    collect(app.store, SKILL_QUEUE, [queued], character_id=character)
    second = admin.get(f"{character}/skills", Accept=CSV, If_None_Match=first.headers["ETag"])
    assert second.status_code == 200
    assert second.text.splitlines()[-1] != first.text.splitlines()[-1]


def _trained() -> dict[str, object]:
    skill = {"skill_id": 3300, "active_skill_level": 4, "skillpoints_in_skill": 45000, "trained_skill_level": 4}
    return {"skills": [skill], "total_sp": 45000, "unallocated_sp": 0}


def test_a_proxy_may_not_keep_data_and_other_sites_may_not_read_it(admin: Admin) -> None:
    for path, accept in (("journal", "*/*"), ("journal", CSV), ("documents/skills", "*/*"), ("nothing", "*/*")):
        response = admin.get(f"{ADA}/{path}", Accept=accept, Origin="https://evil.example")
        cache = "no-store" if path == "nothing" else "private, no-cache"
        assert response.headers["Cache-Control"] == cache
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]
        assert path == "nothing" or response.headers["Vary"] == "Accept, Authorization"


def test_a_document_is_esis_response_with_every_digit(admin: Admin) -> None:
    response = admin.get(f"{ADA}/documents/wallet_journal")
    body = response.json()
    assert (body["dataset"], body["endpoint"]) == ("wallet_journal", history.JOURNAL)
    assert (body["asOf"], body["freshUntil"]) == (START_MS, START_MS + 60 * MINUTE_MS)
    assert [each["ref_type"] for each in body["body"]] == ["bounty_prizes"] * 5
    assert '"balance":90000000000000.01' in response.text
    known = admin.get(f"{ADA}/documents/wallet_journal", If_None_Match=response.headers["ETag"])
    assert known.status_code == 304


def test_completeness_has_every_type_and_its_holes(admin: Admin) -> None:
    found = admin.rows(f"{ADA}/completeness")["dataTypes"]
    assert list(found) == ["wallet_journal", "wallet_transactions", "market_orders", "industry_jobs", "skill_history"]
    assert set(found["wallet_journal"]) == {"completeSince", "completeUntil", "completeRead", "holes"}
    assert json.dumps(found)
