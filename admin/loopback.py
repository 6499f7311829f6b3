"""Who may speak to the admin: this machine alone, and no web page of somebody else's through a browser on it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from flask import Request

_READING = ("GET", "HEAD", "OPTIONS")
#: A proxy on this machine makes everybody look like this machine; these headers give it away.
_PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host")


def refusal(request: Request) -> str | None:
    """Return why a request is refused, None when it may pass.

    The `Host` is checked because a web page can make its own name point to 127.0.0.1 (DNS rebinding), `Origin` and
    `Sec-Fetch-Site` because it can send forms to any address.
    """
    if not is_loopback(request.remote_addr or ""):
        return f"only this machine may ask (accepted: a loopback address; yours is {request.remote_addr})"
    host = request.headers.get("Host", "")
    if not _is_loopback_host(host):
        return f"Host {host!r} is not this machine's (accepted: localhost, 127.0.0.1 or [::1], with any port)"
    for header in _PASSED_ON:
        if header in request.headers:
            return f"the request came through a proxy ({header}); only this machine itself may ask"
    if request.method in _READING:
        return None
    return _cross_site(request)


def is_loopback(address: str) -> bool:
    """Return whether `address` is one of this machine's loopback addresses, in either family."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        return found.ipv4_mapped.is_loopback
    return found.is_loopback


def _is_loopback_host(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    return parts.netloc == host and "@" not in host and (name == "localhost" or is_loopback(name))


def _cross_site(request: Request) -> str | None:
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        return f"changes are not taken from another site's page (Sec-Fetch-Site is {site!r})"
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.headers.get('Host')}":
        return f"changes are not taken from another site's page (Origin is {origin!r})"
    return None
