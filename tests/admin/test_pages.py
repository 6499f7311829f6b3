"""What an operator reads in a browser: true, escaped, with a way on."""

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
from nomad_actors.jobs import SCHEDULES
from nomad_actors.testing import running

from .conftest import QUEUES, Parts, gate

QUEUE = "/admin/queues/token-refresh"


def text_of(page: str) -> str:
    """Return what a reader sees of a page, blanks in one."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def form_token(page: str) -> str:
    """Return the token that a page's forms bring."""
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


@pytest.mark.usefixtures("serving")
def test_the_overview_of_a_healthy_system(ask: FlaskClient, parts: Parts) -> None:
    parts.hear_scheduler()
    answer = ask.get("/admin/")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    seen = text_of(answer.text)
    assert "4 of 4 queues have live workers, 4 of 4 are within their limits" in seen
    assert all(name in seen for name in QUEUES)
    assert "No failed jobs are kept." in seen
    assert "<title>Healthy" in answer.text, text_of(answer.text)


def test_the_overview_says_what_is_wrong_and_what_to_do(ask: FlaskClient, parts: Parts) -> None:
    parts.queues.get_queue("esi-refresh").pause()
    answer = ask.get("/admin/")
    assert "<title>Not healthy" in answer.text
    seen = text_of(answer.text)
    assert (
        "workers: no live worker serves any of the 4 queues (0 waiting, 0 active, 0 delayed); nomad run workers" in seen
    )
    # The pause makes nothing unhealthy: it comes after what does, and says what it is.
    problem, warning = seen.index("schedulers: none lives"), seen.index("esi-refresh: paused since 20")
    assert problem < warning
    assert seen[:warning].rstrip().endswith("warning")
    assert "warning" not in seen[:problem]
    assert "(0 waiting, 0 active, 0 delayed); nomad resume esi-refresh" in seen
    assert "esi-refresh paused" in seen


def test_the_overview_shows_failures_with_their_reasons_escaped(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.add(fail=True)
    parts.run_all()
    page = ask.get("/admin/").text
    assert "<b>not found</b>" not in page
    assert "ValueError: ESI said 404 <b>not found</b>" in html.unescape(page)
    assert f'href="/admin/queues/token-refresh/jobs/{job_id}"' in page
    assert "100 %" in text_of(page)


@pytest.mark.usefixtures("serving")
def test_every_link_of_the_pages_leads_somewhere(ask: FlaskClient, parts: Parts) -> None:
    parts.schedules.declare(SCHEDULES)
    parts.hear_scheduler()
    parts.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, job_id="a/b?c#d")
    parts.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1, "fail": True})
    parts.broker.join("token-refresh", timeout=5000)
    to_see, seen = ["/admin/", "/admin/queues/token-refresh?status=completed,failed&limit=1"], set()
    while to_see:
        path = to_see.pop()
        seen.add(path)
        answer = ask.get(path)
        answer.close()
        assert answer.status_code == 200, path
        if answer.mimetype == "text/html":
            base = path.partition("?")[0]
            links = [html.unescape(link) for link in re.findall(r'href="([^"]+)"', answer.text)]
            to_see += {base + link if link.startswith("?") else link for link in links} - seen - set(to_see)
    assert any("a%2Fb%3Fc%23d" in path for path in seen)
    assert len(seen) > 20


def test_a_queues_page_lists_the_jobs_of_a_state(ask: FlaskClient, parts: Parts) -> None:
    ids = [parts.add() for _ in range(3)]
    answer = ask.get("/admin/queues/token-refresh?limit=2")
    seen = text_of(answer.text)
    assert ids[0] in seen
    assert ids[2] not in seen
    assert "2 shown of 3 · next" in seen
    assert "Let no more jobs start, since for minutes Pause" in seen
    assert "No job is failed." in text_of(ask.get("/admin/queues/token-refresh?status=failed").text)


