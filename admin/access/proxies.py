"""Applies the X-Forwarded headers of trusted proxies: the client's address, scheme and host, and the path prefix.

Only addresses in NOMAD_ADMIN_TRUSTED_PROXIES are trusted. From other addresses these headers change nothing; they only
show that a request was forwarded (`loopback`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nomad_actors.settings.addresses import Network, parse_address, parse_prefix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


class BehindProxies:
    """WSGI middleware: the application sees requests as the clients of its trusted proxies sent them."""

    def __init__(self, web: WSGIApplication, *, trusted: Iterable[Network], prefix: str) -> None:
        self._web = web
        self._trusted = tuple(trusted)
        self._prefix = prefix

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        prefix = self._prefix
        if self._is_trusted(environ.get("REMOTE_ADDR", "")):
            environ["REMOTE_ADDR"] = self._client(environ)
            self._apply_scheme_and_host(environ)
            prefix = self._forwarded_prefix(environ) or prefix
        _shift(environ, prefix)
        return self._web(environ, start_response)

    def _is_trusted(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in self._trusted)

    def _client(self, environ: WSGIEnvironment) -> str:
        """Return the client of the outermost trusted proxy: the rightmost address that is not a trusted proxy."""
        client: str = environ["REMOTE_ADDR"]
        for text in reversed(_values(environ, "FOR")):
            if not self._is_trusted(client):
                break
            address = parse_address(_without_port(text))
            if address is None:
                # No trusted proxy has added the addresses further left.
                break
            client = str(address)
        return client

    @staticmethod
    def _apply_scheme_and_host(environ: WSGIEnvironment) -> None:
        scheme, host = _last(environ, "PROTO").lower(), _last(environ, "HOST")
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        if _HOST.fullmatch(host):
            environ["HTTP_HOST"] = host

    @staticmethod
    def _forwarded_prefix(environ: WSGIEnvironment) -> str:
        try:
            return parse_prefix(_last(environ, "PREFIX"))
        except ValueError:
            return ""


def _shift(environ: WSGIEnvironment, prefix: str) -> None:
    """Make `prefix` the application's root, whether or not the proxy has removed it from the path."""
    if not prefix:
        return
    environ["SCRIPT_NAME"] = prefix
    path: str = environ.get("PATH_INFO", "")
    if path == prefix or path.startswith(f"{prefix}/"):
        environ["PATH_INFO"] = path[len(prefix) :] or "/"


def _values(environ: dict[str, Any], name: str) -> list[str]:
    return [text.strip() for text in environ.get(f"HTTP_X_FORWARDED_{name}", "").split(",")]


def _last(environ: dict[str, Any], name: str) -> str:
    return _values(environ, name)[-1]


def _without_port(text: str) -> str:
    """Remove the port, if any: `192.0.2.1:80`, `[2001:db8::1]:80`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
