"""Where a request ends, however its bytes arrive; and when a connection has kept us waiting too long."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from admin import connection, sizes
from admin.connection import Connection, Phase
from admin.incoming import Incoming, Step

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = [
    GET,
    POST,
    b"GET / HTTP/1.1\r\n\r\n",
    b"DELETE /a HTTP/1.1\r\ncontent-length:   0\r\n\r\n",
    CHUNKED + b"0\r\n\r\n",
    CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"5;a=b\r\nhel\r\n\r\nA\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\nTrailer: x\r\nMore: y\r\n\r\n",
    CHUNKED + b"00000\r\n\r\n",
]


def fed(data: bytes, step: int) -> Incoming:
    incoming = Incoming()
    for at in range(0, len(data), step):
        incoming.feed(data[at : at + step])
    return incoming


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("request_sent", WHOLE)
def test_a_request_is_whole_with_its_last_byte_and_the_next_begins_there(request_sent: bytes, step: int) -> None:
    assert fed(request_sent[:-1], step).step in (Step.HEAD, Step.BODY)
    incoming = fed(request_sent + b"\r\n" + GET + POST[:-1], step)
    for sent in (request_sent, GET):
        assert incoming.step is Step.WHOLE
        taken = incoming.take()
        assert (taken.raw, taken.is_last) == (sent, False)
    assert incoming.step is Step.BODY
    incoming.feed(b"o")
    assert incoming.take().raw == POST
    assert (incoming.step, len(incoming)) == (Step.NOTHING, 0)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"POST /a HTTP/1.1\r\nContent-Length: -5\r\n\r\nhello",
        b"POST /a HTTP/1.1\r\nContent-Length: 999999999999999999\r\n\r\nhello",
        CHUNKED + b"ZZ\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
        CHUNKED + b"5" * 10_000,
    ],
)
def test_what_makes_no_sense_is_taken_at_once_and_nothing_after_it(sent: bytes) -> None:
    incoming = fed(sent, 1000)
    assert incoming.step is Step.WHOLE
    assert incoming.take().is_last


def test_what_is_cut_off_is_taken_as_it_is_and_nothing_after_it() -> None:
    incoming = fed(POST[:-2], 10)
    taken = incoming.take()
    assert (taken.raw, taken.is_last) == (POST[:-2], True)


def test_no_more_is_kept_than_the_largest_request() -> None:
    endless = fed(CHUNKED, 1000)
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    fed_bytes = 0
    while endless.step is not Step.WHOLE:
        endless.feed(chunk)
        fed_bytes += 65_536
    assert fed_bytes <= sizes.MAX_BATCH_BYTES + 65_536
    assert endless.take().is_last
    head = fed(b"GET / HTTP/1.1\r\nX: " + b"x" * sizes.MAX_HEAD_BYTES, 10_000)
    assert (head.step, head.head_is_too_large) == (Step.HEAD, True)


@pytest.mark.parametrize(("version", "expects"), [(b"1.1", True), (b"1.0", False)])
def test_a_client_that_waits_for_a_word_is_noticed(version: bytes, expects: bool) -> None:
    sent = b"POST /a HTTP/" + version + b"\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"
    assert fed(sent, 5).expects_continue is expects


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection of ours, and its client's end."""
    ours, theirs = socket.socketpair()
    yield Connection(ours, ("192.0.2.1", 1), 100.0), theirs
    ours.close()
    theirs.close()


def test_a_slow_line_gets_more_time_than_a_silent_one(pair: tuple[Connection, socket.socket]) -> None:
    ours, theirs = pair
    assert not ours.is_overdue(115.0)
    assert ours.is_overdue(115.1)
    theirs.sendall(POST[:-5].replace(b"5", b"99999") + b"x" * 50_000)
    while ours.held_bytes < 50_000:
        assert ours.receive()
    assert not ours.is_overdue(115.9)
    assert ours.is_overdue(116.1)


def test_an_answer_is_given_up_when_nothing_of_it_moves(pair: tuple[Connection, socket.socket]) -> None:
    ours, theirs = pair
    ours.enter(Phase.SENDING, 200.0)
    ours.give(b"x" * 10_000_000)
    assert not ours.send(200.0)
    assert ours.held_bytes < 10_000_000
    assert (ours.is_overdue(215.0), ours.is_overdue(215.1)) == (False, True)
    while ours.moved_mono < 214.0:
        theirs.recv(1_000_000)
        ours.send(214.0)
    assert not ours.is_overdue(229.0)
    ours.enter(Phase.ENDING, 300.0)
    assert ours.is_overdue(300.1 + connection.ENDING_SECONDS)
