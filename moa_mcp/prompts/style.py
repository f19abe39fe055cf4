"""Which form of the prompt a call gets under `prompt_style: auto`.

`python -m benchmarks.prompts` measured the forms on a small model; the figures are in docs/methods.md. The choice
depends on nothing but the preset, the question and the model's id, so a resumed run makes it again.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from moa_mcp.domain.fields import PromptStyle

PromptForm: TypeAlias = Literal["fenced", "tagged", "paper"]

MIN_CACHED_CHARS = 4_096
"""A shorter conversation is not worth caching: the providers cache beginnings of 1,024 tokens or more."""

_OWN_MACHINE = {"ollama", "lmstudio", "vllm", "demo"}
_STRONG = re.compile(
    r"claude-(?:opus|sonnet)-\d|gpt-[5-9]|gemini-\d[\d.]*-(?:pro|ultra|argon)|grok-[4-9]|deepseek-v[4-9]|glm-[5-9]"
    r"|kimi-k\d|qwen3[.p]\d-(?:max|[\d.]+t)|mistral-large|minimax-m\d"
)
_SMALL = re.compile(r"(?<![a-z])(?:mini|nano|lite|flash|fast|haiku|small|distill|\d{1,2}b)(?![a-z])")


def is_strong(model: str) -> bool:
    """Whether `provider/model` is known to follow a long prompt. A model that is not known counts as weak."""
    provider, _, name = model.lower().partition("/")
    return provider not in _OWN_MACHINE and bool(_STRONG.match(name.rpartition("/")[2])) and not _SMALL.search(name)


def choose_form(style: PromptStyle, model: str, conversation_chars: int) -> PromptForm:
    """Choose the form of one call to `model`, whose conversation, without drafts, has `conversation_chars`.

    `fenced` puts the drafts behind the conversation, so that all calls of a run begin alike and a provider can cache
    that beginning. A small model copies its markers into the answer, therefore only strong models get it.
    """
    if style != "auto":
        return style
    return "fenced" if conversation_chars >= MIN_CACHED_CHARS and is_strong(model) else "tagged"