def test_a_paused_queues_page_shows_what_waits_and_how_to_resume(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.add()
    parts.queues.get_queue("token-refresh").pause()
    seen = text_of(ask.get("/admin/queues/token-refresh").text)
    assert job_id in seen
    assert "Resume: let jobs start again" in seen


def test_a_jobs_page_tells_its_story(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.add(fail=True)
    parts.run_all()
    page = ask.get(f"/admin/queues/token-refresh/jobs/{job_id}").text
    seen = text_of(page)
    assert "<b>not found</b>" not in page
    for said in ('"character_id": 1', "enqueued", "started", "error", "class: ValueError", "Traceback", "in work"):
        assert said in seen
    assert f'action="/admin/queues/token-refresh/jobs/{job_id}/retry"' in page


def test_a_completed_jobs_page_shows_its_result(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.add(character_id=77)
    parts.run_all()
    assert '{ "rows": 77, "note": "" }' in text_of(ask.get(f"/admin/queues/token-refresh/jobs/{job_id}").text)


SCRIPT = "<script>alert('x')</script>"


def test_html_in_whatever_is_stored_is_shown_as_text(
    ask: FlaskClient, parts: Parts, wait_until: Callable[..., None]
) -> None:
    """In data, result, error, log, progress, reasons, names and what was asked: each is on a page that is looked at."""
    parts.schedules.schedule_job(
        "nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}), description=f"description {SCRIPT}"
    )
    queue = parts.queues.get_queue("token-refresh")
    runs = [parts.add(note=f"note {SCRIPT}"), parts.add(note=f"note {SCRIPT}", fail=True)]
    parts.run_all()
    cancelled = parts.add()
    queue.cancel(cancelled, f"cancel {SCRIPT}")
    with running(parts.broker):
        asked = parts.add(wait=True)
        wait_until(lambda: queue.counts()["active"] == 1)
        queue.cancel(asked, f"asked {SCRIPT}")
        pages = {f"jobs/{asked}": ask.get(f"{QUEUE}/jobs/{asked}").text}
        gate.set()
    waits = parts.queues.add_job(
        "token-refresh", "token-refresh-work", {"character_id": 1}, job_id=SCRIPT, requested_by=f"by {SCRIPT}"
    ).id
    ask.post("/admin/jobs/queues/token-refresh/pause", json={"reason": f"pause {SCRIPT}"})
    ask.post("/admin/jobs/esi/pause", json={"reason": f"esi {SCRIPT}"})
    ask.post(
        f"/admin/jobs/queues/token-refresh/jobs/none{quote(SCRIPT, safe='')}/cancel", json={"reason": f"body {SCRIPT}"}
    )
    ask.post(
        "/admin/jobs/queues/token-refresh/bulk",
        json={"action": "retry", "filter": {"fields": {"user_id": SCRIPT}}, "dryRun": False},
    )
    for path in (
        *("", "?status=failed", "?status=paused", "/failures", *(f"/jobs/{each}" for each in (*runs, cancelled))),
        f"/jobs/{quote(waits, safe='')}",
    ):
        pages[path] = ask.get(QUEUE + path).text
    audit = ("/admin/audit", f"/admin/audit?actor={quote(f'nobody {SCRIPT}')}")
    for path in ("/admin/", *audit, "/admin/bulk", "/admin/checks", "/admin/schedules/nightly"):
        pages[path] = ask.get(path).text
    confirm = f"queue=token-refresh&field=user_id={quote(SCRIPT)}&action=remove&status=failed&type="
    pages["confirm"] = ask.get(f"/admin/confirm/bulk?{confirm}").text
    pages["notice"] = ask.post(
        f"{QUEUE}/pause", data={"form_token": form_token(pages["/admin/"]), "minutes": SCRIPT}
    ).text
    pages["told"] = ask.get(QUEUE).text
    for path, page in pages.items():
        assert "<script" not in page, path
    seen = html.unescape("".join(pages.values()))
    for said in ("note", "cancel", "asked", "by", "pause", "esi", "body", "description", "nobody"):
        assert f"{said} {SCRIPT}" in seen, said
    for said in (
        f'"note": "note {SCRIPT}"',
        f"  note {SCRIPT}",
        f"50.0 % · note {SCRIPT}",
        f"not found</b>note {SCRIPT}",
    ):
        assert said in seen, said
    assert f'minutes "{SCRIPT}" is unusable' in html.unescape(pages["told"])


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/admin/queues/nothing", 404, "unknown queue 'nothing'"),
        ("/admin/queues/<script>", 404, "unknown queue '<script>'"),
        ("/admin/queues/token-refresh/jobs/none", 404, "holds no job 'none'"),
        ("/admin/queues/token-refresh?status=done", 422, "unknown state 'done'"),
    ],
)
def test_a_page_that_cannot_be_shown_says_why(ask: FlaskClient, path: str, status: int, said: str) -> None:
    answer = ask.get(path)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert said in text_of(answer.text)
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    ("ms", "said"),
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
def test_durations_are_told_in_their_two_largest_units(ms: float | None, said: str) -> None:
    assert words.duration(ms) == said


def test_instants_are_told_from_now_and_in_utc() -> None:
    assert words.utc(1_000) == "1970-01-01 00:00:01"
    assert words.from_now(60_000, 120_000) == "1 min ago"
    assert words.from_now(120_000, 60_000) == "in 1 min"
    assert words.iso_ms("1970-01-01T00:00:01+00:00") == 1000
    assert (words.percent(None), words.percent(100.0), words.percent(0.98)) == ("–", "100 %", "0.98 %")
    assert words.number(1234567) == "1\u202f234\u202f567"


def test_half_a_surrogate_pair_fails_no_page(ask: FlaskClient, parts: Parts) -> None:
    broken = "caf\ud83d"

    def add(**data: object) -> str:
        """Add a job as another producer may, of which our own add_job would refuse the text."""
        kwargs = {"character_id": 1, "note": broken, **data}
        message: Message[Any] = Message("token-refresh", "token-refresh-work", (), kwargs, {"priority": 2})
        return parts.broker.enqueue(message).message_id

    ids = [add(), add(fail=True)]
    parts.run_all()
    cancelled = add()
    queue = parts.queues.get_queue("token-refresh")
    queue.cancel(cancelled, broken)
    queue.pause(reason=broken)
    for path in (
        "/admin/",
        "/admin/queues/token-refresh?status=failed,completed",
        "/admin/queues/token-refresh/failures",
        *(f"/admin/queues/token-refresh/jobs/{job_id}" for job_id in (*ids, cancelled)),
    ):
        answer = ask.get(path)
        assert answer.status_code == 200, path
    page = ask.get(f"/admin/queues/token-refresh/jobs/{ids[0]}").text
    assert r"caf\ud83d" in page
    overview = ask.get("/admin/")
    assert int(overview.headers["Content-Length"]) == len(overview.data)
    assert ask.get("/admin/jobs/failed").status_code == 200
