"""The valid tokens, and the limit on how many wrong ones one source may try.

Wrong tokens are counted over all admins, in the audit log. Only they are counted and refused: a valid token is looked
up first and always passes, since behind a proxy all operators and Prometheus share one address. A token has 256 random
bits, so faster guessing does not help. The same wrong token again does not count as another try.
"""

from __future__ import annotations

import hmac
import ipaddress

from nomad_actors import logs
from nomad_actors.errors import Unavailable
from nomad_actors.settings.addresses import parse_address
from nomad_actors.settings.admin_tokens import AdminToken, digest_of, may_be_token
from nomad_actors.store import local_token

from ..current_app import application, memory

logger = logs.get_logger("admin")

#: The reason code of refusals that count as tries.
WRONG_TOKEN = "token"
MAX_TRIES = 10
WINDOW_MS = 600_000
#: Enough hex digits that nobody can create many tokens with the same ones, and that a former token is recognised.
_SHOWN_DIGITS = 16
_UNKNOWN = "the token is not one of the configured tokens"


def known_tokens() -> tuple[AdminToken, ...]:
    """Return the configured entries, else this machine's own, read each time, since it may be replaced."""
    settings = application().settings
    if settings.admin_tokens:
        return settings.admin_tokens
    token = own_token()
    return () if token is None else (local_token.entry_of(token),)


def own_token() -> str | None:
    """Return this machine's own token; None if it cannot be read."""
    try:
        return local_token.read_token(application().settings.var_dir)
    except local_token.NoLocalToken as error:
        logger.error("nobody can log in", error=str(error))
        return None


def is_revoked(token: AdminToken) -> bool:
    """Return True if a token was revoked; while the database is unavailable, if this process knows of it."""
    try:
        revoked = application().store.admin_sessions.is_revoked(token.digest)
    except Unavailable:
        return token.digest in memory().revoked
    if revoked:
        memory().revoked.add(token.digest)
    return revoked


def source_of(address: str) -> str:
    """Return the source that an address belongs to: the address itself; for IPv6 its /64, which one host may own."""
    found = parse_address(address)
    if found is None:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


def describe_wrong(wrong: str) -> str:
    """Return the description of a wrong token for the audit log, different for each token.

    A text without the format of a token may be a password in the wrong field: its description does not help to guess it
    for anybody who does not know our entries.
    """
    if may_be_token(wrong):
        return f"{_UNKNOWN} (its SHA-256 begins with {digest_of(wrong)[:_SHOWN_DIGITS]})"
    entries = ",".join(token.entry for token in known_tokens())
    if not entries:
        # There is no secret to compute a mark with.
        return _UNKNOWN
    mark = hmac.digest(entries.encode(), wrong.encode("utf-8", "surrogateescape"), "sha256").hex()[:_SHOWN_DIGITS]
    return f"{_UNKNOWN} and does not have the format of one (mark {mark})"


def wait_seconds(source: str) -> int:
    """Return for how many seconds the source's wrong tokens still get 429; 0 if they do not.

    While the database is unavailable nothing is counted: nobody guesses a token of 256 bits during an outage.
    """
    app = application()
    now_ms = app.clock.now_ms()
    try:
        refusals = app.store.audit.refusals_ms(source, WRONG_TOKEN, now_ms - WINDOW_MS, MAX_TRIES)
    except Unavailable:
        return 0
    return 0 if len(refusals) < MAX_TRIES else max(1, -(-(refusals[-1] + WINDOW_MS - now_ms) // 1000))
