"""Marks what a provider that caches only on request should store in its prompt cache, or read there.

Anthropic caches up to a breakpoint; storing costs more than plain input, reading a tenth of it. OpenAI, Google,
DeepSeek and xAI cache equal beginnings of prompts by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moa_mcp.domain.model import ChatCall
from moa_mcp.domain.text import fix_surrogates
from moa_mcp.providers.budget import estimate_tokens
from moa_mcp.providers.request_form import form_of

MIN_CACHED_TOKENS = 1024
"""The shortest beginning that any model of Anthropic caches; some need more, and ignore the mark below that."""


def marked_parts(call: ChatCall, earlier: Sequence[str] = ()) -> list[dict[str, Any]] | None:
    """The last message of a call as content parts, the shared one with a breakpoint behind it.

    `earlier` are texts of the same turn before it. None if the call has nothing to cache, or its model refused such
    parts.
    """
    if (
        not call.cache_prefix
        or not form_of(call).sends("cache_control")
        or not (shared := call.messages[-1].shared_chars)
    ):
        return None
    text = call.messages[-1].text
    before = sum(estimate_tokens(message.text) for message in call.messages[:-1])
    if before + estimate_tokens(text[:shared]) < MIN_CACHED_TOKENS:
        return None
    beginning = fix_surrogates("\n\n".join((*earlier, text[:shared])))
    first = {"type": "text", "text": beginning, "cache_control": {"type": "ephemeral"}}
    rest = fix_surrogates(text[shared:])
    return [first, {"type": "text", "text": rest}] if rest.strip() else [first]
