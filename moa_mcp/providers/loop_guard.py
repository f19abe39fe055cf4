"""Keeps a panel from asking itself: the header that each request to a model carries, and the check for it.

A model server that is an agent may ask this server in turn, and so on without end. So every request carries its
depth, and this server refuses a request that comes from a panel. Pure: the listening addresses are an argument.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from moa_mcp.domain.endpoints import is_loopback

DEPTH_HEADER = "x-moa-depth"
"""The number of panels that a request came through. The name is in lower case, as HTTP servers pass it."""

HEADERS: Mapping[str, str] = {DEPTH_HEADER: "1"}
"""The headers of every request to a model."""

_PORTS = {"http": 80, "https": 443}

Address = tuple[str, int]
"""A host, by name or number, and a port."""


def loop_problem(headers: Mapping[str, str]) -> str | None:
    """Why a request with these headers (names in lower case) is refused; None if it does not come from a panel."""
    if headers.get(DEPTH_HEADER, "0").strip() in {"", "0"}:
        return None
    return (
        "This request comes from a panel of moa-mcp, which would ask itself without end. "
        "Let no provider's base_url lead to a server of moa-mcp, or to an agent that uses one."
    )


def is_own(base_url: str, listening: Collection[Address]) -> bool:
    """Whether `base_url` leads to one of the addresses that this process listens on."""
    parts = urlsplit(base_url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    return any(port == own_port and _reaches(host, own) for own, own_port in listening)


def _reaches(host: str, own: str) -> bool:
    """Whether a connection to `host` arrives at a socket that is bound to `own`."""
    if is_loopback(host) or _is_any(host):
        return is_loopback(own) or _is_any(own)
    return host.lower() == own.lower()


def _is_any(host: str) -> bool:
    try:
        return host == "" or ip_address(host).is_unspecified
    except ValueError:
        return False
