"""Turns errors into protocol answers: errors of moa-mcp keep their text, all others are masked.

In a tool, an error is a result that the model reads and can act on. Everywhere else it is a JSON-RPC error.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeVar

from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult

from moa_mcp.domain.errors import MoAError, Reason, UserError, describe_reason
from moa_mcp.domain.text import fix_surrogates, strip_invisible
from moa_mcp.server.context import Context
from moa_mcp.server.wire import text

logger = logging.getLogger(__name__)

Params = TypeVar("Params")
Result = TypeVar("Result")
Handler = Callable[[Context, Params], Awaitable[Result]]


def with_readable_errors(handler: Handler[Params, Result]) -> Handler[Params, Result]:
    """Wrap a handler to raise JSON-RPC errors. Without it the SDK sends the text of any exception to the client."""

    @wraps(handler)
    async def wrapped(context: Context, params: Params) -> Result:
        try:
            return await handler(context, params)
        except MCPError:
            raise
        except UserError as error:
            raise MCPError(INVALID_PARAMS, strip_invisible(fix_surrogates(str(error)))) from None
        except Exception as error:
            raise MCPError(INTERNAL_ERROR, _error_text(error, context.method)) from None

    return wrapped


def error_result(error: Exception, tool: str) -> CallToolResult:
    """The tool result for `error`."""
    return CallToolResult(content=[text(_error_text(error, tool))], is_error=True)


def _error_text(error: Exception, where: str) -> str:
    """The error text for the client. The traceback of an unexpected error goes to the log only."""
    if isinstance(error, MoAError):
        logger.info("%s refused: %s", where, type(error).__name__)
        return strip_invisible(fix_surrogates(str(error)))
    logger.error("%s broke", where, exc_info=error)
    return f"{describe_reason(Reason.INTERNAL)}."
