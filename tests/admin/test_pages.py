"""The HTML pages: their content, links and escaping."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from dramatiq import Message
from flask.testing import FlaskClient

from admin.pages import words
from nomad_actors.clock import iso_ms
from nomad_actors.jobs import SCHEDULES
from nomad_actors.testing import running

from .conftest import QUEUES, AdminApp, gate

QUEUE = "/admin/queues/token-refresh"


def text_of(page: str) -> str:
    """Return the visible text of a page, with single spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def form_token(page: str) -> str:
    """Return the token in a page's forms."""
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


@pytest.mark.usefixtures("workers")
def test_the_overview_of_a_healthy_system(operator: FlaskClient, app: AdminApp) -> None:
    app.simulate_scheduler()
    response = operator.get("/admin/")
    assert (response.status_code, response.mimetype) == (200, "text/html")
    text = text_of(response.text)
    assert "4 of 4 queues have live workers, 4 of 4 are within their limits" in text
    assert all(name in text for name in QUEUES)
    assert "No failed jobs." in text
    assert "<title>Healthy" in response.text, text_of(response.text)


def test_the_overview_shows_problems_and_remedies(operator: FlaskClient, app: AdminApp) -> None:
    app.queues.get_queue("esi-refresh").pause()
    response = operator.get("/admin/")
    assert "<title>Not healthy" in response.text
    text = text_of(response.text)
    assert (
        "workers: no live worker serves any of the 4 queues (0 waiting, 0 active, 0 delayed); nomad run workers" in text
    )
    # A pause is only a warning: it comes after the problems.
    problem, warning = text.index("schedulers: no scheduler is live"), text.index("esi-refresh: paused since 20")
    assert problem < warning
    assert text[:warning].rstrip().endswith("warning")
    assert "warning" not in text[:problem]
    assert "(0 waiting, 0 active, 0 delayed); nomad resume esi-refresh" in text
    assert "esi-refresh paused" in text


def test_the_overview_shows_failures_with_their_reasons_escaped(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.add(fail=True)
    app.run_all()
    page = operator.get("/admin/").text
    assert "<b>not found</b>" not in page
    assert "ValueError: ESI said 404 <b>not found</b>" in html.unescape(page)
    assert f'href="/admin/queues/token-refresh/jobs/{job_id}"' in page
    assert "100 %" in text_of(page)


@pytest.mark.usefixtures("workers")
def test_no_link_of_the_pages_is_broken(operator: FlaskClient, app: AdminApp) -> None:
    app.schedules.declare(SCHEDULES)
    app.simulate_scheduler()
    app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, job_id="a/b?c#d")
    app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1, "fail": True})
    app.broker.join("token-refresh", timeout=5000)
    to_see, seen = ["/admin/", "/admin/queues/token-refresh?status=completed,failed&limit=1"], set()
    while to_see:
        path = to_see.pop()
        seen.add(path)
        response = operator.get(path)
        response.close()
        assert response.status_code == 200, path
        if response.mimetype == "text/html":
            base = path.partition("?")[0]
            links = [html.unescape(link) for link in re.findall(r'href="([^"]+)"', response.text)]
            to_see += {base + link if link.startswith("?") else link for link in links} - seen - set(to_see)
    assert any("a%2Fb%3Fc%23d" in path for path in seen)
    assert len(seen) > 20


def test_a_queues_page_lists_the_jobs_of_a_state(operator: FlaskClient, app: AdminApp) -> None:
    ids = [app.add() for _ in range(3)]
    response = operator.get("/admin/queues/token-refresh?limit=2")
    text = text_of(response.text)
    assert ids[0] in text
    assert ids[2] not in text
    assert "Showing 2 of 3 · next" in text
    assert "Pause: reason for minutes Pause" in text
    assert "No failed jobs." in text_of(operator.get("/admin/queues/token-refresh?status=failed").text)


