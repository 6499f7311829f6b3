"""Tells whether a request comes from this machine itself, not from a proxy and not from another site's web page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flask import Request

from nomad_actors.settings.addresses import host_name, is_loopback, is_loopback_host

#: Requests through a proxy on this machine seem to come from this machine; these headers reveal the proxy. Their
#: absence proves nothing: so without a token only reading is allowed, and an admin behind a proxy should have tokens.
_FORWARDED = {
    *("forwarded", "via", "x-real-ip", "x-real-port", "x-client-ip", "x-cluster-client-ip", "client-ip"),
    *("true-client-ip", "fastly-client-ip", "x-original-for", "x-original-host", "x-original-url", "x-rewrite-url"),
    *("x-scheme", "x-script-name", "x-url-scheme", "x-host", "x-proxy-user-ip", "x-varnish", "x-remote-ip"),
    *("cdn-loop", "x-amzn-trace-id", "x-cloud-trace-context", "x-arr-log-id", "x-arr-ssl", "front-end-https"),
}
_FORWARDED_PREFIXES = ("x-forwarded", "cf-", "x-envoy-", "x-appengine-", "x-azure-", "x-ms-", "x-nginx-", "proxy-")
_ANY = ("", "0.0.0.0", "::")


def refusals(request: Request) -> Iterator[tuple[str, str]]:
    """Yield each reason, as a code and a sentence, why a request does not come from this machine itself."""
    if not is_loopback(request.remote_addr or ""):
        yield "peer", f"only this machine may send requests without a token (this one came from {request.remote_addr})"
    wrong = host_refusal(request, ())
    if wrong:
        yield "host", wrong
    # Clients no longer use HTTP/1.0. nginx does by default, and by default it adds none of the headers.
    if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        yield "proxy", "the request seems to come through a proxy (it is HTTP/1.0)"
    for header, _ in request.headers:
        if header.lower() in _FORWARDED or header.lower().startswith(_FORWARDED_PREFIXES):
            yield "proxy", f"the request seems to come through a proxy ({header})"


def host_refusal(request: Request, names: Iterable[str]) -> str | None:
    """Return what is wrong with a request's `Host`; None if it is a loopback name or one of `names`.

    A web page can make its own name point to this machine (DNS rebinding), and a browser then sends that name.
    """
    host = request.headers.get("Host", "")
    allowed = [name.lower() for name in names if name not in _ANY]
    name = host_name(host)
    if name is not None and (name in allowed or is_loopback_host(name)):
        return None
    words = ", ".join(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", *allowed]))
    return f"Host {host[:200]!r} is not a name of this admin (allowed: {words}, with any port)"


def cross_site_refusal(request: Request) -> str | None:
    """Return why a change seems to come from another site's page; None if it may come from our own.

    A web page can send forms to any address. The browser names the page's site in `Origin` and `Sec-Fetch-Site`.
    A proxy may terminate TLS, so our own host with `https` is allowed too.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        return f"changes from another site's page are refused (Sec-Fetch-Site is {site!r:.100})"
    origin, host = request.headers.get("Origin"), request.headers.get("Host")
    ours = {f"{scheme}://{host}" for scheme in (request.scheme, "https")}
    if origin is not None and origin not in ours:
        return (
            f"changes from another site's page are refused (Origin is {origin!r:.200}, this host is {host!r:.200}; "
            "a proxy must forward the Host header)"
        )
    return None
