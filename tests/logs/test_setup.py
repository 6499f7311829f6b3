"""Every log line has one format, names its job, and contains no secret."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import structlog

from nomad_actors import logs
from nomad_actors.logs import redaction, setup

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDSEFSQUNURVI6RVZFOjEifQ.c2lnbmF0dXJlLWhlcmU"
REFRESH_TOKEN = "gEy-8fP2kq0aT1m4ZsBvXw"


@pytest.fixture
def lines() -> Iterator[Callable[..., io.StringIO]]:
    """Configure the log to write to memory; restore the root logger afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def start(log_format: str = "logfmt", log_level: str = "info") -> io.StringIO:
        stream = io.StringIO()
        logs.configure(log_format, log_level, stream)
        return stream

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_stdlib_and_structlog_have_the_same_format(lines):
    stream = lines("json")
    logging.getLogger("dramatiq.worker").warning("%d jobs", 3)
    logs.get_logger("token-refresh-job").warning("refreshed", count=3)
    structlog.get_logger("my-own-job").warning("hello")
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("timestamp")
    assert second.pop("timestamp")
    assert first == {"level": "warning", "module": "dramatiq.worker", "event": "3 jobs"}
    assert second == {"level": "warning", "module": "token-refresh-job", "event": "refreshed", "count": 3}
    assert (third["module"], third["event"]) == ("my-own-job", "hello")


def test_logfmt_quotes_ambiguous_values(lines):
    stream = lines()
    logs.get_logger("m").info('a "b"\nc', empty=None, yes=True, path="/x/y", eq="a=b", back="\\n")
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert r'event="a \"b\"\nc" empty= yes=true path=/x/y eq="a=b" back="\\n"' in line


def test_a_name_or_text_that_cannot_be_encoded_is_written_anyway(lines):
    stream = lines()
    logs.get_logger("m").info("half a pair: \ud800", **{"a b": 1})
    stream.getvalue().encode()
    assert "a_b=1" in stream.getvalue()


def test_the_level_applies_to_both(lines):
    stream = lines(log_level="error")
    logging.getLogger("a").warning("no")
    logs.get_logger("b").warning("no")
    logs.get_logger("b").error("yes")
    assert stream.getvalue().count("\n") == 1


def test_an_exception_is_one_line_with_its_traceback(lines):
    stream = lines("json")
    try:
        raise ValueError("boom")
    except ValueError:
        logs.get_logger("m").exception("it broke")
        logging.getLogger("n").exception("it broke")
    for line in stream.getvalue().splitlines():
        assert "ValueError: boom" in json.loads(line)["exception"]


def test_fields_bound_to_the_thread_are_on_every_line(lines):
    stream = lines("json")
    with structlog.contextvars.bound_contextvars(job_id="j1", attempt=2):
        logging.getLogger("urllib3").info("sent")
        logs.get_logger("x-job").info("got", attempt=3)
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
        f"POST body b'grant_type=x' and refresh_token=b'{REFRESH_TOKEN}'",
        f"cannot start: EVE_CLIENT_SECRET={REFRESH_TOKEN}",
        f"POSTGRES_PASSWORD: {REFRESH_TOKEN}",
        f"NOMAD_TOKEN_KEYS={REFRESH_TOKEN}",
        f"new_refresh_token={REFRESH_TOKEN}",
        f'{{"refreshToken": "{REFRESH_TOKEN}"}}',
        f'"{{\\"refreshToken\\": \\"{REFRESH_TOKEN}\\"}}"',
        f"headers [('authorization', 'Basic {REFRESH_TOKEN}'), ('x', 'y')]",
        f"('refresh_token', '{REFRESH_TOKEN}')",
        f"refresh_token => {REFRESH_TOKEN}",
        f"<refresh_token>{REFRESH_TOKEN}</refresh_token>",
        f"refresh_token=SecretText('{REFRESH_TOKEN}')",
        f"X-Api-Key: {REFRESH_TOKEN}",
        f"Cookie: session={REFRESH_TOKEN}",
        f"password='two {REFRESH_TOKEN}' host=h",
        f"redis://default:pa/{REFRESH_TOKEN}@db:6379/0",
        f"https://{REFRESH_TOKEN}@o1.ingest.sentry.io/1",
        f"GET /callback?code={REFRESH_TOKEN}&state=x",
    ],
)
@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_no_secret_reaches_the_log(lines, text, log_format):
    stream = lines(log_format)
    logger = logs.get_logger("m")
    logging.getLogger("n").warning(text)
    logger.warning("x", response=text, nested={"deep": [text]})
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
    logs.get_logger("m").info(
        "x", refresh_token="a b c", nested={"password": "p", "user": "u"}, token_refreshes=4, queue="token-refresh"
    )
    fields = json.loads(stream.getvalue())
    assert fields["refresh_token"] == logs.HIDDEN
    assert fields["nested"] == {"password": logs.HIDDEN, "user": "u"}
    assert (fields["token_refreshes"], fields["queue"]) == (4, "token-refresh")
    assert redaction.hide_secrets("", {"password": 20931, "tokens": 4}) == {"password": logs.HIDDEN, "tokens": 4}


