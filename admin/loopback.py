"""Who may speak to the admin: this machine alone, and no web page of somebody else's through a browser on it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from flask import Request

#: A proxy on this machine makes everybody look like this machine; these headers give it away.
_PASSED_ON = ("forwarded", "via", "x-real-ip")
_PASSED_ON_PREFIX = "x-forwarded-"
_ANY = ("", "0.0.0.0", "::")


def refusals(request: Request) -> Iterator[tuple[str, str]]:
    """Yield why a request is not this machine's own: a word, and the whole of it; nothing when it is."""
    if not is_loopback(request.remote_addr or ""):
        yield "peer", f"only this machine may ask (accepted: a loopback address; yours is {request.remote_addr})"
    wrong = host_refusal(request, ())
    if wrong:
        yield "host", wrong
    for header, _ in request.headers:
        if header.lower() in _PASSED_ON or header.lower().startswith(_PASSED_ON_PREFIX):
            yield "proxy", f"the request came through a proxy ({header}); only this machine itself may ask"


def host_refusal(request: Request, names: Iterable[str]) -> str | None:
    """Return what is wrong with a request's `Host`, None when it is a loopback one or one of `names`.

    A web page can make its own name point to this machine (DNS rebinding), and a browser then sends that name.
    """
    host = request.headers.get("Host", "")
    accepted = [name.lower() for name in names if name not in _ANY]
    name = _host_name(host)
    if name is not None and (name in accepted or name == "localhost" or is_loopback(name)):
        return None
    words = ", ".join(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", *accepted]))
    return f"Host {host[:200]!r} is not this machine's (accepted: {words}, with any port)"


def cross_site(request: Request, *, https: bool) -> str | None:
    """Return why a change is taken for another site's, None when it may be ours; `https`: a proxy may have ended TLS.

    A web page can send forms to any address; the browser says whose page it was in `Origin` and `Sec-Fetch-Site`.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        return f"changes are not taken from another site's page (Sec-Fetch-Site is {site!r:.100})"
    origin, host = request.headers.get("Origin"), request.headers.get("Host")
    ours = {f"{request.scheme}://{host}"} | ({f"https://{host}"} if https else set())
    if origin is not None and origin not in ours:
        return f"changes are not taken from another site's page (Origin is {origin!r:.200})"
    return None


def is_loopback(address: str) -> bool:
    """Return whether `address` is one of this machine's loopback addresses, in either family."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        return found.ipv4_mapped.is_loopback
    return found.is_loopback


def _host_name(host: str) -> str | None:
    """Return a `Host`'s name without its port, None when it is no host."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        return None
    return name if parts.netloc == host and "@" not in host else None
