"""Rules for what every request says of itself: User-Agent, version, a token that is valid (esi-docs, overview)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..exchange import Exchange
from .rule import Blame

#: A mail address, a URL, a Discord or an EVE name: some way to reach a person.
_CONTACT = re.compile(r"[\w.+-]+@[\w-]+\.\w+|https?://\S+|\b(?:discord|eve|character)\s*[:=]\s*\S+", re.IGNORECASE)
#: The agents of libraries name no application.
_LIBRARY = re.compile(r"(?:python-requests|python-urllib|curl|axios|node-fetch|okhttp|httpx?)\b", re.IGNORECASE)


class Identity:
    """Judges each request alone."""

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        if exchange.service != "esi":
            return
        agent = _agent(exchange)
        if problem := user_agent_problem(agent):
            yield "user-agent", f"{problem}: {agent!r}"
        if "x-compatibility-date" not in exchange.headers and "compatibility_date" not in exchange.query:
            yield "compatibility-date", "none was sent"
        if exchange.caller.is_expired:
            yield "expired-token", exchange.caller.problem


def _agent(exchange: Exchange) -> str:
    """Return the agent; the two other ways are for programs that cannot set the header (esi-docs, overview)."""
    headers = exchange.headers
    return exchange.query.get("user_agent") or headers.get("x-user-agent") or headers.get("user-agent", "")


def user_agent_problem(agent: str) -> str:
    """Return what is wrong with a User-Agent, empty if nothing is."""
    if not agent.strip():
        return "it is missing"
    if _LIBRARY.match(agent.strip()):
        return "it names a library"
    return "" if _CONTACT.search(agent) else "it has no contact"
