"""Hostile bytes for the HTTP server: almost valid requests, some of which no client library can send."""

from __future__ import annotations

import random

from . import texts
from .http_requests import HEADERS, body, encoded, header_value, query
from .job_types import DATA

_METHODS = ("GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "GE T", "")


def raw_request(draw: random.Random) -> bytes:
    """Return bytes that are almost an HTTP request."""
    method, target, version = (
        draw.choice(_METHODS),
        _target(draw),
        draw.choice(("1.1", "1.1", "1.1", "1.0", "0.9", "2.0", "x")),
    )
    line = f"{method} {target} HTTP/{version}".encode("utf-8", "surrogatepass")
    headers = [b"Host: 127.0.0.1", *(_raw_header(draw) for _ in range(draw.choice((0, 1, 2, 5))))]
    if draw.random() < 0.1:
        headers += [b"X-%d: y" % number for number in range(draw.choice((99, 300)))]
    content = body(draw)[:20_000] if draw.random() < 0.5 else b""
    headers.append(_framing(draw, content))
    end = draw.choice((b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"))
    raw = end.join([line, *headers, b"", _chunked(draw, content) if b"chunked" in headers[-1] else content])
    if draw.random() < 0.15:
        at = draw.randint(0, len(raw))
        raw = raw[:at] + draw.choice((b"", b"\x00", b"\r", b"\n", b"\xff" * 9, b" ")) + raw[at + draw.choice((0, 1)) :]
    return raw[: draw.randint(0, len(raw))] if draw.random() < 0.05 else raw


def _target(draw: random.Random) -> str:
    valid = (
        "/healthz",
        "/readyz",
        "/admin/",
        "/admin/login",
        f"/admin/queues/{DATA.queue}",
        "/metrics",
        "/admin/jobs/health",
    )
    if draw.random() < 0.6:
        return draw.choice(valid) + draw.choice(("", "", "?a=b", "?" + query(draw)))
    odd = (
        "*",
        "",
        "http://evil.example/admin/",
        "//",
        "/admin/%",
        "/admin/%00",
        "/admin/../healthz",
        "/é\ud800",
        "/" * 9_000,
        "?x",
        "/a b",
    )
    return draw.choice((*odd, "/" + texts.text(draw)[:2_000], "/admin/jobs/" + encoded(texts.text(draw)[:500])))


def _raw_header(draw: random.Random) -> bytes:
    name, value = draw.choice(HEADERS), header_value(draw)
    separator = draw.choice((": ", ": ", ": ", ":", " : ", "", ":\r\n ", ":\x00", ": \x0b"))
    if draw.random() < 0.15:
        name = texts.text(draw)[:300]
    return f"{name}{separator}{value}".encode("utf-8", "surrogatepass")


def _framing(draw: random.Random, content: bytes) -> bytes:
    size = len(content)
    if draw.random() < 0.6:
        return b"Content-Length: %d" % size
    odd = (
        "-1",
        "+5",
        "0x10",
        "1_0",
        "９",
        "",
        "a",
        f"{size}, {size}",
        f"{size}\r\nContent-Length: {size + 1}",
        "9" * 30,
        f" {size} ",
        f"{size + 5}",
    )
    codings = (
        "chunked",
        "chunked",
        "chunked",
        "Chunked",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "xchunked",
        " chunked",
        "\x0bchunked",
    )
    if draw.random() < 0.5:
        return f"Content-Length: {draw.choice(odd)}".encode()
    both = f"\r\nContent-Length: {size}" if draw.random() < 0.3 else ""
    return f"Transfer-Encoding: {draw.choice(codings)}{both}".encode()


def _chunked(draw: random.Random, content: bytes) -> bytes:
    half = len(content) // 2
    parts = (
        [content[:half], content[half:]]
        if draw.random() < 0.5
        else [content[at : at + 1] for at in range(min(len(content), 300))]
    )
    sizes = ("%x", "%x", "%x", "%x;ext=1", "0%x", "+%x", "0x%x", "-%x", " %x", "%x ", "%xg", "ffffffffffffffff%x")
    form = draw.choice(sizes) if draw.random() < 0.5 else "%x"
    chunks = b"".join((form % len(part)).encode() + b"\r\n" + part + b"\r\n" for part in parts if part)
    return chunks + draw.choice(
        (
            b"0\r\n\r\n",
            b"0\r\n\r\n",
            b"0\r\nX: y\r\n\r\n",
            b"0\r\nContent-Length: 5\r\n\r\n",
            b"0\n\n",
            b"",
            b"00\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        )
    )
