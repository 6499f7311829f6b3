"""Whether a request is this machine's own, not a proxy's, and not made by somebody else's web page in a browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from flask import Request

from nomad_actors.settings.addresses import is_loopback, is_loopback_host

#: A proxy on this machine makes everybody look like this machine; these headers give it away. It is no proof that none
#: of them is there: whoever has no token may read only, and what is behind a proxy should have tokens.
_FORWARDED = {
    *("forwarded", "via", "x-real-ip", "x-real-port", "x-client-ip", "x-cluster-client-ip", "client-ip"),
    *("true-client-ip", "fastly-client-ip", "x-original-for", "x-original-host", "x-original-url", "x-rewrite-url"),
    *("x-scheme", "x-script-name", "x-url-scheme", "x-host", "x-proxy-user-ip", "x-varnish", "x-remote-ip"),
    *("cdn-loop", "x-amzn-trace-id", "x-cloud-trace-context", "x-arr-log-id", "x-arr-ssl", "front-end-https"),
}
_FORWARDED_PREFIXES = ("x-forwarded", "cf-", "x-envoy-", "x-appengine-", "x-azure-", "x-ms-", "x-nginx-", "proxy-")
_ANY = ("", "0.0.0.0", "::")


def refusals(request: Request) -> Iterator[tuple[str, str]]:
    """Yield why a request is not this machine's own: a word, and the whole of it; nothing when it is."""
    if not is_loopback(request.remote_addr or ""):
        yield "peer", f"only this machine may ask without a token (yours is {request.remote_addr})"
    wrong = host_refusal(request, ())
    if wrong:
        yield "host", wrong
    # Nothing that speaks for itself does so in HTTP/1.0 any more; nginx does, and says nothing else of itself.
    if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        yield "proxy", "the request seems to come through a proxy (it is HTTP/1.0)"
    for header, _ in request.headers:
        if header.lower() in _FORWARDED or header.lower().startswith(_FORWARDED_PREFIXES):
            yield "proxy", f"the request seems to come through a proxy ({header})"


def host_refusal(request: Request, names: Iterable[str]) -> str | None:
    """Return what is wrong with a request's `Host`, None when it is a loopback one or one of `names`.

    A web page can make its own name point to this machine (DNS rebinding), and a browser then sends that name.
    """
    host = request.headers.get("Host", "")
    accepted = [name.lower() for name in names if name not in _ANY]
    name = _host_name(host)
    if name is not None and (name in accepted or is_loopback_host(name)):
        return None
    words = ", ".join(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", *accepted]))
    return f"Host {host[:200]!r} is not this machine's (accepted: {words}, with any port)"


def cross_site(request: Request) -> str | None:
    """Return why a change is taken for another site's, None when it may be ours.

    A web page can send forms to any address; the browser says whose page it was in `Origin` and `Sec-Fetch-Site`.
    A proxy may have ended TLS before us, so our own origin is ours with `https` too.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        return f"changes are not taken from another site's page (Sec-Fetch-Site is {site!r:.100})"
    origin, host = request.headers.get("Origin"), request.headers.get("Host")
    ours = {f"{scheme}://{host}" for scheme in (request.scheme, "https")}
    if origin is not None and origin not in ours:
        return (
            f"changes are not taken from another site's page (Origin is {origin!r:.200}, this is {host!r:.200}; "
            "a proxy must pass the Host on)"
        )
    return None


def _host_name(host: str) -> str | None:
    """Return a `Host`'s name without its port, None when it is no host."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        return None
    return name if parts.netloc == host and "@" not in host else None
