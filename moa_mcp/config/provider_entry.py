"""A provider's entry in config.yaml, checked, and the endpoint that it declares."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self, cast
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from moa_mcp.config.yamlfile import Document
from moa_mcp.domain.endpoints import (
    BUILTIN,
    DIALECTS,
    SOCKET_SCHEME,
    VARIABLE,
    Auth,
    Endpoint,
    ModelPrice,
    is_loopback,
    is_private,
)
from moa_mcp.domain.fields import ExtraBody, SamplingSettings, Seconds, StrictModel, constraint_error
from moa_mcp.domain.sampling import FrozenDict, Sampling

_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]

SET_BY_THE_WIRE = frozenset(
    {
        "accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
        "host", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""The headers that say how a request is sent, which `headers` may not set."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    seen = set[str]()
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise constraint_error(
                "this is not the name of a header", "letters, digits and -, as in x-portkey-provider", name
            )
        if name.lower() in SET_BY_THE_WIRE:
            raise constraint_error("moa-mcp sets this header itself", "any other header", name)
        if name.lower() in seen:
            raise constraint_error("this header is there twice, names are equal in any case", "each header once", name)
        seen.add(name.lower())
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise constraint_error("a header cannot carry this value", "printable ASCII on one line", name)
        if "$" in VARIABLE.sub("", value):
            raise constraint_error(
                "this value has a $ that names no variable", "${NAME} for a variable, or $$ for a dollar sign", name
            )
    return headers


class PriceEntry(StrictModel):
    """What a model costs, in US dollars per million tokens, with the names of genai-prices."""

    input_mtok: _Price = Field(description="A million tokens of input.")
    output_mtok: _Price = Field(description="A million tokens of output, reasoning included.")
    cache_read_mtok: _Price | None = Field(
        default=None, description="A million tokens of input read from a cache. Unset: as other input."
    )
    cache_write_mtok: _Price | None = Field(
        default=None, description="A million tokens of input written to a cache. Unset: as other input."
    )


class ProviderEntry(StrictModel):
    """A provider of models, or changes to a built-in one: there, what is left out stays as it is."""

    base_url: str = Field(
        default="",
        description="The address of its API, for example https://lab.example/v1; http only for this computer. A Unix "
        "socket is written http+unix://%2Fpath%2Fto.sock/v1.",
    )
    allow_http: bool = Field(
        default=False,
        description="Whether base_url may begin with http:// for another private host: an address of the local "
        "network, or a name such as host.docker.internal or box.local. What is sent there can be read on the way.",
    )
    dialect: Annotated[str, AfterValidator(DIALECTS.check)] = Field(
        default="openai", description="The form of its API."
    )
    api_key_env: str | None = Field(
        default=None,
        description="The name of the environment variable that holds its key, never the key. Null: no key is sent.",
    )
    max_concurrency: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=8, description="The most calls that it gets at the same time."
    )
    auth: Auth | None = Field(
        default=None,
        description="How the key is sent: bearer (Authorization: Bearer KEY), or in the header x-api-key or api-key. "
        "Unset: as the dialect does.",
    )
    headers: Annotated[dict[str, str], AfterValidator(_check_headers)] = Field(
        default={},
        description="Further headers of every request. ${NAME} or $NAME in a value is an environment variable, $$ is a "
        "dollar sign. Values are masked like keys.",
    )
    query: dict[str, str] = Field(
        default={}, description="What is added to every URL, for example {api-version: 2024-10-21}."
    )
    extra_body: ExtraBody | None = Field(
        default=None,
        description="Further keys of the body of every chat request, in the provider's words, merged deep.",
    )
    models: dict[str, SamplingSettings] = Field(
        default={},
        description="Settings by the provider's own name of a model, for where a preset leaves them unset: top_p, "
        "top_k, seed, stop, thinking, response_format, extra_body.",
    )
    prices: dict[str, PriceEntry] = Field(
        default={},
        description="What models cost by the provider's own names, in US dollars per million tokens: input_mtok, "
        "output_mtok, cache_read_mtok, cache_write_mtok.",
    )
    local: bool | None = Field(
        default=None,
        description="Whether its models are free. Unset: they are if it is on this computer and has no api_key_env.",
    )
    stream: bool = Field(
        default=True, description="false: replies are asked for as a whole, for a service that does not stream."
    )
    first_token_seconds: Seconds | None = Field(
        default=None,
        description="Seconds until the first token has to come, for example while a model is loaded. Unset: 60, or 120 "
        "for a model that thinks.",
    )
    ca_file: str | None = Field(
        default=None,
        description="The absolute path of a PEM file of certificate authorities to trust besides those of the system.",
    )

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.base_url and (fault := url_problem(self.base_url, allow_http=self.allow_http)):
            raise constraint_error(*fault, "base_url")
        return self

    @field_validator("base_url")
    @classmethod
    def _is_a_base(cls, url: str) -> str:
        return _without_request_path(url)

    @field_validator("query", mode="before")
    @classmethod
    def _as_text(cls, query: Any) -> Any:
        if not isinstance(query, dict):
            return query
        items = cast("dict[str, Any]", query).items()
        return {key: str(value) if type(value) in (int, float) else value for key, value in items}

    @field_validator("ca_file")
    @classmethod
    def _is_absolute(cls, file: str | None) -> str | None:
        if file is not None and not Path(file).expanduser().is_absolute():
            raise ValueError("this path is relative; write it in full")
        return file

    @field_validator("api_key_env")
    @classmethod
    def _is_a_variable(cls, name: str | None) -> str | None:
        word = (name or "_").replace("_", "A")
        if not (word.isascii() and word.isalnum() and word.isupper() and not word[0].isdigit()):
            raise ValueError("this is the name of a variable, never a key: capital letters, digits and _, as LAB_KEY")
        return name


def endpoint_of(name: str, entry: ProviderEntry, document: Document) -> Endpoint:
    """Return the provider that an entry declares, or the built-in provider with the changes of the entry.

    Raises:
        InvalidConfig: the address is missing, or the key of a built-in provider would go elsewhere.
    """
    known = BUILTIN.get(name, Endpoint(name))
    endpoint = replace(known, **_values(entry))
    place = ("providers", name)
    needs_base_url = DIALECTS.get(endpoint.dialect).needs_base_url
    if not endpoint.base_url and needs_base_url:
        raise document.error("this provider is not built in and has no base_url", place, "a key base_url")
    if known.api_key_env and _has_new_origin(known, endpoint) and "api_key_env" not in entry.model_fields_set:
        raise document.error(
            f"base_url leads elsewhere than the built-in {name}, and no key is sent there unasked",
            (*place, "base_url"),
            f"api_key_env beside it: {known.api_key_env} to send that key there, or null to send none",
        )
    is_free = endpoint.api_key_env is None and (not needs_base_url or _is_on_this_computer(endpoint.base_url))
    return replace(endpoint, local=is_free if entry.local is None else entry.local)


def _values(entry: ProviderEntry) -> dict[str, Any]:
    """The fields of an `Endpoint` that an entry sets."""
    given = {key: getattr(entry, key) for key in entry.model_fields_set - {"allow_http", "local"}}
    for key in given.keys() & {"headers", "query", "extra_body"}:
        given[key] = FrozenDict(given[key] or {})
    if "models" in given:
        given["models"] = FrozenDict({model: each.sampling or Sampling() for model, each in entry.models.items()})
    if "prices" in given:
        given["prices"] = FrozenDict({model: ModelPrice(**dict(each)) for model, each in entry.prices.items()})
    return given


def _is_on_this_computer(base_url: str) -> bool:
    """Whether a base URL leads to the loopback interface or to a Unix socket."""
    parts = urlsplit(base_url)
    return parts.scheme == SOCKET_SCHEME or is_loopback(parts.hostname or "")


def _has_new_origin(before: Endpoint, after: Endpoint) -> bool:
    old, new = urlsplit(before.base_url), urlsplit(after.base_url)
    return (old.scheme, old.netloc.lower()) != (new.scheme, new.netloc.lower())


_REQUEST_PATHS = ("/chat/completions", "/completions", "/messages", "/responses", "/embeddings")


def _without_request_path(url: str) -> str:
    """Return the base of an address that was copied with the path of a request, which a dialect adds itself."""
    url = url.rstrip("/")
    path = next((path for path in _REQUEST_PATHS if url.lower().endswith(path)), "")
    return url[: len(url) - len(path)].rstrip("/")


def url_problem(url: str, *, allow_http: bool = False) -> tuple[str, str] | None:
    """Return why calls and keys may not be sent to this URL, and what is expected; None if they may."""
    https = "an address that begins with https://, as https://lab.example/v1"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        ("" if parts.scheme == SOCKET_SCHEME else host or "").encode("idna")
    except ValueError:  # includes UnicodeError: a part of the host name is empty or longer than 63 letters
        return "this is not a URL", https
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "this URL has characters that no URL has", https
    if "@" in parts.netloc:
        return "a URL here holds no user name or password", "the name of a key's variable in api_key_env"
    if "?" in url or "#" in url:
        return "a base URL has no query and no fragment", "the query in a key of its own, as query: {api-version: …}"
    if parts.scheme == SOCKET_SCHEME and not unquote(parts.netloc).startswith("/"):
        return "this path of a socket is not absolute", f"its slashes quoted, as {SOCKET_SCHEME}://%2Frun%2Flab.sock/v1"
    if parts.scheme == SOCKET_SCHEME:
        return None
    if parts.scheme not in {"http", "https"} or not host:
        return "a base URL begins with https:// and the name of a host", https
    return None if parts.scheme == "https" or is_loopback(host) else _http_problem(host, allow_http=allow_http)


def _http_problem(host: str, *, allow_http: bool) -> tuple[str, str] | None:
    problem = "http is for this computer only (localhost, 127.0.0.1); anything else is reached over https"
    if not is_private(host):
        return problem, "https://, as allow_http is for private hosts only"
    return None if allow_http else (problem, "https://, or allow_http: true beside it, as this host is private")
