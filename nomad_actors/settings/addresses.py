"""IP addresses, networks, host names and URLs of services, and the path prefix that a proxy adds."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_address(text: str) -> Address | None:
    """Return an IP address, an IPv4-mapped IPv6 address as IPv4; None if the text is not an address."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        return found.ipv4_mapped
    return found


def is_loopback(text: str) -> bool:
    """Return whether a text is a loopback address, IPv4 or IPv6."""
    found = parse_address(text)
    return found is not None and found.is_loopback


def is_loopback_host(name: str) -> bool:
    """Return whether a host name or address always means this machine."""
    return name.lower() == "localhost" or is_loopback(name.strip("[]"))


def host_name(header: str) -> str | None:
    """Return the name in a `Host` header without the port; None if the header is invalid."""
    try:
        parts = urlsplit(f"//{header}")
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        return None
    return name if parts.netloc == header and "@" not in header else None


def local_url(host: str, port: int) -> str:
    """Return the URL of what listens on an address, for clients on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a comma-separated list of addresses and networks; raises `ValueError`."""
    return tuple(ipaddress.ip_network(word.strip()) for word in text.split(","))


def parse_prefix(text: str) -> str:
    """Return the prefix of the admin's paths, such as /nomad, without a trailing slash; raises `ValueError`."""
    # Not one that begins with /admin, because the admin's own paths do.
    if not re.fullmatch(r"(?!/admin(/|$))(/[A-Za-z0-9][A-Za-z0-9._~-]{0,99}){1,10}/?", text):
        raise ValueError(text)
    return text.rstrip("/")
