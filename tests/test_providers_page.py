"""Each entry of the page about providers is loaded and asked: its URL, headers and body are what the gateway wants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from moa_mcp.config.settings import settings_from
from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.model import ChatCall, Message
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.registry import Registry
from tests.pages import ROOT, blocks
from tests.upstream import Request, Upstream

BLOCKS = blocks((ROOT / "docs" / "providers.md").read_text(encoding="utf-8"), "yaml")
ENDPOINTS = {
    name: each for text in BLOCKS for name, each in settings_from(text).endpoints.items() if f"  {name}:" in text
}


@dataclass(frozen=True)
class Wire:
    """What has to be sent for a call to `model`. Every variable holds `sk-` and its own name, in lower case."""

    model: str
    url: str
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict[str, Any])


WIRES = [
    Wire(
        "azure/my-gpt",
        "https://my-resource.openai.azure.com/openai/v1/chat/completions",
        {"api-key": "sk-azure_openai_api_key"},
        {"model": "my-gpt"},
    ),
    Wire(
        "azure-gpt/my-gpt",
        "https://my-resource.openai.azure.com/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
        {"api-key": "sk-azure_openai_api_key"},
    ),
    Wire(
        "portkey/gpt-5-mini",
        "https://api.portkey.ai/v1/chat/completions",
        {
            "authorization": "Bearer sk-openai_api_key",
            "x-portkey-api-key": "sk-portkey_api_key",
            "x-portkey-provider": "openai",
        },
    ),
    Wire(
        "helicone/gpt-5-mini",
        "https://oai.helicone.ai/v1/chat/completions",
        {"authorization": "Bearer sk-openai_api_key", "helicone-auth": "Bearer sk-helicone_api_key"},
    ),
    Wire(
        "cloudflare/openai/gpt-5-mini",
        "https://gateway.ai.cloudflare.com/v1/my-account/my-gateway/compat/chat/completions",
        {"authorization": "Bearer sk-openai_api_key", "cf-aig-authorization": "Bearer sk-cf_aig_token"},
        {"model": "openai/gpt-5-mini"},
    ),
    Wire(
        "litellm/small",
        "http://litellm.internal:4000/v1/chat/completions",
        {"authorization": "Bearer sk-litellm_api_key"},
    ),
    Wire(
        "openrouter/qwen/qwen3-235b-a22b",
        "https://openrouter.ai/api/v1/chat/completions",
        {"authorization": "Bearer sk-openrouter_api_key", "x-title": "my panel", "http-referer": "https://example.org"},
        {"provider": {"data_collection": "deny", "order": ["deepinfra", "together"], "allow_fallbacks": False}},
    ),
    Wire(
        "claude/claude-opus-4.8",
        "https://gateway.example/anthropic/v1/messages",
        {
            "authorization": "Bearer sk-gateway_token",
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "context-1m-2025-08-07",
        },
        {"model": "claude-opus-4.8"},
    ),
    Wire("box/owl", "http://192.168.1.20:8000/v1/chat/completions", {}),
    Wire("lab/owl", "https://lab.example/v1/chat/completions", {"authorization": "Bearer sk-lab_key"}),
]
_KEY_HEADERS = {"authorization", "x-api-key", "api-key"}


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.model)
async def test_an_entry_of_the_page_sends_what_the_gateway_wants(wire: Wire) -> None:
    endpoint = ENDPOINTS[wire.model.partition("/")[0]]
    sent = await _request_to(endpoint, wire.model)
    origin = urlsplit(endpoint.base_url)

    assert f"{origin.scheme}://{origin.netloc}{sent.path}{f'?{sent.query}' if sent.query else ''}" == wire.url
    assert {name: sent.headers.get(name) for name in wire.headers} == wire.headers
    assert _KEY_HEADERS & set(sent.headers) == _KEY_HEADERS & set(wire.headers)
    assert {key: sent.body[key] for key in wire.body} == wire.body


def test_every_entry_of_the_page_is_asked() -> None:
    asked = {wire.model.partition("/")[0] for wire in WIRES}

    assert set(ENDPOINTS) - asked == {"socket"}  # asked in tests/providers/wire/test_route.py, at a path that exists


def test_the_prices_of_the_page_are_those_of_a_plan() -> None:
    rates = Registry(ENDPOINTS, {}).rates("litellm/small")

    assert rates is not None
    assert (rates.input_per_token, rates.output_per_token) == pytest.approx((0.15e-6, 0.6e-6))


async def _request_to(endpoint: Endpoint, model: str) -> Request:
    """What is sent for a call, to a double in the place of the gateway."""
    async with Upstream() as upstream:
        here = upstream.base_url.removesuffix("/v1") + urlsplit(endpoint.base_url).path
        environ = {name: f"sk-{name.lower()}" for name in endpoint.variables}
        registry = Registry({endpoint.name: replace(endpoint, base_url=here, ca_file=None)}, environ)
        await registry.complete(ChatCall("1.1", "proposer", 1, 1, model, (Message("user", "Why?"),)), ignore_text)
        await registry.aclose()
        return upstream.requests[0]
