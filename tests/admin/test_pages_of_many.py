"""The pages for many jobs at once: finding, why they failed, one action on all of them; and what holds queues back."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from flask.testing import FlaskClient

from nomad_actors.broker.records.holds import Limits
from nomad_actors.queues.bulk import Runner

from .conftest import Parts
from .test_actions import press
from .test_pages import text_of

QUEUE = "/admin/queues/token-refresh"


def send(ask: FlaskClient, page: str, action: str, **typed: str) -> str:
    """Fill in and send the form of `page` that leads to `action`; return what the next page says."""
    for form in re.findall(r"<form.*?</form>", ask.get(page).text, re.DOTALL):
        target = re.search(r'action="([^"]+)"', form)
        if target and html.unescape(target[1]) == action:
            hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
            assert all(f'name="{name}"' in form for name in typed)
            answer = ask.post(action, data={**hidden, **typed})
            assert answer.status_code == 303, answer.text
            return text_of(ask.get(answer.location).text)
    raise AssertionError(f"{page} has no form for {action}")


def test_jobs_are_found_by_a_field_and_the_next_page_keeps_it(ask: FlaskClient, parts: Parts) -> None:
    ids = [parts.add(character_id=number % 2) for number in range(4)]
    seen = ask.get(f"{QUEUE}?status=waiting&type=&field=character_id%3D1&fingerprint=&limit=1").text
    assert [job_id in seen for job_id in ids].count(True) == 1
    assert ids[0] not in seen
    assert ids[2] not in seen
    assert "1 shown of up to 2" in text_of(seen)
    following = re.search(r'href="(\?[^"]*cursor=[^"]*)"', seen)
    assert following
    then = ask.get(QUEUE + html.unescape(following[1])).text
    assert (ids[1] in seen, ids[3] in seen) == (ids[3] in then, ids[1] in then)
    assert "field=character_id" in html.unescape(following[1])
    wrong = ask.get(f"{QUEUE}?field=note%3Dx")
    assert (wrong.status_code, "accepted: character_id" in text_of(wrong.text)) == (422, True)


BOTH = "field=character_id%3D1&field=user_id%3D2"


def test_two_fields_are_shown_asked_about_and_kept(ask: FlaskClient, parts: Parts) -> None:
    for number in range(4):
        parts.add(character_id=number % 2, user_id=number // 2 * 2)
    page = ask.get(f"{QUEUE}?status=waiting&{BOTH}&since=5&limit=7").text
    assert "1 shown" in text_of(page)
    find = page[page.index('<form class="fields" method="get">') :].partition("</form>")[0]
    assert re.findall(r'name="field" value="([^"]*)"', find) == ["character_id=1", "user_id=2", ""]
    assert dict(re.findall(r'type="hidden" name="(since|until|limit)" value="([^"]*)"', find)) == {
        "since": "5",
        "limit": "7",
    }
    asked = f"/admin/confirm/bulk?queue=token-refresh&action=cancel&status=waiting&{BOTH}"
    question = ask.get(asked).text
    assert "Field character_id=1 Field user_id=2" in text_of(question)
    assert f'href="{QUEUE}?status=waiting&amp;{BOTH.replace("&", "&amp;")}"' in question
    assert ask.get(html.unescape(re.search(r'class="button" href="([^"]+)"', question)[1])).status_code == 200  # type: ignore[index]
    assert "It has begun, for 2 jobs" in press(ask, asked, f"{QUEUE}/bulk")
    (operation,) = ask.get("/admin/jobs/bulk").get_json()["operations"]
    assert operation["filter"]["fields"] == {"character_id": "1", "user_id": "2"}


def test_what_is_wrong_is_shown_first_and_with_what_mends_it(ask: FlaskClient, parts: Parts) -> None:
    parts.add()
    assert 'href="/admin/checks"' in ask.get("/admin/").text
    page = ask.get("/admin/checks")
    told = ask.get("/admin/doctor").get_json()
    assert (page.status_code, told["healthy"]) == (200, False)
    seen = text_of(page.text)
    assert "Something is wrong" in seen
    fixes = [check["fix"].splitlines() for check in told["checks"] if check["fix"]]
    assert fixes
    assert all(f"→ {first}" in seen and all(line in seen for line in more) for first, *more in fixes)
    outcomes = re.findall(r'<span class="state \w*">(\w+)</span>', page.text)
    assert sorted(outcomes) == sorted(check["status"] for check in told["checks"])
    ranks = [("problem", "warning", "unknown", "ok").index(outcome) for outcome in outcomes]
    assert ranks == sorted(ranks)


def test_cancelled_jobs_hide_no_failures(ask: FlaskClient, parts: Parts) -> None:
    failed = parts.add(character_id=5, fail=True)
    parts.run_all()
    for _ in range(12):
        parts.queues.get_queue("token-refresh").cancel(parts.add(), "a test")
    overview = ask.get("/admin/").text
    assert failed in overview
    assert "cancelled: a test" not in overview
    assert re.search(r'status=failed&amp;outcome=failed" class="alarm">1<', overview)
    assert "1 (+12 cancelled)" in text_of(overview)
    assert "failed 1 (+12 cancelled)" in text_of(ask.get(QUEUE).text)
    seen = ask.get(f"{QUEUE}?status=failed&outcome=failed").text
    assert "1 shown of 1" in text_of(seen)
    assert "<option selected>failed</option>" in seen
    assert 'name="outcome" value="failed"' in seen[seen.index("/admin/confirm/bulk") :]
    parts.queues.get_queue("token-refresh").remove(failed)
    overview = text_of(ask.get("/admin/").text)
    assert "No failed jobs are kept; 12 were cancelled." in overview
    asked = "/admin/confirm/bulk?queue=token-refresh&action=remove&status=failed&outcome=cancelled"
    assert "Outcome cancelled" in text_of(ask.get(asked).text)
    assert "It has begun, for 12 jobs" in press(ask, asked, f"{QUEUE}/bulk")
    assert "failed · cancelled" in text_of(ask.get("/admin/bulk").text)


def test_older_failures_keep_the_number_of_a_page(ask: FlaskClient, parts: Parts) -> None:
    for number in range(3):
        parts.queues.add_job(
            "token-refresh", "token-refresh-work", {"character_id": 1, "fail": True, "note": "abc"[number]}
        )
    parts.run_all()
    page = ask.get(f"{QUEUE}/failures?limit=1").text
    older = re.search(r'href="(\?limit=1&amp;cursor=[^"]+)"', page)
    assert older
    assert text_of(ask.get(f"{QUEUE}/failures{html.unescape(older[1])}").text).count("ValueError") == 1


def test_why_jobs_failed_leads_to_them_and_to_their_retry(
    ask: FlaskClient, parts: Parts, wait_until: Callable[..., None]
) -> None:
    for _ in range(2):
        parts.add(fail=True)
    parts.run_all()
    page = ask.get(f"{QUEUE}/failures").text
    assert "ValueError: ESI said <n> <b>not found</b>" in text_of(page)
    assert "<b>not found</b>" not in page
    asked = html.unescape(re.search(r'href="(/admin/confirm/bulk[^"]*)"', page)[1])  # type: ignore[index]
    question = text_of(ask.get(asked).text)
    assert "Retry 2 jobs?" in question
    assert parts.queues.get_queue("token-refresh").counts()["failed"] == 2
    assert "It has begun, for 2 jobs" in press(ask, asked, f"{QUEUE}/bulk")
    runner = Runner(parts.queues)
    runner.start()
    try:
        wait_until(lambda: parts.queues.get_queue("token-refresh").counts()["waiting"] == 2, timeout_seconds=10)
        wait_until(lambda: "finished" in text_of(ask.get("/admin/bulk").text), timeout_seconds=10)
    finally:
        runner.close()


def test_an_operation_is_stopped_and_let_go_on(ask: FlaskClient, parts: Parts) -> None:
    parts.add()
    asked = "/admin/confirm/bulk?queue=token-refresh&action=remove&status=waiting"
    assert "Remove 1 job?" in text_of(ask.get(asked).text)
    press(ask, asked, f"{QUEUE}/bulk")
    (operation,) = ask.get("/admin/jobs/bulk").get_json()["operations"]
    path = f"{QUEUE}/bulk/{operation['id']}"
    assert "what it did stays done" in press(ask, "/admin/bulk", f"{path}/stop")
    assert "stopped" in text_of(ask.get("/admin/bulk").text)
    assert "goes on where it stopped" in press(ask, "/admin/bulk", f"{path}/resume")
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == 1


def test_a_wrong_action_is_said_and_nothing_begins(ask: FlaskClient) -> None:
    for query in ("action=explode&status=waiting", "action=retry&status=active", "action=remove"):
        answer = ask.get(f"/admin/confirm/bulk?queue=token-refresh&{query}")
        assert answer.status_code == 422, query
    assert ask.get("/admin/confirm/bulk?queue=none&action=retry&status=failed").status_code == 404
    assert ask.get("/admin/jobs/bulk").get_json() == {"operations": []}


def test_all_that_talks_to_esi_is_paused_from_the_overview(ask: FlaskClient, parts: Parts) -> None:
    told = send(ask, "/admin/", "/admin/esi/pause", reason="downtime", minutes="30")
    assert "What talks to ESI is paused for 30 minutes: token-refresh." in told
    assert "Paused by local" in told
    assert "downtime" in told
    (pause,) = parts.queues.get_queue("token-refresh").snapshot().pauses
    assert pause.until_ms is not None
    assert "goes on: token-refresh" in press(ask, "/admin/", "/admin/esi/resume")
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused


def test_limits_are_set_and_lifted_on_the_queues_page(ask: FlaskClient, parts: Parts) -> None:
    queue = parts.queues.get_queue("token-refresh")
    typed = {"concurrency": "3", "starts": "10", "seconds": "60", "length": ""}
    assert "hold at once" in send(ask, QUEUE, f"{QUEUE}/limits", **typed)
    assert Limits.of(queue.snapshot().limits).as_json() == {
        "concurrency": 3,
        "starts": 10,
        "periodMs": 60_000,
        "maxLength": None,
    }
    for period_ms, shown in ((1500, "1.5"), (200, "0.2"), (60_000, "60"), (1, "0.001")):
        queue.set_limits(Limits(starts=10, period_ms=period_ms))
        assert f'name="seconds" type="number" min="0.001" step="0.001" value="{shown}"' in ask.get(QUEUE).text
        send(ask, QUEUE, f"{QUEUE}/limits", concurrency="3", starts="10", seconds=shown, length="")
        assert queue.snapshot().limits.period_ms == period_ms
    for wrong in ("0", "1.2345", "-1", "1e3", "1,5", "9" * 12):
        assert "seconds" in send(ask, QUEUE, f"{QUEUE}/limits", **{**typed, "seconds": wrong})
        assert queue.snapshot().limits.period_ms == 1
    send(ask, QUEUE, f"{QUEUE}/limits", **typed)
    assert "starts and period go together" in send(ask, QUEUE, f"{QUEUE}/limits", **{**typed, "seconds": ""})
    assert queue.snapshot().limits.starts == 10
    assert "unusable" in send(ask, QUEUE, f"{QUEUE}/limits", **{**typed, "concurrency": "many"})
    send(ask, QUEUE, f"{QUEUE}/limits", concurrency="", starts="", seconds="", length="")
    assert queue.snapshot().limits.starts is None


def test_a_delayed_job_is_promoted_on_its_page(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, delay=60_000).id
    page = f"{QUEUE}/jobs/{job_id}"
    assert "The job waits now." in press(ask, page, f"{page}/promote")
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == 1
