"""What may go over the wire: texts that can be written as UTF-8, and results whose text and facts agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from mcp.types import CallToolResult, ResourceLink, TextContent

from moa_mcp.domain.text import cleaned, fix_surrogates


def fix_json_surrogates(value: Any) -> Any:
    """JSON with half an emoji in any text of it replaced: one of these, on its way out, would end a server on stdio."""
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
    """A text for the client."""
    return TextContent(text=cleaned(words))


def tool_result(
    words: str, facts: Mapping[str, Any], links: Sequence[ResourceLink] = (), *, is_error: bool = False
) -> CallToolResult:
    """A tool's result: the same in words and as facts, since some clients show a model only the one or the other."""
    return CallToolResult(content=[text(words), *links], structured_content=cleaned(facts), is_error=is_error)
