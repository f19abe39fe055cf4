"""Values for the wire: texts that can be encoded as UTF-8, and tool results as text and as structured data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from mcp.types import CallToolResult, ResourceLink, TextContent

from moa_mcp.domain.text import cleaned, fix_surrogates


def fix_json_surrogates(value: Any) -> Any:
    """Replace lone surrogates in all texts of a JSON value: encoding one as UTF-8 fails and would end stdio."""
    if isinstance(value, str):
        return fix_surrogates(value)
    if isinstance(value, Mapping):
        return {
            fix_surrogates(key): fix_json_surrogates(item) for key, item in cast("Mapping[str, Any]", value).items()
        }
    if isinstance(value, list | tuple):
        return [fix_json_surrogates(item) for item in cast("Sequence[Any]", value)]
    return value


def text(words: str) -> TextContent:
    """A text content block."""
    return TextContent(text=cleaned(words))


def tool_result(
    words: str, facts: Mapping[str, Any], links: Sequence[ResourceLink] = (), *, is_error: bool = False
) -> CallToolResult:
    """A tool result with the same content as text and as data, because some clients show a model only one of them."""
    return CallToolResult(content=[text(words), *links], structured_content=cleaned(facts), is_error=is_error)
