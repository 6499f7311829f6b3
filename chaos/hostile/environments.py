"""Hostile environments: every settings variable, with texts that a shell, a file or a secret store may contain."""

from __future__ import annotations

import random
from collections.abc import Mapping

from nomad_actors.settings import read_with_origins

from . import texts

VARIABLES = sorted(origin.variable for origin in read_with_origins({})[1].values())
_QUEUES = ("TOKEN_REFRESH", "X", "X_", "X__Y", "1", "é", "X" * 300)
_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "redis+cluster",
    "REDIS",
    "http",
    "https",
    "sqlite",
    "postgresql",
)
_AUTHORITIES = (
    *("localhost:6379", "localhost", "", ":6379", "[::1]:6379", "[::1", "a:b", "a:99999", "a:-1", "a,b:1", "a:1,,b:2"),
    *("user:pass@word@host", ":p%2Fw@host:1", "%zz@host", "hôst", "a b", "xn--", "host:6379:1", "\ud800", "user@", "@"),
)
_PATHS = ("", "/", "/0", "/-1", "/x", "/99999999", "//", "/a/b", "/../x", "/:memory:", "/é", "/0?x=1#f", "/%00")
_QUERIES = (
    *(
        "",
        "?",
        "?db=99",
        "?ssl_cert_reqs=none",
        "?socket_timeout=x",
        "?decode_responses=true",
        "?protocol=9",
        "?=",
        "?a",
    ),
    *(
        "?mode=ro",
        "?uri=true",
        "?timeout=x",
        "?sslmode=nope",
        "?host=a&host=b",
        "?max_connections=0",
        "?health_check_interval=-1",
    ),
    *(
        "?password=x&username=y",
        "?retry_on_timeout=maybe",
        "?client_name=\n",
        "?connect_timeout=nan",
        "?options=-c%20x",
    ),
)


def environ(draw: random.Random) -> Mapping[str, str]:
    """Return an environment with a few hostile variables."""
    names = draw.sample(VARIABLES, draw.choice((1, 1, 1, 2, 3, 8)))
    found = {_variable(draw, name): _value(draw, name) for name in names}
    # An environment cannot contain NUL, and invalid UTF-8 arrives as surrogates of single bytes.
    return {
        name.replace("\x00", ""): value.replace("\x00", "")
        .encode("utf-8", "surrogatepass")
        .decode("utf-8", "surrogateescape")
        for name, value in found.items()
    }


def _variable(draw: random.Random, name: str) -> str:
    return name.replace("<QUEUE>", draw.choice(_QUEUES))


def _value(draw: random.Random, name: str) -> str:
    if name.endswith("_URL") and draw.random() < 0.7:
        return url(draw)
    if draw.random() < 0.3:
        return draw.choice(
            ("0", "1", "5", "65535", "65536", "-1", "1/1h", "1000/24h", "0/0h", "json", "debug", "a.b", " 1 ")
        )
    return texts.text(draw)


def url(draw: random.Random) -> str:
    """Return a URL of parts that are odd, alone or in combination."""
    separator = draw.choice(("://", "://", "://", ":///", ":", "//"))
    address = (
        draw.choice(_SCHEMES) + separator + draw.choice(_AUTHORITIES) + draw.choice(_PATHS) + draw.choice(_QUERIES)
    )
    return texts.pierce(draw, address) if draw.random() < 0.2 else address
