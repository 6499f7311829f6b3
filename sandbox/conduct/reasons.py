"""The reasons for which a request is recorded, each with the rule that it breaks and where that rule is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Reason:
    """A rule, in one sentence, and where it is from: CCP's page, or what clients have observed."""

    rule: str
    source: str


#: CCP's documentation, and threads in which CCP or clients describe what the documentation leaves out.
_LIMITS = "https://developers.eveonline.com/docs/services/esi/rate-limiting/"
_PRACTICES = "https://developers.eveonline.com/docs/services/esi/best-practices/"
_OVERVIEW = "https://developers.eveonline.com/docs/services/esi/overview/"
_PAGES = "https://developers.eveonline.com/docs/services/esi/pagination/x-pages/"
_SSO = "https://developers.eveonline.com/docs/services/sso/"
_ERRORS = "https://developers.eveonline.com/blog/article/error-limiting-imminent"
_ROTATION = "https://developers.eveonline.com/blog/article/sso-endpoint-deprecations-2"
_BURSTS = "https://developers.eveonline.com/blog/article/hold-your-horses-introducing-rate-limiting-to-esi"
_REFRESHES = "https://github.com/ccpgames/sso-issues/issues/58"


REASONS: Final[Mapping[str, Reason]] = {
    "inside-ban": Reason("After a 420, send nothing until X-ESI-Error-Limit-Reset.", _ERRORS),
    "before-retry-after": Reason("After a 429, send nothing for this bucket before Retry-After.", _LIMITS),
    "before-backoff": Reason("After a 429 or 520 without Retry-After, wait from about 60 s, doubling.", _LIMITS),
    "overdrawn-bucket": Reason("Never spend more tokens than a bucket has.", _LIMITS),
    "error-budget": Reason("Stop when 20 errors of the minute are left, not when none is.", _ERRORS),
    "request-while-down": Reason("While ESI is down, send nothing but one probe of /status.", _PRACTICES),
    "too-many-probes": Reason("While a service is down, probe it with one request at a time.", _PRACTICES),
    "before-expiry": Reason("Request nothing that is still fresh or under way.", _PRACTICES),
    "without-etag": Reason("Send If-None-Match for a document with a known ETag.", _PRACTICES),
    "page-beyond-end": Reason("Request no page beyond X-Pages.", _PAGES),
    "walk-near-expiry": Reason("Start no walk through pages within seconds of their expiry.", _PAGES),
    "repeated-refusal": Reason("After a 403 or 404, ask again in growing intervals only.", _ERRORS),
    "user-agent": Reason("User-Agent names the application and a contact.", _PRACTICES),
    "compatibility-date": Reason("Every request names its X-Compatibility-Date.", _OVERVIEW),
    "expired-token": Reason("Send no access token that has expired.", _SSO),
    "sso-parallel": Reason("Never refresh more than 4 tokens at once.", _REFRESHES),
    "refresh-twice-at-once": Reason("One refresh of a character at a time.", _ROTATION),
    "rotated-token": Reason("Never use a refresh token that was replaced.", _ROTATION),
    "hour-burst": Reason("Spread requests; CCP sees 100 times the load on whole hours.", _BURSTS),
}