@pytest.mark.parametrize(
    "name",
    [
        *("refreshToken", "accessToken", "clientSecret", "EVE_CLIENT_SECRET", "x-api-key", "apiKey", "token_keys"),
        *("sentryDsn", "Set-Cookie", "POSTGRES_PASSWORD", "secret_key", "codeVerifier", "jwt"),
    ],
)
def test_a_secret_is_recognised_by_any_spelling_of_its_fields_name(name):
    assert redaction.hide_secrets(name, REFRESH_TOKEN) == logs.HIDDEN
    assert redaction.hide_secrets("x", {"deep": [{name: REFRESH_TOKEN}]}) == {"deep": [{name: logs.HIDDEN}]}
    assert redaction.hide_secrets("x", [(name, REFRESH_TOKEN), ("host", "h")]) == [[name, logs.HIDDEN], ["host", "h"]]


def test_hiding_a_hidden_text_again_changes_nothing():
    for text in (f"refresh_token={REFRESH_TOKEN}&x=1", f"{{'password': '{REFRESH_TOKEN}'}}", f"Bearer {REFRESH_TOKEN}"):
        hidden = logs.redact(text)
        assert logs.redact(hidden) == hidden


@pytest.mark.parametrize(
    "text",
    [
        *("a-", "QUJD-REVG.", "3f1b-", "x.y/", "eyJaaaaaaaa-", "eyJ", "<div class='a-b-c'>", "a"),
        *("bearer ", "token ", "password='", 'password=\\"', "authorization=", "password ", "http://a:1,", "://a:1@"),
    ],
)
def test_the_time_to_find_secrets_is_linear_in_the_text(text):
    long = "secret " + text * (200_000 // len(text))
    began = time.thread_time()
    logs.redact(long)
    # Two of a hundred of these texts take a second per 100 KB; quadratic growth took ten times as long.
    assert time.thread_time() - began < 2


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
@pytest.mark.parametrize("character", ["x", "é", "\n", "\U0001f600", "word "])
def test_a_line_is_within_the_limit_of_log_readers(lines, log_format, character):
    stream = lines(log_format)
    try:
        raise ValueError(character * 100_000)
    except ValueError as error:
        logs.get_logger("m").exception("failed", error=repr(error), job_id="j1", listed=[character * 9] * 10_000)
    written = stream.getvalue()
    assert len(written.encode()) <= logs.LINE_BYTES
    assert "j1" in written
    assert "ValueError" in written
    assert "characters left out" in written


def test_a_line_of_very_many_fields_is_cut_too(lines):
    stream = lines("json")
    logs.get_logger("m").info("x", **{f"field{number}": {"deep": ["y" * 1000] * 10} for number in range(1000)})
    assert len(stream.getvalue()) <= logs.LINE_BYTES
    assert json.loads(stream.getvalue())["event"] == "x"


def test_no_part_of_a_secret_is_left_where_a_text_is_cut():
    for before in range(60):
        for after in range(60):
            text = f"{'one two ' * 5}{'z' * before} refresh_token={REFRESH_TOKEN} {'three ' * 3}{'z' * after}"
            shown = logs.redact(redaction.shortened(text, 80))
            assert not [part for at in range(18) if (part := REFRESH_TOKEN[at : at + 5]) in shown], shown


def test_a_value_without_a_text_is_logged_anyway(lines):
    class Evil:
        def __str__(self) -> str:
            raise ZeroDivisionError

    stream = lines("json")
    nested: dict[str, object] = {}
    nested["itself"] = nested
    logs.get_logger("m").info("x", evil=Evil(), nested=nested)
    assert json.loads(stream.getvalue())["evil"] == "unprintable Evil (ZeroDivisionError)"


@pytest.mark.parametrize(
    "text",
    [
        "token-refresh: 3 jobs completed",
        "http://127.0.0.1:9191/metrics",
        "http://127.0.0.1:3000/admin?mail=a@example.org, postgresql://nomad@db/nomad",
        "a basic test of the key of a token",
        "unknown job type 'token' (allowed: token-refresh)",
        "job 6f1c7c1e-1111-4222-8333-444455556666 of queue token-refresh ended too late",
    ],
)
def test_ordinary_words_are_unchanged(text):
    assert logs.redact(text) == text


def test_configuring_again_leaves_one_line_for_each_event(lines):
    lines()
    logging.basicConfig(stream=io.StringIO())
    stream = lines()
    logging.getLogger("a").warning("once")
    assert stream.getvalue().count("once") == 1
    assert sum(isinstance(h, setup.LineHandler) for h in logging.getLogger().handlers) == 1


def test_written_lines_do_not_mix_with_those_of_other_threads(lines):
    stream = lines()
    block = "x" * 50 + "\n"

    def write() -> None:
        for _ in range(200):
            setup.write_lines(block * 3)
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
    setup.write_lines("lost\n")


def test_a_logger_works_before_anything_is_configured():
    code = "from nomad_actors.logs import get_logger; get_logger('m').warning('%s said', 'hello')"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert result.stderr == "hello said\n"


PRINTING = """
import logging, sys, threading, traceback
from nomad_actors import logs

logs.configure_program("json", "info")
# A second program in the same process, as Dramatiq's workers are.
logs.configure_program("json", "info")
print("first", 1, end="")
logs.get_logger("m").info("between")
print(" goes on\\n\\nsecond refresh_token=gEy-8fP2kq0aT1m4ZsBvXw")
threads = [threading.Thread(target=lambda n=n: [print("of", "thread", n) for _ in range(50)]) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
sys.stderr.write("unfinished")
"""


def test_printed_text_becomes_separate_lines():
    result = subprocess.run(
        [sys.executable, "-c", PRINTING], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    lines_found = [json.loads(line) for line in result.stdout.splitlines() + result.stderr.splitlines()]
    events = [(fields["module"], fields["level"], fields["event"]) for fields in lines_found]
    assert events[:3] == [
        ("m", "info", "between"),
        ("stdout", "info", "first 1 goes on"),
        ("stdout", "info", "second refresh_token=[hidden]"),
    ]
    assert sorted(event for _, _, event in events[3:203]) == sorted(
        f"of thread {n}" for n in range(4) for _ in range(50)
    )
    assert events[203:][0] == ("stderr", "warning", "Traceback (most recent call last):")
    assert events[-1] == ("stderr", "warning", "unfinished")


def test_alembic_logs_migrations_but_not_checks(lines):
    stream = lines()
    logger = logging.getLogger("alembic.runtime.migration")
    logger.info("Context impl %s.", "SQLiteImpl")
    logger.info("Will assume %s DDL.", "non-transactional")
    logger.info("Running %s %s -> %s", "upgrade", "1", "2")
    assert stream.getvalue().count("\n") == 1
    assert "Running upgrade" in stream.getvalue()


def test_time_is_utc_with_milliseconds():
    assert setup.format_time(0.0019) == "1970-01-01T00:00:00.001Z"
