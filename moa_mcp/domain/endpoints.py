"""Providers: the type of a provider's entry and the table of built-in providers. Data only, no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal

from moa_mcp.domain.sampling import UNSET, FrozenDict, Sampling
from moa_mcp.domain.variants import VariantRegistry


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to call endpoints of one kind. The file with the dialect's provider registers it in `DIALECTS`.

    `headers` makes the headers of every request from the key (None: no key). `provider` makes a
    `moa_mcp.providers.base.Provider` from an endpoint and its HTTP client. `embeddings` makes a provider for
    embedding calls (None: the dialect has no embeddings). A dialect without HTTP sets `needs_base_url` to False and
    gets None as its client. `calls_models` is False if no request leaves this process. `models_path` is where a service
    lists its models.
    """

    provider: Callable[[Endpoint, Any], Any]
    headers: Callable[[str | None], Mapping[str, str]] = lambda key: {}
    embeddings: Callable[[Endpoint, Any], Any] | None = None
    needs_base_url: bool = True
    calls_models: bool = True
    models_path: str = "/models"


DIALECTS: VariantRegistry[Dialect] = VariantRegistry("dialect", "moa_mcp.providers.dialects")

Auth = Literal["bearer", "x-api-key", "api-key"]
"""How a key is sent: as `Authorization: Bearer KEY`, or in a header of this name."""

VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Z_][A-Z0-9_]*))")
"""An environment variable in the value of a header, `${NAME}` or `$NAME`; or `$$`, which is a dollar sign."""

SOCKET_SCHEME = "http+unix"
"""The scheme of a base URL that leads to a Unix socket: `http+unix://%2Fpath%2Fto.sock/v1`."""


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """What a person says that a model costs, in US dollars per million tokens.

    `cache_read_mtok` and `cache_write_mtok` are for input that is read from or written to the provider's cache.
    None: it costs as much as other input.
    """

    input_mtok: float
    output_mtok: float
    cache_read_mtok: float | None = None
    cache_write_mtok: float | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A provider: its address, its dialect, and what is sent to it besides the calls.

    `api_key_env` names the environment variable of the key (None: no key is sent). The key is sent only to the
    origin of `base_url`, in the form of `auth` (None: that of the dialect). A `local` endpoint is free; whether it
    runs is checked by a request. `max_concurrency` is the largest number of simultaneous calls.

    `headers` are sent with every request, with the variables in their values filled in; `query` is added to every
    URL; `extra_body` is merged into the body of every chat call, under the settings that `models` has for its model.
    `stream` is False for a service that only answers as a whole. `first_token_seconds` is the longest wait for the
    first token. `ca_file` is a file of certificate authorities that are trusted besides those of the system.
    """

    name: str
    base_url: str = ""
    dialect: str = "openai"
    api_key_env: str | None = None
    max_concurrency: int = 8
    local: bool = False
    headers: FrozenDict[str] = field(default=FrozenDict(), repr=False)
    query: FrozenDict[str] = FrozenDict()
    extra_body: FrozenDict[Any] = FrozenDict()
    auth: Auth | None = None
    stream: bool = True
    first_token_seconds: float | None = None
    ca_file: str | None = None
    prices: FrozenDict[ModelPrice] = FrozenDict()
    models: FrozenDict[Sampling] = FrozenDict()

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it needs: that of its key, then those in its headers."""
        named = (braced or plain for value in self.headers.values() for braced, plain in VARIABLE.findall(value))
        return tuple(dict.fromkeys(filter(None, (self.api_key_env, *named))))

    def sampling(self, model: str, asked: Sampling | None) -> Sampling:
        """The settings of a call to `model` (its name at this provider): `asked`, over the defaults configured here."""
        if not self.models and not self.extra_body:
            return asked or UNSET
        own = self.models.get(model, UNSET).over(Sampling(extra_body=self.extra_body or None))
        return asked.over(own) if asked else own


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


def is_private(host: str) -> bool:
    """Whether `host`, a name or an address, is not on the public Internet.

    A name is private if it has no dot, such as a service of Docker Compose, or ends as only local names do.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return bool(_PRIVATE_NAME.fullmatch(host.lower()))
    address = getattr(address, "ipv4_mapped", None) or address
    return not (address.is_global or address.is_unspecified or address.is_multicast or address.is_reserved)


# The last label begins with a letter: a host of digits alone, as in http://134744072, is an IPv4 address.
_PRIVATE_NAME = re.compile(
    r"localhost|[a-z][a-z0-9_-]*|(?:[a-z0-9_-]+\.)+(?:local|localhost|internal|lan|home\.arpa|intranet)"
)
