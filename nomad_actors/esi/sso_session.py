"""The HTTP session for SSO."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter

from .transport import POOL_SIZE


def http_session(user_agent: str) -> requests.Session:
    """Return an HTTP session; one per process is enough for all threads."""
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=POOL_SIZE)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    session.headers["User-Agent"] = user_agent
    # Ignore proxies and .netrc from the environment: a token must go only where the settings say.
    session.trust_env = False
    # All characters share the session: no cookie from one character's response may be sent with another's request.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session
