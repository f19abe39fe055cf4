"""What a request to the server brings along: the SDK's context, and who is asking."""

from __future__ import annotations

from typing import Any, TypeAlias

from mcp.server.context import ServerRequestContext

from moa_mcp.service.service import LOCAL

Context: TypeAlias = ServerRequestContext[Any, Any]
"""The SDK's context of one request, whatever carries it."""


OWNER = "moa_mcp.owner"
"""Under what name an HTTP request's scope says for whom it is made."""


def owner_of(context: Context) -> str:
    """Whose runs the request may see: those of the token it came with, else of the person who started the server."""
    return LOCAL if context.request is None else str(context.request.scope[OWNER])
