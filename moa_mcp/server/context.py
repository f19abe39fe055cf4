"""The context of a request: the SDK's context, and the owner."""

from __future__ import annotations

from typing import Any, TypeAlias

from mcp.server.context import ServerRequestContext

from moa_mcp.service.service import LOCAL

Context: TypeAlias = ServerRequestContext[Any, Any]
"""The SDK's context of one request, on any transport."""


OWNER = "moa_mcp.owner"
"""The key of the owner in the scope of an HTTP request."""


def owner_of(context: Context) -> str:
    """The owner whose runs the request may access: the owner of its token, or `LOCAL` on stdio."""
    return LOCAL if context.request is None else str(context.request.scope[OWNER])
