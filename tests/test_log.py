"""Every log line has one form, says which job it is about, and tells no secret."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import structlog

from nomad_actors import log

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDSEFSQUNURVI6RVZFOjEifQ.c2lnbmF0dXJlLWhlcmU"
REFRESH_TOKEN = "gEy-8fP2kq0aT1m4ZsBvXw"


@pytest.fixture
def lines() -> Iterator[Callable[..., io.StringIO]]:
    """Configure the log onto a text in memory; put the root logger back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def start(log_format: str = "logfmt", log_level: str = "info") -> io.StringIO:
        stream = io.StringIO()
        log.configure(log_format, log_level, stream)
        return stream

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_stdlib_and_structlog_come_out_in_the_same_form(lines):
    stream = lines("json")
    logging.getLogger("dramatiq.worker").warning("%d jobs", 3)
    log.get_logger("token-refresh-job").warning("refreshed", count=3)
    structlog.get_logger("my-own-job").warning("hello")
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("timestamp")
    assert second.pop("timestamp")
    assert first == {"level": "warning", "module": "dramatiq.worker", "event": "3 jobs"}
    assert second == {"level": "warning", "module": "token-refresh-job", "event": "refreshed", "count": 3}
    assert (third["module"], third["event"]) == ("my-own-job", "hello")


def test_logfmt_quotes_what_could_be_misread(lines):
    stream = lines()
    log.get_logger("m").info('a "b"\nc', empty=None, yes=True, path="/x/y", eq="a=b", back="\\n")
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert r'event="a \"b\"\nc" empty= yes=true path=/x/y eq="a=b" back="\\n"' in line


def test_a_name_or_text_that_no_encoding_takes_is_written_all_the_same(lines):
    stream = lines()
    log.get_logger("m").info("half a pair: \ud800", **{"a b": 1})
    stream.getvalue().encode()
    assert "a_b=1" in stream.getvalue()


def test_the_level_holds_for_both(lines):
    stream = lines(log_level="error")
    logging.getLogger("a").warning("no")
    log.get_logger("b").warning("no")
    log.get_logger("b").error("yes")
    assert stream.getvalue().count("\n") == 1


def test_an_exception_is_one_line_with_its_traceback(lines):
    stream = lines("json")
    try:
        raise ValueError("boom")
    except ValueError:
        log.get_logger("m").exception("it broke")
        logging.getLogger("n").exception("it broke")
    for line in stream.getvalue().splitlines():
        assert "ValueError: boom" in json.loads(line)["exception"]


def test_what_is_bound_to_the_thread_is_on_every_line(lines):
    stream = lines("json")
    with structlog.contextvars.bound_contextvars(job_id="j1", attempt=2):
        logging.getLogger("urllib3").info("sent")
        log.get_logger("x-job").info("got", attempt=3)
    logging.getLogger("urllib3").info("after")
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert (first["job_id"], first["attempt"]) == ("j1", 2)
    assert (second["job_id"], second["attempt"]) == ("j1", 3)
    assert "job_id" not in third


@pytest.mark.parametrize(
    "text",
    [
        f"got {JWT} from the SSO",
        f"Authorization: Bearer {JWT}",
        f"{{'Authorization': 'Bearer {REFRESH_TOKEN}'}}",
        f"Authorization: Basic {REFRESH_TOKEN}",
        f"POST grant_type=refresh_token&refresh_token={REFRESH_TOKEN}&x=1",
        f'{{"refresh_token": "{REFRESH_TOKEN}"}}',
        f"{{'client_secret': '{REFRESH_TOKEN}'}}",
        f"the refresh token {REFRESH_TOKEN} was refused",
        f"Tokens(character_id=1, access_token='{REFRESH_TOKEN}')",
        f"cannot connect to redis://:{REFRESH_TOKEN}@db:6379/0",
        f"cannot connect to postgresql+psycopg://nomad:{REFRESH_TOKEN}@db/nomad",
        f"password={REFRESH_TOKEN}",
    ],
)
@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_no_secret_reaches_the_log(lines, text, log_format):
    stream = lines(log_format)
    logger = log.get_logger("m")
    logging.getLogger("n").warning(text)
    logger.warning("x", answer=text, nested={"deep": [text]})
    try:
        raise RuntimeError(text)
    except RuntimeError:
        logger.exception("failed")
    written = stream.getvalue()
    assert REFRESH_TOKEN not in written
    assert JWT not in written
    assert written.count("[hidden]") >= 4


def test_a_field_named_like_a_secret_is_hidden_and_its_neighbours_are_not(lines):
    stream = lines("json")
    log.get_logger("m").info(
        "x", refresh_token="a b c", nested={"password": "p", "user": "u"}, token_refreshes=4, queue="token-refresh"
    )
    fields = json.loads(stream.getvalue())
    assert fields["refresh_token"] == log.HIDDEN
    assert fields["nested"] == {"password": log.HIDDEN, "user": "u"}
    assert (fields["token_refreshes"], fields["queue"]) == (4, "token-refresh")


@pytest.mark.parametrize(
    "text",
    [
        "token-refresh: 3 jobs completed",
        "http://127.0.0.1:9191/metrics",
        "unknown job type 'token' (accepted: token-refresh)",
        "job 6f1c7c1e-1111-4222-8333-444455556666 of queue token-refresh ended too late",
    ],
)
def test_ordinary_words_are_left_alone(text):
    assert log.redact(text) == text


def test_configuring_again_leaves_one_line_for_each_event(lines):
    lines()
    logging.basicConfig(stream=io.StringIO())
    stream = lines()
    logging.getLogger("a").warning("once")
    assert stream.getvalue().count("once") == 1
    assert sum(isinstance(h, log.LineHandler) for h in logging.getLogger().handlers) == 1


def test_written_lines_do_not_mix_with_those_of_other_threads(lines):
    stream = lines()
    block = "x" * 50 + "\n"

    def write() -> None:
        for _ in range(200):
            log.write_lines(block * 3)
            logging.getLogger("t").info("y" * 50)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = stream.getvalue().splitlines()
    assert len(written) == 4 * 200 * 4
    assert all(line == "x" * 50 or line.endswith("event=" + "y" * 50) for line in written)


def test_writing_to_a_closed_stream_raises_nothing(lines):
    lines().close()
    log.write_lines("lost\n")


def test_a_logger_works_before_anything_is_configured():
    code = "from nomad_actors.log import get_logger; get_logger('m').warning('%s said', 'hello')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stderr == "hello said\n"


def test_time_is_utc_to_the_millisecond():
    assert log.format_time(0.0019) == "1970-01-01T00:00:00.001Z"
