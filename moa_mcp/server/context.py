"""What a request to the server brings along: the SDK's context, and who is asking."""

from __future__ import annotations

from typing import Any, TypeAlias

from mcp.server.context import ServerRequestContext

from moa_mcp.service.service import LOCAL

Context: TypeAlias = ServerRequestContext[Any, Any]
"""The SDK's context of one request, whatever carries it."""


def owner_of(context: Context) -> str:
    """Whose runs the request may see: here they are all of the one person who started the server."""
    return LOCAL
