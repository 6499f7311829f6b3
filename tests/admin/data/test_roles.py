"""Who may read players' data: every path with every role, and tokens that are bound to users."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import requests

from admin import create_app
from nomad_actors.store import history

from ..admin_process import form_token
from ..conftest import operator_client
from .conftest import ADA, BO, START_MS, TOKENS, Admin, AdminApp, collect, entry, log_in

PATHS = (
    *("journal", "transactions", "orders", "orders/events", "industry-jobs", "skills", "skills/history"),
    *("completeness", "documents/wallet_journal"),
)


@pytest.mark.parametrize("token", [*TOKENS, None, "x" * 43])
def test_every_path_needs_a_token_and_every_role_may_read(admin: Admin, token: str | None) -> None:
    for path in PATHS:
        response = admin.get(f"{ADA}/{path}", token)
        assert response.status_code == (200 if token in TOKENS else 401), path
        assert response.headers["Content-Type"].startswith("application/" + ("json" if token in TOKENS else "problem"))


@pytest.mark.parametrize("token", ["reader", "bound"])
def test_a_reader_may_read_nothing_else(admin: Admin, app: AdminApp, token: str) -> None:
    document = admin.get("/admin/openapi.json", token).json()
    for path, methods in document["paths"].items():
        if path.startswith("/data/") or path in ("/healthz", "/admin/openapi.json"):
            continue
        url = re.sub(r"{\w+}", "esi-refresh", path)
        for method in methods:
            header = {"Authorization": f"Bearer {TOKENS[token]}"}
            response = requests.request(method, admin.url + url, headers=header, timeout=20)
            assert (response.status_code, "role reader" in response.text) == (403, True), (method, path)
    for path in ("/admin/", "/admin/queues/esi-refresh", "/admin/checks", "/admin/audit"):
        assert admin.get(path, token).status_code == 403, path
    refused = app.store.audit.read(1000, actor=token)[0]
    assert {(entry.reason, entry.role, entry.status) for entry in refused} == {("role", "reader", 403)}


def test_a_reader_cannot_log_in_to_the_pages(admin: Admin) -> None:
    session = requests.Session()
    body = {"form_token": form_token(session.get(f"{admin.url}/admin/login", timeout=20).text)}
    response = session.post(f"{admin.url}/admin/login", data=body | {"token": TOKENS["reader"]}, timeout=20)
    assert (response.status_code, "opens no pages" in response.text) == (403, True)
    assert "nomad_session" not in session.cookies


def test_a_bound_token_sees_only_its_users_characters(admin: Admin, app: AdminApp) -> None:
    collect(app.store, history.JOURNAL, [entry(1)], character_id=BO)
    for path in PATHS:
        assert admin.get(f"{ADA}/{path}", "bound").status_code == 200
        foreign, missing = admin.get(f"{BO}/{path}", "bound"), admin.get(f"90000009/{path}", "bound")
        assert (foreign.status_code, missing.status_code) == (404, 404)
        assert foreign.text.replace(str(BO), "90000009") == missing.text
    assert admin.rows(f"{BO}/journal", "reader")["rows"]
    wrong = admin.get(f"{BO}/journal?from=yesterday", "bound")
    assert wrong.status_code == 404


def test_a_sold_characters_data_stays_with_its_user(admin: Admin, app: AdminApp, character: int) -> None:
    collect(app.store, history.JOURNAL, [entry(1)], character_id=character)
    assert admin.get(f"{character}/journal", "bound").status_code == 200
    log_in(app.store, character, 8, owner_hash="another owner")
    collect(app.store, history.JOURNAL, [entry(2)], character_id=character, as_of_ms=START_MS + 1)
    assert admin.get(f"{character}/journal", "bound").status_code == 404
    assert [row["id"] for row in admin.rows(f"{character}/journal")["rows"]] == [2]
    archives = admin.get("/admin/jobs/characters?state=sold&limit=100", "viewer").json()["characters"]
    # The newest.
    archive = min(each["characterId"] for each in archives)
    found = admin.rows(f"{archive}/journal", "bound")
    assert [row["id"] for row in found["rows"]] == [1]
    assert (found["asOf"], found["freshUntil"]) == (None, None)


def test_this_machine_without_a_token_reads_no_players_data(admin: Admin, app: AdminApp) -> None:
    # The admin of these tests has configured tokens; one without them lets this machine read the rest.
    local = replace(app, settings=replace(app.settings, admin_tokens=()))
    web = create_app(local)
    visitor = web.test_client()
    assert visitor.get("/admin/jobs/queues").status_code == 200
    for path in PATHS:
        response = visitor.get(f"/data/characters/{ADA}/{path}")
        assert response.status_code == 401
        assert "also on this machine" in response.get_json()["detail"]
    assert operator_client(web, local).get(f"/data/characters/{ADA}/journal").status_code == 200


def test_the_document_requires_a_token_for_data(admin: Admin) -> None:
    paths = admin.get("/admin/openapi.json", "viewer").json()["paths"]
    data = {path: found["get"] for path, found in paths.items() if path.startswith("/data/")}
    assert len(data) == len(PATHS)
    assert not [path for path, found in data.items() if "security" in found]
    content = data["/data/characters/{characterId}/journal"]["responses"]["200"]["content"]
    assert list(content) == ["application/json", "application/x-ndjson", "text/csv"]
