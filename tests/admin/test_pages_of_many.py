"""The pages for job filters, failure groups and bulk operations, and for pauses and limits of queues."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from flask.testing import FlaskClient

from nomad_actors.broker.records.limits import Limits
from nomad_actors.queues.bulk import Runner

from .conftest import AdminApp
from .test_actions import press
from .test_pages import text_of

QUEUE = "/admin/queues/token-refresh"


def send(operator: FlaskClient, page: str, action: str, **typed: str) -> str:
    """Fill in and send the form of `page` that leads to `action`; return the text of the next page."""
    for form in re.findall(r"<form.*?</form>", operator.get(page).text, re.DOTALL):
        target = re.search(r'action="([^"]+)"', form)
        if target and html.unescape(target[1]) == action:
            hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
            assert all(f'name="{name}"' in form for name in typed)
            response = operator.post(action, data={**hidden, **typed})
            assert response.status_code == 303, response.text
            return text_of(operator.get(response.location).text)
    raise AssertionError(f"{page} has no form for {action}")


def test_the_next_page_keeps_a_field_filter(operator: FlaskClient, app: AdminApp) -> None:
    ids = [app.add(character_id=number % 2) for number in range(4)]
    page = operator.get(f"{QUEUE}?status=waiting&type=&field=character_id%3D1&fingerprint=&limit=1").text
    assert [job_id in page for job_id in ids].count(True) == 1
    assert ids[0] not in page
    assert ids[2] not in page
    assert "Showing 1 of up to 2" in text_of(page)
    following = re.search(r'href="(\?[^"]*cursor=[^"]*)"', page)
    assert following
    next_page = operator.get(QUEUE + html.unescape(following[1])).text
    assert (ids[1] in page, ids[3] in page) == (ids[3] in next_page, ids[1] in next_page)
    assert "field=character_id" in html.unescape(following[1])
    wrong = operator.get(f"{QUEUE}?field=note%3Dx")
    assert (wrong.status_code, "allowed: character_id" in text_of(wrong.text)) == (422, True)


BOTH = "field=character_id%3D1&field=user_id%3D2"


def test_a_bulk_operation_keeps_a_filter_of_two_fields(operator: FlaskClient, app: AdminApp) -> None:
    for number in range(4):
        app.add(character_id=number % 2, user_id=number // 2 * 2)
    page = operator.get(f"{QUEUE}?status=waiting&{BOTH}&since=5&limit=7").text
    assert "Showing 1" in text_of(page)
    find = page[page.index('<form class="fields" method="get">') :].partition("</form>")[0]
    assert re.findall(r'name="field" value="([^"]*)"', find) == ["character_id=1", "user_id=2", ""]
    assert dict(re.findall(r'type="hidden" name="(since|until|limit)" value="([^"]*)"', find)) == {
        "since": "5",
        "limit": "7",
    }
    confirm_url = f"/admin/confirm/bulk?queue=token-refresh&action=cancel&status=waiting&{BOTH}"
    question = operator.get(confirm_url).text
    assert "Field character_id=1 Field user_id=2" in text_of(question)
    assert f'href="{QUEUE}?status=waiting&amp;{BOTH.replace("&", "&amp;")}"' in question
    assert operator.get(html.unescape(re.search(r'class="button" href="([^"]+)"', question)[1])).status_code == 200  # type: ignore[index]
    assert "The operation has started, for 2 jobs" in press(operator, confirm_url, f"{QUEUE}/bulk")
    (operation,) = operator.get("/admin/jobs/bulk").get_json()["operations"]
    assert operation["filter"]["fields"] == {"character_id": "1", "user_id": "2"}


def test_problems_are_shown_first_with_their_remedies(operator: FlaskClient, app: AdminApp) -> None:
    app.add()
    assert 'href="/admin/checks"' in operator.get("/admin/").text
    page = operator.get("/admin/checks")
    report = operator.get("/admin/doctor").get_json()
    assert (page.status_code, report["healthy"]) == (200, False)
    text = text_of(page.text)
    assert "Problems found" in text
    fixes = [check["fix"].splitlines() for check in report["checks"] if check["fix"]]
    assert fixes
    assert all(f"→ {first}" in text and all(line in text for line in more) for first, *more in fixes)
    outcomes = re.findall(r'<span class="state \w*">(\w+)</span>', page.text)
    assert sorted(outcomes) == sorted(check["status"] for check in report["checks"])
    ranks = [("problem", "warning", "unknown", "ok").index(outcome) for outcome in outcomes]
    assert ranks == sorted(ranks)


def test_cancelled_jobs_do_not_hide_failures(operator: FlaskClient, app: AdminApp) -> None:
    failed = app.add(character_id=5, fail=True)
    app.run_all()
    for _ in range(12):
        app.queues.get_queue("token-refresh").cancel(app.add(), "a test")
    overview = operator.get("/admin/").text
    assert failed in overview
    assert "cancelled: a test" not in overview
    assert re.search(r'status=failed&amp;outcome=failed" class="alarm">1<', overview)
    assert "1 (+12 cancelled)" in text_of(overview)
    assert "failed 1 (+12 cancelled)" in text_of(operator.get(QUEUE).text)
    page = operator.get(f"{QUEUE}?status=failed&outcome=failed").text
    assert "Showing 1 of 1" in text_of(page)
    assert "<option selected>failed</option>" in page
    assert 'name="outcome" value="failed"' in page[page.index("/admin/confirm/bulk") :]
    app.queues.get_queue("token-refresh").remove(failed)
    overview = text_of(operator.get("/admin/").text)
    assert "No failed jobs; 12 were cancelled." in overview
    confirm_url = "/admin/confirm/bulk?queue=token-refresh&action=remove&status=failed&outcome=cancelled"
    assert "Outcome cancelled" in text_of(operator.get(confirm_url).text)
    assert "The operation has started, for 12 jobs" in press(operator, confirm_url, f"{QUEUE}/bulk")
    assert "failed · cancelled" in text_of(operator.get("/admin/bulk").text)


def test_the_next_page_of_failures_keeps_the_limit(operator: FlaskClient, app: AdminApp) -> None:
    for number in range(3):
        app.queues.add_job(
            "token-refresh", "token-refresh-work", {"character_id": 1, "fail": True, "note": "abc"[number]}
        )
    app.run_all()
    page = operator.get(f"{QUEUE}/failures?limit=1").text
    older = re.search(r'href="(\?limit=1&amp;cursor=[^"]+)"', page)
    assert older
    assert text_of(operator.get(f"{QUEUE}/failures{html.unescape(older[1])}").text).count("ValueError") == 1


def test_a_failure_group_links_to_the_retry_of_its_jobs(
    operator: FlaskClient, app: AdminApp, wait_until: Callable[..., None]
) -> None:
    for _ in range(2):
        app.add(fail=True)
    app.run_all()
    page = operator.get(f"{QUEUE}/failures").text
    assert "ValueError: ESI said <n> <b>not found</b>" in text_of(page)
    assert "<b>not found</b>" not in page
    confirm_url = html.unescape(re.search(r'href="(/admin/confirm/bulk[^"]*)"', page)[1])  # type: ignore[index]
    question = text_of(operator.get(confirm_url).text)
    assert "Retry 2 jobs?" in question
    assert app.queues.get_queue("token-refresh").counts()["failed"] == 2
    assert "The operation has started, for 2 jobs" in press(operator, confirm_url, f"{QUEUE}/bulk")
    runner = Runner(app.queues)
    runner.start()
    try:
        wait_until(lambda: app.queues.get_queue("token-refresh").counts()["waiting"] == 2, timeout_seconds=10)
        wait_until(lambda: "finished" in text_of(operator.get("/admin/bulk").text), timeout_seconds=10)
    finally:
        runner.close()


def test_an_operation_is_stopped_and_resumed(operator: FlaskClient, app: AdminApp) -> None:
    app.add()
    confirm_url = "/admin/confirm/bulk?queue=token-refresh&action=remove&status=waiting"
    assert "Remove 1 job?" in text_of(operator.get(confirm_url).text)
    press(operator, confirm_url, f"{QUEUE}/bulk")
    (operation,) = operator.get("/admin/jobs/bulk").get_json()["operations"]
    path = f"{QUEUE}/bulk/{operation['id']}"
    assert "What it has already done stays done" in press(operator, "/admin/bulk", f"{path}/stop")
    assert "stopped" in text_of(operator.get("/admin/bulk").text)
    assert "continues where it stopped" in press(operator, "/admin/bulk", f"{path}/resume")
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == 1


def test_an_invalid_operation_is_refused(operator: FlaskClient) -> None:
    for query in ("action=explode&status=waiting", "action=retry&status=active", "action=remove"):
        response = operator.get(f"/admin/confirm/bulk?queue=token-refresh&{query}")
        assert response.status_code == 422, query
    assert operator.get("/admin/confirm/bulk?queue=none&action=retry&status=failed").status_code == 404
    assert operator.get("/admin/jobs/bulk").get_json() == {"operations": []}


def test_esi_queues_are_paused_from_the_overview(operator: FlaskClient, app: AdminApp) -> None:
    text = send(operator, "/admin/", "/admin/esi/pause", reason="downtime", minutes="30")
    assert "ESI queues are paused for 30 minutes: token-refresh." in text
    assert "Paused by local" in text
    assert "downtime" in text
    (pause,) = app.queues.get_queue("token-refresh").snapshot().pauses
    assert pause.until_ms is not None
    assert "are resumed: token-refresh" in press(operator, "/admin/", "/admin/esi/resume")
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused


def test_limits_are_set_and_removed_on_the_queues_page(operator: FlaskClient, app: AdminApp) -> None:
    queue = app.queues.get_queue("token-refresh")
    typed = {"concurrency": "3", "starts": "10", "seconds": "60", "length": ""}
    assert "apply to all workers immediately" in send(operator, QUEUE, f"{QUEUE}/limits", **typed)
    assert queue.snapshot().limits == Limits(concurrency=3, starts=10, period_ms=60_000)
    for period_ms, shown in ((1500, "1.5"), (200, "0.2"), (60_000, "60"), (1, "0.001")):
        queue.set_limits(Limits(starts=10, period_ms=period_ms))
        assert f'name="seconds" type="number" min="0.001" step="0.001" value="{shown}"' in operator.get(QUEUE).text
        send(operator, QUEUE, f"{QUEUE}/limits", concurrency="3", starts="10", seconds=shown, length="")
        assert queue.snapshot().limits.period_ms == period_ms
    for wrong in ("0", "1.2345", "-1", "1e3", "1,5", "9" * 12):
        assert "seconds" in send(operator, QUEUE, f"{QUEUE}/limits", **{**typed, "seconds": wrong})
        assert queue.snapshot().limits.period_ms == 1
    send(operator, QUEUE, f"{QUEUE}/limits", **typed)
    assert "starts and period go together" in send(operator, QUEUE, f"{QUEUE}/limits", **{**typed, "seconds": ""})
    assert queue.snapshot().limits.starts == 10
    assert "is invalid" in send(operator, QUEUE, f"{QUEUE}/limits", **{**typed, "concurrency": "many"})
    send(operator, QUEUE, f"{QUEUE}/limits", concurrency="", starts="", seconds="", length="")
    assert queue.snapshot().limits.starts is None


def test_a_delayed_job_is_promoted_on_its_page(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, delay=60_000).id
    page = f"{QUEUE}/jobs/{job_id}"
    assert "The job is waiting now." in press(operator, page, f"{page}/promote")
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == 1