def test_a_paused_queues_page_shows_its_jobs_and_a_resume_button(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.add()
    app.queues.get_queue("token-refresh").pause()
    text = text_of(operator.get("/admin/queues/token-refresh").text)
    assert job_id in text
    assert "Resume this queue" in text


def test_a_jobs_page_shows_its_timeline(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.add(fail=True)
    app.run_all()
    page = operator.get(f"/admin/queues/token-refresh/jobs/{job_id}").text
    text = text_of(page)
    assert "<b>not found</b>" not in page
    for expected in ('"character_id": 1', "enqueued", "started", "error", "class: ValueError", "Traceback", "in work"):
        assert expected in text
    assert f'action="/admin/queues/token-refresh/jobs/{job_id}/retry"' in page


def test_a_completed_jobs_page_shows_its_result(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.add(character_id=77)
    app.run_all()
    assert '{ "rows": 77, "note": "" }' in text_of(operator.get(f"/admin/queues/token-refresh/jobs/{job_id}").text)


SCRIPT = "<script>alert('x')</script>"


def test_html_in_stored_values_is_escaped(
    operator: FlaskClient, app: AdminApp, wait_until: Callable[..., None]
) -> None:
    # It is in data, result, error, log, progress, reasons, names and audited bodies; each is on one of the pages.
    app.schedules.schedule_job(
        "nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}), description=f"description {SCRIPT}"
    )
    queue = app.queues.get_queue("token-refresh")
    ended = [app.add(note=f"note {SCRIPT}"), app.add(note=f"note {SCRIPT}", fail=True)]
    app.run_all()
    cancelled = app.add()
    queue.cancel(cancelled, f"cancel {SCRIPT}")
    with running(app.broker):
        cancelling = app.add(wait=True)
        wait_until(lambda: queue.counts()["active"] == 1)
        queue.cancel(cancelling, f"asked {SCRIPT}")
        pages = {f"jobs/{cancelling}": operator.get(f"{QUEUE}/jobs/{cancelling}").text}
        gate.set()
    waiting = app.queues.add_job(
        "token-refresh", "token-refresh-work", {"character_id": 1}, job_id=SCRIPT, requested_by=f"by {SCRIPT}"
    ).id
    operator.post("/admin/jobs/queues/token-refresh/pause", json={"reason": f"pause {SCRIPT}"})
    operator.post("/admin/jobs/esi/pause", json={"reason": f"esi {SCRIPT}"})
    operator.post(
        f"/admin/jobs/queues/token-refresh/jobs/none{quote(SCRIPT, safe='')}/cancel", json={"reason": f"body {SCRIPT}"}
    )
    operator.post(
        "/admin/jobs/queues/token-refresh/bulk",
        json={"action": "retry", "filter": {"fields": {"user_id": SCRIPT}}, "dryRun": False},
    )
    for path in (
        *("", "?status=failed", "?status=paused", "/failures", *(f"/jobs/{each}" for each in (*ended, cancelled))),
        f"/jobs/{quote(waiting, safe='')}",
    ):
        pages[path] = operator.get(QUEUE + path).text
    audit = ("/admin/audit", f"/admin/audit?actor={quote(f'nobody {SCRIPT}')}")
    for path in ("/admin/", *audit, "/admin/bulk", "/admin/checks", "/admin/schedules/nightly"):
        pages[path] = operator.get(path).text
    confirm = f"queue=token-refresh&field=user_id={quote(SCRIPT)}&action=remove&status=failed&type="
    pages["confirm"] = operator.get(f"/admin/confirm/bulk?{confirm}").text
    pages["notice"] = operator.post(
        f"{QUEUE}/pause", data={"form_token": form_token(pages["/admin/"]), "minutes": SCRIPT}
    ).text
    pages["after"] = operator.get(QUEUE).text
    for path, page in pages.items():
        assert "<script" not in page, path
    text = html.unescape("".join(pages.values()))
    for prefix in ("note", "cancel", "asked", "by", "pause", "esi", "body", "description", "nobody"):
        assert f"{prefix} {SCRIPT}" in text, prefix
    for expected in (
        f'"note": "note {SCRIPT}"',
        f"  note {SCRIPT}",
        f"50.0 % · note {SCRIPT}",
        f"not found</b>note {SCRIPT}",
    ):
        assert expected in text, expected
    assert f'minutes "{SCRIPT}" is invalid' in html.unescape(pages["after"])


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/admin/queues/nothing", 404, "unknown queue 'nothing'"),
        ("/admin/queues/<script>", 404, "unknown queue '<script>'"),
        ("/admin/queues/token-refresh/jobs/none", 404, "has no job 'none'"),
        ("/admin/queues/token-refresh?status=done", 422, "unknown state 'done'"),
    ],
)
def test_an_error_page_shows_the_reason(operator: FlaskClient, path: str, status: int, message: str) -> None:
    response = operator.get(path)
    assert (response.status_code, response.mimetype) == (status, "text/html")
    assert message in text_of(response.text)
    assert "<script" not in response.text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (999.9, "999 ms"),
        (3200, "3.2 s"),
        (59_999, "59 s"),
        (250_000, "4 min 10 s"),
        (3_600_000, "1 h"),
        (7_260_000, "2 h 1 min"),
        (183_600_000, "2 d 3 h"),
    ],
)
def test_durations_have_their_two_largest_units(ms: float | None, text: str) -> None:
    assert words.duration(ms) == text


def test_timestamps_are_formatted_relative_to_now_and_in_utc() -> None:
    assert words.utc(1_000) == "1970-01-01 00:00:01"
    assert words.from_now(60_000, 120_000) == "1 min ago"
    assert words.from_now(120_000, 60_000) == "in 1 min"
    assert iso_ms("1970-01-01T00:00:01+00:00") == 1000
    assert (words.percent(None), words.percent(100.0), words.percent(0.98)) == ("–", "100 %", "0.98 %")
    assert words.number(1234567) == "1\u202f234\u202f567"


def test_half_a_surrogate_pair_breaks_no_page(operator: FlaskClient, app: AdminApp) -> None:
    broken = "caf\ud83d"

    def add(**data: object) -> str:
        # As another Dramatiq producer: our add_job refuses such text.
        kwargs = {"character_id": 1, "note": broken, **data}
        message: Message[Any] = Message("token-refresh", "token-refresh-work", (), kwargs, {"priority": 2})
        return app.broker.enqueue(message).message_id

    ids = [add(), add(fail=True)]
    app.run_all()
    cancelled = add()
    queue = app.queues.get_queue("token-refresh")
    queue.cancel(cancelled, broken)
    queue.pause(reason=broken)
    for path in (
        "/admin/",
        "/admin/queues/token-refresh?status=failed,completed",
        "/admin/queues/token-refresh/failures",
        *(f"/admin/queues/token-refresh/jobs/{job_id}" for job_id in (*ids, cancelled)),
    ):
        response = operator.get(path)
        assert response.status_code == 200, path
    page = operator.get(f"/admin/queues/token-refresh/jobs/{ids[0]}").text
    assert r"caf\ud83d" in page
    overview = operator.get("/admin/")
    assert int(overview.headers["Content-Length"]) == len(overview.data)
    assert operator.get("/admin/jobs/failed").status_code == 200
