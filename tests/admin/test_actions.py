"""The buttons of the pages: they need a form of the same browser, and show their result on the next page."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict

from .conftest import AdminApp
from .test_pages import text_of

QUEUE = "/admin/queues/token-refresh"


def press(operator: FlaskClient, page: str, action: str) -> str:
    """Press the button of `page` that leads to `action`; return the text of the next page."""
    shown = operator.get(page).text
    for form in re.findall(r"<form.*?</form>", shown, re.DOTALL):
        target = re.search(r'action="([^"]+)"', form)
        if target and html.unescape(target[1]) == action:
            fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
            response = operator.post(action, data=MultiDict((name, html.unescape(value)) for name, value in fields))
            assert response.status_code == 303, response.text
            return text_of(operator.get(response.location).text)
    raise AssertionError(f"{page} has no button for {action}: {shown}")


def test_a_queue_is_paused_and_resumed(operator: FlaskClient, app: AdminApp) -> None:
    assert "The queue is paused" in press(operator, QUEUE, f"{QUEUE}/pause")
    assert app.queues.get_queue("token-refresh").snapshot().is_paused
    assert "The queue is running again" in press(operator, QUEUE, f"{QUEUE}/resume")
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused


@pytest.mark.parametrize("job_id", ["plain", "a/b?c#d&e", "../../x", "<b>bold</b>", "retry"])
def test_a_job_is_cancelled_retried_and_removed(operator: FlaskClient, app: AdminApp, job_id: str) -> None:
    queue = app.queues.get_queue("token-refresh")
    app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, job_id=job_id)
    page = f"{QUEUE}/jobs/{quote(job_id, safe='')}"
    assert "The job is cancelled." in press(operator, page, f"{page}/cancel")
    job = queue.get(job_id)
    assert job is not None
    assert (job.status, job.outcome) == ("failed", "cancelled")
    assert "cancelled by local" in str(job.failed_reason)
    assert "is waiting again" in press(operator, page, f"{page}/retry")
    assert queue.counts()["waiting"] == 1
    confirm_url = f"/admin/confirm/remove?queue=token-refresh&job={quote(job_id, safe='')}"
    assert "Remove this waiting job permanently?" in text_of(operator.get(confirm_url).text)
    assert queue.get(job_id) is not None
    assert "is removed" in press(operator, confirm_url, f"{page}/remove")
    assert queue.get(job_id) is None


def test_old_jobs_are_removed_after_a_confirmation(operator: FlaskClient, app: AdminApp) -> None:
    for _ in range(3):
        app.add(fail=True)
    app.run_all()
    confirm_url = "/admin/confirm/clean?queue=token-refresh&status=failed&minutes=0&limit=2"
    text = text_of(operator.get(confirm_url).text)
    assert "Remove failed jobs permanently?" in text
    assert "At most 2 jobs Failed now, of any age 3 jobs" in text
    assert "more than 0 minutes ago" in text
    assert "2 failed jobs are removed." in press(operator, confirm_url, f"{QUEUE}/clean")
    assert app.queues.get_queue("token-refresh").counts()["failed"] == 1
    text = text_of(operator.get(confirm_url.replace("minutes=0", "minutes=1")).text)
    assert "more than 1 minute ago" in text
    assert "Failed now, of any age 1 job" in text


@pytest.mark.parametrize(
    "query", ["status=active&minutes=1&limit=1", "status=failed&minutes=-1&limit=1", "status=failed&minutes=1&limit=x"]
)
def test_an_invalid_clean_shows_the_accepted_values(operator: FlaskClient, query: str) -> None:
    response = operator.get(f"/admin/confirm/clean?queue=token-refresh&{query}")
    assert response.status_code == 422
    assert "allowed" in response.text


def test_a_schedule_is_stopped_started_and_run(operator: FlaskClient, app: AdminApp) -> None:
    app.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    page = "/admin/schedules/nightly"
    assert "The schedule is stopped" in press(operator, page, f"{page}/stop")
    assert "The schedule is started" in press(operator, page, f"{page}/start")
    assert "is added to" in press(operator, page, f"{page}/run")
    assert sum(app.queues.get_queue("cache-cleanup").counts().values()) == 1


def test_a_failed_action_shows_and_audits_its_reason(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.add()
    page = f"{QUEUE}/jobs/{job_id}"
    fields = dict(re.findall(r'name="(form_token)" value="([^"]*)"', operator.get(page).text))
    response = operator.post(f"{page}/retry", data=fields)
    assert (response.status_code, response.location) == (303, page)
    assert "only a job that is failed or completed can be retried" in text_of(operator.get(page).text)
    app.queues.get_queue("token-refresh").remove(job_id)
    response = operator.post(f"{page}/cancel", data=fields)
    assert response.location == QUEUE
    assert "has no job" in text_of(operator.get(QUEUE).text)
    entries = app.store.audit.read(10)[0]
    assert [(entry.status, entry.actor) for entry in entries] == [(404, "local"), (409, "local")]
    assert "has no job" in str(entries[0].error)


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_of_another_browser_does_nothing(operator: FlaskClient, app: AdminApp, token: str | None) -> None:
    operator.get(QUEUE)
    response = operator.post(f"{QUEUE}/pause", data={} if token is None else {"form_token": token})
    assert (response.status_code, response.mimetype) == (403, "text/html")
    assert "does not belong to this browser" in text_of(response.text)
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused
    assert [(entry.reason, entry.status) for entry in app.store.audit.read(9)[0]] == [("csrf", 403)]


def test_a_form_without_its_cookie_is_refused(operator: FlaskClient, app: AdminApp) -> None:
    fields = dict(re.findall(r'name="(form_token)" value="([^"]*)"', operator.get(QUEUE).text))
    operator.delete_cookie("nomad_form", path="/admin")
    assert operator.post(f"{QUEUE}/pause", data=fields).status_code == 403
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused


@pytest.mark.parametrize("cookie", ["x", "e30=", "W10=", "bnVsbA==", "é", "eyJkb25lIjogMSwgInRleHQiOiAiPGI+In0="])
def test_a_forged_notice_cookie_breaks_no_page(operator: FlaskClient, cookie: str) -> None:
    operator.set_cookie("nomad_notice", cookie, path="/admin")
    response = operator.get("/admin/")
    assert response.status_code == 200
    assert "<b>" not in response.text.partition("</header>")[2][:200]
