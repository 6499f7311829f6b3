"""How many wrong tokens one source may try before it is told to slow down; counted over all admins, in the audit log.

Only wrong tokens are counted and only wrong tokens are refused: a right one is looked up first and always passes, for
behind a proxy every operator and Prometheus have one address. A token has 256 random bits, so trying faster finds none.
The same wrong token again is not another try.
"""

from __future__ import annotations

import hmac
import ipaddress

from nomad_actors.errors import Unavailable
from nomad_actors.settings.admin_tokens import digest_of, may_be_token

from ..parts import application
from .tokens import known_tokens

#: The refusals that count as tries.
WRONG_TOKEN = "token"
MOST_TRIES = 10
WINDOW_MS = 600_000
#: Enough hex digits that nobody makes many texts with the same, and that an old entry is known by them.
_TOLD_DIGITS = 16
_NONE_OF_OURS = "the token is none of those that are configured"


def source_of(address: str) -> str:
    """Return whose tries an address' are: its own, of IPv6 those of its /64, which one host has whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


def told_of(wrong: str) -> str:
    """Return what is said of a wrong token; the audit log tells one from another by it.

    Of a text that is no token of ours, as a password in the wrong field, nothing is told that it could be guessed by
    without our entries.
    """
    if may_be_token(wrong):
        return f"{_NONE_OF_OURS} (its SHA-256 begins with {digest_of(wrong)[:_TOLD_DIGITS]})"
    entries = ",".join(token.entry for token in known_tokens())
    if not entries:
        # Nothing here is secret that a mark could be made with.
        return _NONE_OF_OURS
    mark = hmac.digest(entries.encode(), wrong.encode("utf-8", "surrogateescape"), "sha256").hex()[:_TOLD_DIGITS]
    return f"{_NONE_OF_OURS} and has not the form of one (marked {mark})"


def wait_seconds(source: str) -> int:
    """Return for how long a source's wrong tokens are answered with 429, 0 when they are not.

    While the database is away nothing is counted: a token of 256 bits is not guessed within an outage.
    """
    app = application()
    now_ms = app.clock.now_ms()
    try:
        failed = app.store.audit.refusals_ms(source, WRONG_TOKEN, now_ms - WINDOW_MS, MOST_TRIES)
    except Unavailable:
        return 0
    return 0 if len(failed) < MOST_TRIES else max(1, -(-(failed[-1] + WINDOW_MS - now_ms) // 1000))
