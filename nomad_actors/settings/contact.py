"""The contact that CCP wants in the User-Agent of every request to ESI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import SettingsError

if TYPE_CHECKING:
    from .settings import Settings

#: CCP's ESI; a sandbox or another stand-in needs no contact.
CCPS_HOST = "esi.evetech.net"
#: CCP's best practices: a mail address, the URL of the source, or a name on Discord or in EVE.
_CONTACT = re.compile(
    r"[^\s@()<>;,]+@[^\s@()<>;,]+\.[^\s@()<>;,.]{2,}|https://[^\s/()<>;,]+\.[^\s()<>;,]+|\b(discord|eve|character)\s*:\s*\w",
    re.IGNORECASE,
)


def is_ccps(settings: Settings) -> bool:
    """Return whether requests go to CCP's ESI."""
    return urlsplit(settings.esi_base_url).hostname == CCPS_HOST


def require_contact(settings: Settings) -> None:
    """Raise `SettingsError` if requests would go to CCP without a contact in their User-Agent."""
    if is_ccps(settings) and not _CONTACT.search(settings.esi_user_agent):
        problem = (
            f"ESI_USER_AGENT is {settings.esi_user_agent!r}, in which CCP finds no contact, and may block this "
            "application; allowed: a text with a mail address, an https:// URL, discord:NAME or eve:CHARACTER, "
            "such as ESI_USER_AGENT='my-app/1.0 (me@example.com)'"
        )
        raise SettingsError([problem])
