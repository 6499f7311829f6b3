"""The end of a run is logged in one line, which contains no payload value but the character's id."""

from __future__ import annotations

import json
import re
import time

import pytest

from nomad_actors.broker.endings import Outcome
from nomad_actors.logs import LINE_BYTES
from nomad_actors.middleware.job_log import ERROR_CHARACTERS, JobLog


@pytest.fixture
def lines():
    return []


@pytest.fixture
def make_log(lines):
    def make(log_format="json", log_level="info"):
        return JobLog(log_format=log_format, log_level=log_level, write=lines.append)

    return make


def test_a_completed_job_in_logfmt(make_log, lines, ended, message):
    make_log("logfmt").report_settled(None, [ended(message=message(character_id=95465499))])
    assert re.fullmatch(
        r"timestamp=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info module=esi-data-refresh-job "
        r'event="job completed" category=job_metrics queue=esi-refresh actor=esi-data-refresh outcome=completed '
        r"job_id=6f1c7c1e-1111-4222-8333-444455556666 attempt=1 character_id=95465499 "
        r"wait_ms=250.0 duration_ms=600.0\n",
        "".join(lines),
    )


def test_a_failed_job_in_json(make_log, lines, ended):
    make_log().report_settled(None, [ended(outcome=Outcome.FAILED, attempt=3, error='ValueError: "x"\ny')])
    (line,) = "".join(lines).splitlines()
    fields = json.loads(line)
    assert fields.pop("timestamp")
    assert fields == {
        "level": "error",
        "module": "esi-data-refresh-job",
        "event": "job failed",
        "category": "job_metrics",
        "job_id": "6f1c7c1e-1111-4222-8333-444455556666",
        "queue": "esi-refresh",
        "actor": "esi-data-refresh",
        "attempt": 3,
        "outcome": "failed",
        "wait_ms": 250.0,
        "duration_ms": 600.0,
        "error": 'ValueError: "x"\ny',
    }


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome.COMPLETED, "info"),
        (Outcome.SKIPPED, "info"),
        (Outcome.RELEASED, "info"),
        (Outcome.DEFERRED, "info"),
        (Outcome.CANCELLED, "info"),
        (Outcome.RETRIED, "warning"),
        (Outcome.RECOVERED, "warning"),
        (Outcome.FAILED, "error"),
    ],
)
def test_each_outcome_has_its_level(make_log, lines, ended, outcome, level):
    make_log().report_settled(None, [ended(outcome=outcome)])
    fields = json.loads("".join(lines))
    assert (fields["level"], fields["outcome"]) == (level, outcome.value)


def test_each_run_has_one_line(make_log, lines, ended):
    make_log("logfmt").report_settled(None, [ended(job_id=f"j{i}") for i in range(5)])
    assert re.findall(r"job_id=(\S+)", "".join(lines)) == [f"j{i}" for i in range(5)]


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_payload_values_are_not_logged(make_log, lines, ended, message, log_format):
    payload = message(character_id=1, refresh_token="s3cr3t-value", user_id="user-7")
    make_log(log_format).report_settled(None, [ended(message=payload)])
    assert "s3cr3t-value" not in lines[0]
    assert "user-7" not in lines[0]


def test_a_character_id_that_is_no_integer_is_left_out(make_log, lines, ended, message):
    job_log = make_log("logfmt")
    job_log.report_settled(
        None, [ended(message=message(character_id="x y")), ended(message=message(character_id=True))]
    )
    assert "character_id" not in "".join(lines)


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_a_token_in_an_error_is_hidden_and_a_long_error_is_cut(make_log, lines, ended, log_format):
    error = "SsoError: refresh_token=gEy-8fP2kq0aT1m4ZsBvXw " + "x" * 5_000
    make_log(log_format).report_settled(None, [ended(outcome=Outcome.FAILED, error=error)])
    assert "gEy-" not in lines[0]
    assert "[hidden]" in lines[0]
    assert len(lines[0]) < ERROR_CHARACTERS + 500


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_a_huge_error_or_name_is_cut_quickly(make_log, lines, ended, log_format):
    began = time.thread_time()
    for _ in range(20):
        make_log(log_format).report_settled(
            None, [ended(outcome=Outcome.FAILED, actor="\U0001f600" * 50_000, error="token-a-" * 100_000)]
        )
    # A filter whose time grew with the square of the text took minutes for one of them.
    assert time.thread_time() - began < 2
    assert max(len(line.encode()) for line in lines) <= LINE_BYTES


def test_lines_below_the_log_level_are_not_written(make_log, lines, ended):
    job_log = make_log(log_level="warning")
    job_log.report_settled(None, [ended(), ended(outcome=Outcome.RETRIED)])
    (line,) = "".join(lines).splitlines()
    assert json.loads(line)["outcome"] == "retried"


def test_quotes_and_line_breaks_in_names_are_escaped(make_log, lines, ended):
    make_log().report_settled(None, [ended(actor='a "b"', queue="c\nd")])
    assert json.loads("".join(lines))["actor"] == 'a "b"'
    lines.clear()
    make_log("logfmt").report_settled(None, [ended(actor='a "b"', queue="c\nd")])
    assert "".join(lines).count("\n") == 1
