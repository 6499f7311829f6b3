"""A request whose end is ambiguous is the last one of its connection."""

from __future__ import annotations

import re

import pytest

from .conftest import Serve

NEXT = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
OLD = b"POST /a HTTP/1.0\r\nConnection: keep-alive\r\n"
REFUSED = {
    "chunk size of letters": CHUNKED + b"\r\nZZ\r\n{}\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
    "chunk size with a prefix": CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "chunk size with a sign": CHUNKED + b"\r\n+2\r\n{}\r\n0\r\n\r\n",
    "chunk size with a blank": CHUNKED + b"\r\n2 \r\n{}\r\n0\r\n\r\n",
    "chunk size with an underscore": CHUNKED + b"\r\n0_2\r\n{}\r\n0\r\n\r\n",
    "chunk without its line break": CHUNKED + b"\r\n2\r\n{}0\r\n\r\n",
    "chunk extension with a line feed": CHUNKED + b"\r\n2;a\nb\r\n{}\r\n0\r\n\r\n",
    "huge chunk extension": CHUNKED + b"\r\n2;" + b"a" * 120_000 + b"\r\n{}\r\n0\r\n\r\n",
    "huge trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX: " + b"y" * 120_000 + b"\r\n\r\n",
    "encoding, then length": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "length, then encoding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "encoding twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "encoding in small letters, and length": CHUNKED.replace(b"T", b"t") + b"content-length: 5\r\n\r\n0\r\n\r\n",
    "empty encoding": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "unknown encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "encoding with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "encoding in HTTP/1.0": OLD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "empty length": POST + b"Content-Length:\r\n\r\n{}",
    "length beyond the limit": POST + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    "folded header": POST + b"X-A: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "folded length": POST + b"Content-Length:\r\n\t2\r\n\r\n{}",
    "folded encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "blank before the first header": b"POST /a HTTP/1.1\r\n Host: localhost\r\nContent-Length: 2\r\n\r\n{}",
    "line feeds alone": b"POST /a HTTP/1.1\nHost: localhost\nContent-Length: 2\n\n{}",
    "line feed in a header": POST + b"X: a\nContent-Length: 2\r\n\r\n{}",
    "carriage return in a header": POST + b"X: a\rContent-Length: 9\r\n\r\n",
    "NUL in a value": POST + b"X: a\0b\r\n\r\n",
    "NUL in a name": POST + b"X\0: a\r\n\r\n",
    "blank before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "no colon": POST + b"Content-Length\r\n\r\n",
    "no request line": b"\0\0\0\r\nHost: localhost\r\n\r\n",
    "endless head": POST + b"X: " + b"x" * 20_000,
}
#: Answered and then closed: waitress is more lenient with these than other servers.
LAST = {
    "chunked": CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked with an empty size line": CHUNKED + b"\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked with a trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n",
    "chunked with a request as trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nGET /evil HTTP/1.1\r\n\r\n",
    "chunked with an extension": CHUNKED + b"\r\n2;name=value\r\n{}\r\n0\r\n\r\n",
    "a version that nobody speaks": b"POST /a HTTP/1.7\r\nHost: localhost\r\n\r\n",
    "no version": b"GET /a\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_malformed_framing_is_rejected_and_nothing_after_it_is_read(serve: Serve, name: str) -> None:
    running = serve()
    statuses = re.findall(rb"HTTP/1.\d (\d+)", running.exchange(REFUSED[name] + NEXT))
    # A client that is disconnected while it sends may miss the response.
    assert statuses in ([], [b"400"], [b"413"], [b"431"], [b"501"])
    assert running.application.seen == []
    assert running.is_well()


@pytest.mark.parametrize("name", LAST)
def test_an_ambiguous_request_is_the_last_of_its_connection(serve: Serve, name: str) -> None:
    running = serve()
    assert re.findall(rb"HTTP/1.\d (\d+)", running.exchange(LAST[name] + NEXT)) == [b"200"]
    assert [path for _, path in running.application.seen] == ["/a"]


def test_a_request_with_a_length_keeps_its_connection(serve: Serve) -> None:
    running = serve()
    response = running.exchange(b"\r\n" + POST + b"Content-Length: 2\r\n\r\n{}" + NEXT)
    assert re.findall(rb"HTTP/1.\d (\d+)", response) == [b"200", b"200"]
