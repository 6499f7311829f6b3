"""Hostile HTTP requests that a client library can send."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from . import job_calls, objects, texts
from .job_types import DATA

_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE")
HEADERS = (
    *(
        "Host",
        "Origin",
        "Referer",
        "Cookie",
        "Accept",
        "Accept-Language",
        "Accept-Encoding",
        "Content-Type",
        "X-Request-Id",
    ),
    *(
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Prefix",
        "Forwarded",
        "Via",
        "User-Agent",
    ),
    *("Authorization", "Idempotency-Key", "If-None-Match", "If-Modified-Since", "Range", "Expect", "Content-Encoding"),
    *("Sec-Fetch-Site", "Date", "Connection", "Upgrade", "Content-Length", "Transfer-Encoding", "traceparent"),
)
_HEADER_VALUES = (
    *("", " ", ",", ";", "a" * 7_000, "*/*;q=2", "text/html;q=nan", "bytes=0-,-1", "bytes=9-1", "100-continue", "gzip"),
    *(
        "application/json",
        "application/json; charset=utf-16",
        "application/json; charset=nope",
        "text/plain",
        "multipart/form-data",
    ),
    *(
        "multipart/form-data; boundary=",
        "application/x-www-form-urlencoded",
        "application/problem+json",
        '"',
        "W/",
        "=;=",
        "a=b; a=b",
    ),
    *(
        "nomad_session=x",
        "nomad_form=\xff",
        "http://[::1",
        "http://evil.example",
        "null",
        "[::1",
        "127.0.0.1:99999",
        "localhost:x",
    ),
    *(
        "Bearer",
        "Bearer ",
        "Basic Og==",
        "Bearer \xe9",
        "Digest a=b",
        'for=;by="',
        "00-" + "0" * 32 + "-" + "0" * 16 + "-00",
    ),
)
_QUERY_NAMES = (
    *(
        "status",
        "limit",
        "start",
        "end",
        "cursor",
        "type",
        "field",
        "fingerprint",
        "since",
        "until",
        "outcome",
        "windowSeconds",
    ),
    *("action", "queue", "job", "minutes", "actor", "unknown", "", "a[b]", "status[]"),
)
#: Fields of the API's bodies; each endpoint accepts a few of them.
_BODY_FIELDS = (
    *(
        "name",
        "data",
        "opts",
        "jobs",
        "reason",
        "forMs",
        "concurrency",
        "starts",
        "periodMs",
        "maxLength",
        "grace",
        "limit",
        "status",
    ),
    *(
        "action",
        "filter",
        "perSecond",
        "dryRun",
        "olderThanMs",
        "confirm",
        "force",
        "enabled",
        "unknown",
        "count",
        "scope",
    ),
)
_OPTIONS = (
    "priority",
    "attempts",
    "backoff",
    "delay",
    "jobId",
    "uniqueKey",
    "uniqueUntil",
    "uniqueReplace",
    "idempotencyKey",
)


@dataclass
class Request:
    """One HTTP request."""

    method: str
    path: str
    query: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


def request(draw: random.Random, rules: Sequence[tuple[str, str]], ids: Sequence[str]) -> Request:
    """Return a request for one of the rules (method and Flask path), with hostile parts."""
    method, rule = draw.choice(rules)
    if draw.random() < 0.05:
        method = draw.choice(_METHODS)
    return Request(method, _path(draw, rule, ids), query(draw), headers(draw), body(draw) if method != "GET" else b"")


def _path(draw: random.Random, rule: str, ids: Sequence[str]) -> str:
    parts = []
    for part in rule.split("<"):
        name, closed, rest = part.rpartition(">")
        if not closed:
            parts.append(rest)
            continue
        name = name.rpartition(":")[2]
        valid = {"queue": (DATA.queue,), "name": ("hostile-0", "hostile-1")}.get(name, (*ids, "hostile-1"))
        parts += [encoded(texts.word(draw, valid, wrong=0.4)), rest]
    return "".join(parts)


def encoded(text: str, safe: str = "") -> str:
    """Return a text percent-encoded; half a surrogate pair becomes invalid UTF-8."""
    return quote(text.encode("utf-8", "surrogatepass"), safe=safe)


def query(draw: random.Random) -> str:
    """Return a query string."""
    pairs = [(draw.choice(_QUERY_NAMES), _query_value(draw)) for _ in range(draw.choice((0, 0, 1, 1, 2, 3)))]
    return draw.choice(("&", "&", "&", ";", "&&")).join(f"{encoded(n)}={v}" for n, v in pairs)


def _query_value(draw: random.Random) -> str:
    valid = (
        "waiting",
        "failed,completed",
        "active",
        "delayed",
        "10",
        "1",
        "0",
        "retry",
        DATA.queue,
        DATA.name,
        "text=x",
    )
    return encoded(texts.word(draw, valid, wrong=0.5)[:3_000], safe=draw.choice(("", "/,=%&?")))


def headers(draw: random.Random) -> list[tuple[str, str]]:
    """Return headers that a client library sends unchanged: Latin-1 without line breaks."""
    return [(draw.choice(HEADERS[:-4]), header_value(draw)) for _ in range(draw.choice((0, 0, 1, 2, 4)))]


def header_value(draw: random.Random) -> str:
    chosen = draw.choice(_HEADER_VALUES) if draw.random() < 0.6 else texts.text(draw)[:7_000]
    return chosen.encode("utf-8", "surrogatepass").decode("latin-1").replace("\r", "").replace("\n", "")


def body(draw: random.Random) -> bytes:
    """Return a body: almost valid JSON, any JSON, or something else."""
    kind = draw.random()
    if kind < 0.5:
        return _dumped(draw, _nearly_valid(draw))
    if kind < 0.7:
        return _dumped(draw, objects.json_value(draw))
    raw = (
        *(
            b"",
            b"{",
            b"null",
            b"[]",
            b"\xff\xfe{}",
            b"\xef\xbb\xbf{}",
            b"[" * 100_000,
            b'{"a":' * 50_000,
            b"1" * 10_000,
        ),
        *(
            b'{"name":"x","name":"y"}',
            b'{"data":NaN}',
            b'{"data":1e999}',
            b'{"data":"\\ud800"}',
            b'{"\\u0000":1}',
            b"\x00" * 99,
        ),
        *(
            b'{"name":"\xff"}',
            b"form_token=%ff&a=b",
            b"a=" + b"%" * 5_000,
            b'"\xed\xa0\x80"',
            b"--x\r\n\r\n--x--",
            b"x" * 1_200_000,
        ),
    )
    return draw.choice(raw)


def _dumped(draw: random.Random, value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=draw.random() < 0.5)
    except (ValueError, TypeError, RecursionError):
        return b'{"deep":' + b"[" * 50_000
    return text.encode("utf-8", "surrogatepass")


def _nearly_valid(draw: random.Random) -> Any:
    job = {"name": texts.word(draw, (DATA.name,), wrong=0.1), "data": _json_data(draw)}
    if draw.random() < 0.6:
        names = draw.sample(_OPTIONS, draw.choice((1, 1, 3)))
        job["opts"] = {name: draw.choice((objects.json_value, texts.text, _plain))(draw) for name in names}
    if draw.random() < 0.6:
        return job
    if draw.random() < 0.2:
        return {"jobs": [job, objects.json_value(draw)]}
    names = draw.sample(_BODY_FIELDS, draw.choice((1, 2, 3)))
    return {name: draw.choice((objects.json_value, texts.text, _plain))(draw) for name in names}


def _json_data(draw: random.Random) -> Any:
    if draw.random() < 0.1:
        return objects.nested(draw, draw.choice((50, 250, 300, 900)))
    fields = draw.sample(job_calls.FIELDS, draw.choice((1, 1, 2)))
    return {name: objects.json_value(draw) for name in fields}


def _plain(draw: random.Random) -> Any:
    return draw.choice((0, 1, 2, 60_000, "high", "x", True, {"type": "fixed", "delay": 1}, ["failed"], "retry", {}))
