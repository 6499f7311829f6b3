"""The stored form of a job: what goes in comes out, rubbish is named, sizes are bounded."""

from __future__ import annotations

import json
import uuid

import pytest
from dramatiq import Message
from hypothesis import given
from hypothesis import strategies as st

from nomad_actors.broker import records
from nomad_actors.broker.errors import BadPriority, UnreadableBody

HEADER = records.Header(3, 0, 0, 0, 1.0, 2.0, 0.0, 0.0, b"\0" * 14)


@given(st.text(min_size=1).filter(lambda text: text.isprintable()) | st.uuids().map(str))
def test_every_id_reads_back_as_it_was_written(message_id: str) -> None:
    assert records.unpack_id(records.pack_id(message_id)) == message_id


def test_a_uuid_takes_sixteen_bytes() -> None:
    assert len(records.pack_id(str(uuid.uuid4()))) == 16


def test_a_uuid_in_another_spelling_keeps_it() -> None:
    shouted = str(uuid.uuid4()).upper()
    assert records.unpack_id(records.pack_id(shouted)) == shouted


def test_a_message_reads_back_without_what_retries_left_in_it() -> None:
    message: Message[object] = Message("q", "act", (1, "two"), {"three": [4]}, {"retries": 1, "traceback": "…"})
    read = records.unpack_body("q", message.message_id, HEADER, records.pack_body(message))
    assert (read.actor_name, read.args, read.kwargs, read.options) == (
        "act",
        (1, "two"),
        {"three": [4]},
        {"retries": 1},
    )


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"\xff\xfe", "cannot be decoded"),
        (b"{", "cannot be decoded"),
        (b"[1]", "not an object but of type list"),
        (b"{}", "has no 'actor_name'"),
        (b'{"actor_name": ["a"], "args": [], "kwargs": {}, "options": {}}', "'actor_name' is of type list"),
        (b'{"actor_name": "a", "args": {}, "kwargs": {}, "options": {}}', "'args' is of type dict"),
        (b'{"actor_name": "a", "args": [], "kwargs": [], "options": {}}', "'kwargs' is of type list"),
        (b'{"actor_name": "a", "args": [], "kwargs": {}, "options": null}', "'options' is of type NoneType"),
    ],
)
def test_a_body_that_is_no_message_is_named(body: bytes, problem: str) -> None:
    with pytest.raises(UnreadableBody, match=problem.replace("[", r"\[")):
        records.unpack_body("q", "id", HEADER, body)


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x02" + b"\0" * 64, b"not a record, but long enough to be one" * 3])
def test_a_value_that_is_no_record_is_refused(value: bytes) -> None:
    with pytest.raises(UnreadableBody):
        records.unpack(value)


@pytest.mark.parametrize("priority", [8192, -8192, 1.5, "1", None, True])
def test_a_priority_that_cannot_be_ordered_is_refused(priority: object) -> None:
    with pytest.raises(BadPriority, match="whole number from -8191 to 8191"):
        records.check_priority(priority)


def test_a_long_traceback_keeps_its_end_and_counts_what_was_cut() -> None:
    packed = json.loads(records.pack_error("E", "m", "x" * 10_000 + "the end"))
    assert packed["traceback"].endswith("the end")
    assert packed["traceback"].startswith("[4007 characters left out]")


def test_a_large_result_is_replaced_by_its_size() -> None:
    packed = json.loads(records.pack_result("x" * 100_000))
    assert packed == {"truncated": True, "bytes": 100_002, "limit": records.MAX_RESULT_BYTES}
