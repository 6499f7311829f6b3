"""The pages' buttons: each does what it says, only from a form of this browser's, and tells what came of it."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict

from .conftest import Parts
from .test_pages import text_of

QUEUE = "/admin/queues/token-refresh"


def press(ask: FlaskClient, page: str, action: str) -> str:
    """Press the button of `page` that leads to `action`; return what the next page says."""
    shown = ask.get(page).text
    for form in re.findall(r"<form.*?</form>", shown, re.DOTALL):
        target = re.search(r'action="([^"]+)"', form)
        if target and html.unescape(target[1]) == action:
            fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
            answer = ask.post(action, data=MultiDict((name, html.unescape(value)) for name, value in fields))
            assert answer.status_code == 303, answer.text
            return text_of(ask.get(answer.location).text)
    raise AssertionError(f"{page} has no button for {action}: {shown}")


def test_a_queue_is_paused_and_resumed(ask: FlaskClient, parts: Parts) -> None:
    assert "The queue is paused" in press(ask, QUEUE, f"{QUEUE}/pause")
    assert parts.queues.get_queue("token-refresh").snapshot().is_paused
    assert "The queue runs again" in press(ask, QUEUE, f"{QUEUE}/resume")
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused


@pytest.mark.parametrize("job_id", ["plain", "a/b?c#d&e", "../../x", "<b>bold</b>", "retry"])
def test_a_job_is_cancelled_run_again_and_removed(ask: FlaskClient, parts: Parts, job_id: str) -> None:
    queue = parts.queues.get_queue("token-refresh")
    parts.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, job_id=job_id)
    page = f"{QUEUE}/jobs/{quote(job_id, safe='')}"
    assert "The job is cancelled." in press(ask, page, f"{page}/cancel")
    job = queue.get(job_id)
    assert job is not None
    assert (job.status, job.outcome) == ("failed", "cancelled")
    assert "cancelled by local" in str(job.failed_reason)
    assert "waits again" in press(ask, page, f"{page}/retry")
    assert queue.counts()["waiting"] == 1
    asked = f"/admin/confirm/remove?queue=token-refresh&job={quote(job_id, safe='')}"
    assert "Remove this waiting job for good?" in text_of(ask.get(asked).text)
    assert queue.get(job_id) is not None
    assert "is removed" in press(ask, asked, f"{page}/remove")
    assert queue.get(job_id) is None


def test_old_jobs_are_removed_after_one_more_question(ask: FlaskClient, parts: Parts) -> None:
    for _ in range(3):
        parts.add(fail=True)
    parts.run_all()
    asked = "/admin/confirm/clean?queue=token-refresh&status=failed&minutes=0&limit=2"
    seen = text_of(ask.get(asked).text)
    assert "Remove failed jobs for good?" in seen
    assert "2; 3 are failed now, of any age" in seen
    assert "over 0 minutes ago" in seen
    assert "2 failed jobs are removed." in press(ask, asked, f"{QUEUE}/clean")
    assert parts.queues.get_queue("token-refresh").counts()["failed"] == 1
    seen = text_of(ask.get(asked.replace("minutes=0", "minutes=1")).text)
    assert "over 1 minute ago" in seen
    assert "2; 1 is failed now, of any age" in seen


@pytest.mark.parametrize(
    "query", ["status=active&minutes=1&limit=1", "status=failed&minutes=-1&limit=1", "status=failed&minutes=1&limit=x"]
)
def test_what_cannot_be_cleaned_is_said(ask: FlaskClient, query: str) -> None:
    answer = ask.get(f"/admin/confirm/clean?queue=token-refresh&{query}")
    assert answer.status_code == 422
    assert "accepted" in answer.text


def test_a_schedule_is_stopped_started_and_run(ask: FlaskClient, parts: Parts) -> None:
    parts.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    page = "/admin/schedules/nightly"
    assert "The schedule is stopped" in press(ask, page, f"{page}/stop")
    assert "The schedule is on" in press(ask, page, f"{page}/start")
    assert "is added to" in press(ask, page, f"{page}/run")
    assert sum(parts.queues.get_queue("cache-cleanup").counts().values()) == 1


def test_why_nothing_was_done_is_said_and_audited(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.add()
    page = f"{QUEUE}/jobs/{job_id}"
    fields = dict(re.findall(r'name="(form_token)" value="([^"]*)"', ask.get(page).text))
    answer = ask.post(f"{page}/retry", data=fields)
    assert (answer.status_code, answer.location) == (303, page)
    assert "only a job that is failed or completed can be retried" in text_of(ask.get(page).text)
    parts.queues.get_queue("token-refresh").remove(job_id)
    answer = ask.post(f"{page}/cancel", data=fields)
    assert answer.location == QUEUE
    assert "holds no job" in text_of(ask.get(QUEUE).text)
    entries = parts.store.audit.read(10)[0]
    assert [(entry.status, entry.actor) for entry in entries] == [(404, "local"), (409, "local")]
    assert "holds no job" in str(entries[0].error)


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_that_is_not_this_browsers_does_nothing(ask: FlaskClient, parts: Parts, token: str | None) -> None:
    ask.get(QUEUE)
    answer = ask.post(f"{QUEUE}/pause", data={} if token is None else {"form_token": token})
    assert (answer.status_code, answer.mimetype) == (403, "text/html")
    assert "not of this browser" in text_of(answer.text)
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused
    assert [(entry.reason, entry.status) for entry in parts.store.audit.read(9)[0]] == [("csrf", 403)]


def test_a_browser_without_our_cookie_has_no_form(ask: FlaskClient, parts: Parts) -> None:
    fields = dict(re.findall(r'name="(form_token)" value="([^"]*)"', ask.get(QUEUE).text))
    ask.delete_cookie("nomad_form", path="/admin")
    assert ask.post(f"{QUEUE}/pause", data=fields).status_code == 403
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused


@pytest.mark.parametrize("cookie", ["x", "e30=", "W10=", "bnVsbA==", "é", "eyJkb25lIjogMSwgInRleHQiOiAiPGI+In0="])
def test_a_notice_that_is_not_ours_breaks_no_page(ask: FlaskClient, cookie: str) -> None:
    ask.set_cookie("nomad_notice", cookie, path="/admin")
    answer = ask.get("/admin/")
    assert answer.status_code == 200
    assert "<b>" not in answer.text.partition("</header>")[2][:200]
