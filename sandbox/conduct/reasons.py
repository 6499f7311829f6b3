"""The reasons for which a request is recorded, each with the rule that it breaks and where that rule is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Reason:
    """A rule, in one sentence, and its section of esi.md."""

    rule: str
    source: str


REASONS: Final[Mapping[str, Reason]] = {
    "inside-ban": Reason("After a 420, send nothing until X-ESI-Error-Limit-Reset.", "esi.md 1.3"),
    "before-retry-after": Reason("After a 429, send nothing for this bucket before Retry-After.", "esi.md 1.3"),
    "before-backoff": Reason("After a 429 or 520 without Retry-After, wait from about 60 s, doubling.", "esi.md 1.3"),
    "overdrawn-bucket": Reason("Never spend more tokens than a bucket has.", "esi.md 1.2"),
    "error-budget": Reason("Stop when 20 errors of the minute are left, not when none is.", "esi.md 6, no. 5"),
    "request-while-down": Reason("While ESI is down, send nothing but one probe of /status.", "esi.md 1.3"),
    "too-many-probes": Reason("While a service is down, probe it with one request at a time.", "esi.md 1.3"),
    "before-expiry": Reason("Request nothing that is still fresh or under way.", "esi.md 1.2, other bans"),
    "without-etag": Reason("Send If-None-Match for a document with a known ETag.", "esi.md 1.4"),
    "page-beyond-end": Reason("Request no page beyond X-Pages.", "esi.md 1.5"),
    "walk-near-expiry": Reason("Start no walk through pages within seconds of their expiry.", "esi.md 1.5"),
    "repeated-refusal": Reason("After a 403 or 404, ask again in growing intervals only.", "esi.md 6, no. 9"),
    "user-agent": Reason("User-Agent names the application and a contact.", "esi.md 1.1"),
    "compatibility-date": Reason("Every request names its X-Compatibility-Date.", "esi.md 1.1"),
    "expired-token": Reason("Send no access token that has expired.", "esi.md 3, practice"),
    "sso-parallel": Reason("Never refresh more than 4 tokens at once.", "esi.md 3, load limit"),
    "refresh-twice-at-once": Reason("One refresh of a character at a time.", "esi.md 3, practice"),
    "rotated-token": Reason("Never use a refresh token that was replaced.", "esi.md 3, rotation"),
    "hour-burst": Reason("Spread requests; CCP sees 100 times the load on whole hours.", "esi.md 1.3, downtime"),
}
