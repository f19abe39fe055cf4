"""Providers: the type of a provider's entry and the table of built-in providers. Data only, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from moa_mcp.domain.variants import VariantRegistry


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to call endpoints of one kind. The file with the dialect's provider registers it in `DIALECTS`.

    `headers` makes the headers of every request from the key (None: no key). `provider` makes a
    `moa_mcp.providers.base.Provider` from an endpoint and its HTTP client. `embeddings` makes a provider for
    embedding calls (None: the dialect has no embeddings). A dialect without HTTP sets `needs_base_url` to False and
    gets None as its client. `calls_models` is False if no request leaves this process.
    """

    provider: Callable[[Endpoint, Any], Any]
    headers: Callable[[str | None], Mapping[str, str]] = lambda key: {}
    embeddings: Callable[[Endpoint, Any], Any] | None = None
    needs_base_url: bool = True
    calls_models: bool = True


DIALECTS: VariantRegistry[Dialect] = VariantRegistry("dialect", "moa_mcp.providers.dialects")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A provider: its address and its dialect.

    `api_key_env` names the environment variable of the key (None: no key is sent). The key is sent only to the
    origin of `base_url`. A `local` endpoint needs no key; whether it runs is checked by a request.
    `max_concurrency` is the largest number of simultaneous calls.
    """

    name: str
    base_url: str = ""
    dialect: str = "openai"
    api_key_env: str | None = None
    max_concurrency: int = 8
    local: bool = False


_TABLE = (
    Endpoint("openai", "https://api.openai.com/v1", api_key_env="OPENAI_API_KEY"),
    Endpoint("anthropic", "https://api.anthropic.com/v1", "anthropic", "ANTHROPIC_API_KEY"),
    Endpoint("openrouter", "https://openrouter.ai/api/v1", api_key_env="OPENROUTER_API_KEY"),
    Endpoint("together", "https://api.together.xyz/v1", api_key_env="TOGETHER_API_KEY"),
    Endpoint("groq", "https://api.groq.com/openai/v1", api_key_env="GROQ_API_KEY"),
    Endpoint("deepseek", "https://api.deepseek.com/v1", api_key_env="DEEPSEEK_API_KEY"),
    Endpoint("mistral", "https://api.mistral.ai/v1", api_key_env="MISTRAL_API_KEY"),
    Endpoint(
        "google",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        api_key_env="GEMINI_API_KEY",
    ),
    Endpoint("xai", "https://api.x.ai/v1", api_key_env="XAI_API_KEY"),
    Endpoint("fireworks", "https://api.fireworks.ai/inference/v1", api_key_env="FIREWORKS_API_KEY"),
    Endpoint("nous", "https://inference-api.nousresearch.com/v1", api_key_env="NOUS_API_KEY"),
    Endpoint("ollama", "http://127.0.0.1:11434/v1", local=True),
    Endpoint("lmstudio", "http://127.0.0.1:1234/v1", local=True),
    Endpoint("vllm", "http://127.0.0.1:8000/v1", local=True),
    Endpoint("demo", dialect="demo", local=True),
)

BUILTIN: Mapping[str, Endpoint] = {endpoint.name: endpoint for endpoint in _TABLE}
"""The built-in providers by name. They need at most a key."""


def split_model(model: str) -> tuple[str, str]:
    """Split a model id at its first slash into (provider, the provider's model id)."""
    provider, _, name = model.partition("/")
    return provider, name


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is the loopback interface of this machine."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
