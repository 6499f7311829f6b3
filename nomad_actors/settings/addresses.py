"""Addresses of this machine and of others, and the path that a proxy puts before ours."""

from __future__ import annotations

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_address(text: str) -> Address | None:
    """Return an IP address, one of IPv4 that is written as IPv6 in its own family; None for any other text."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        return found.ipv4_mapped
    return found


def is_loopback(text: str) -> bool:
    """Return whether a text is a loopback address of this machine, in either family."""
    found = parse_address(text)
    return found is not None and found.is_loopback


def is_loopback_host(name: str) -> bool:
    """Return whether a host name or address is always this machine's own."""
    return name.lower() == "localhost" or is_loopback(name.strip("[]"))


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the addresses and networks of a list with commas between them.

    Raises `ValueError`.
    """
    return tuple(ipaddress.ip_network(word.strip()) for word in text.split(","))


def parse_prefix(text: str) -> str:
    """Return the prefix of the admin's paths, as /nomad, without a slash at its end.

    Raises `ValueError`, also for one that begins with /admin, which the admin's own paths do.
    """
    if not re.fullmatch(r"(?!/admin(/|$))(/[A-Za-z0-9][A-Za-z0-9._~-]{0,99}){1,10}/?", text):
        raise ValueError(text)
    return text.rstrip("/")
