"""What every dialect does with the settings in `Sampling`, and the words of services for whether a model thinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from moa_mcp.domain.endpoints import Endpoint, split_model
from moa_mcp.domain.model import ChatCall
from moa_mcp.domain.sampling import SAMPLING, Sampling, merge
from moa_mcp.providers.request_form import form_of

Thinking: TypeAlias = Callable[[bool | int], Mapping[str, Any]]
"""Makes the keys of a request from `Sampling.thinking`: on, off, or the most tokens to think with."""


def sampling_of(call: ChatCall, endpoint: Endpoint) -> Sampling:
    """The settings of a call over those that are configured for its model, without those that the model refuses."""
    sampling = endpoint.sampling(split_model(call.model)[1], call.sampling)
    refused: dict[str, Any] = {name: None for name in form_of(call).omitted if name in SAMPLING}
    return replace(sampling, **refused) if refused else sampling


def complete_body(body: dict[str, Any], sampling: Sampling, endpoint: Endpoint) -> dict[str, Any]:
    """The body as it is sent: with the extra body, and not as a stream where the endpoint does not stream."""
    whole = merge(body, sampling.extra_body) if sampling.extra_body else body
    if not endpoint.stream:
        whole["stream"] = False
        whole.pop("stream_options", None)
    return whole


def as_template_argument(thinking: bool | int) -> dict[str, Any]:
    """For vLLM, SGLang and llama.cpp: arguments of the model's own template, with the names that Qwen's has."""
    budget = {"thinking_budget": thinking} if _is_budget(thinking) else {}
    return {"chat_template_kwargs": {"enable_thinking": bool(thinking), **budget}}


def as_own_keys(thinking: bool | int) -> dict[str, Any]:
    """For Alibaba's service of Qwen."""
    return {"enable_thinking": bool(thinking), **({"thinking_budget": thinking} if _is_budget(thinking) else {})}


def as_reasoning(thinking: bool | int) -> dict[str, Any]:
    """For OpenRouter."""
    return {"reasoning": {"max_tokens": thinking} if _is_budget(thinking) else {"enabled": thinking}}


def as_type(thinking: bool | int) -> dict[str, Any]:
    """For Anthropic, and for DeepSeek, which has no budget and ignores it."""
    if _is_budget(thinking):
        return {"thinking": {"type": "enabled", "budget_tokens": thinking}}
    return {"thinking": {"type": "enabled" if thinking else "disabled"}}


def as_effort(thinking: bool | int) -> dict[str, Any]:
    """For services that know only efforts. The efforts of budgets are those of LiteLLM, without its `minimal`."""
    if not _is_budget(thinking):
        return {"reasoning_effort": "medium" if thinking else "none"}
    return {"reasoning_effort": "high" if thinking >= 10_000 else "medium" if thinking >= 5_000 else "low"}


def _is_budget(thinking: bool | int) -> bool:
    return not isinstance(thinking, bool)
