"""Reads the list of the models that a service offers: with windows and prices, where the reply has them.

OpenAI's own list has only names. What services add to it has other names and units at each.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

from moa_mcp.domain.endpoints import ModelPrice
from moa_mcp.providers.dialects.json_access import count, mapping, name, sequence, value_at

_WINDOW = (
    "loaded_context_length",  # LM Studio: as the model is loaded
    "max_model_len",  # vLLM, SGLang
    "meta.n_ctx",  # llama.cpp
    "context_length",  # OpenRouter, Nous, Together, Fireworks, xAI
    "context_window",  # Groq, Vercel
    "max_context_length",  # Mistral, LM Studio
    "max_input_tokens",  # Anthropic, LiteLLM
    "context_size",  # Novita
    "metadata.context_length",  # DeepInfra
    "inputTokenLimit",  # Google
)
"""The names of a window, those of the server's own limit before those of the model."""

MAX_USD_PER_MTOK = 1e6


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that a service offers. `window` is the length of its context in tokens. None: the reply has it not.

    `trained_window` is what the model was trained with; llama.cpp names it, and usually serves less.
    """

    name: str
    window: int | None = None
    price: ModelPrice | None = None
    trained_window: int | None = None


def served_models(body: object) -> list[ServedModel]:
    """The models in the reply to `GET /models`; Together replies with a bare list."""
    listed = map(mapping, sequence(body) or sequence(mapping(body).get("data")))
    return [
        ServedModel(model, _window(entry), _price(entry), count(value_at(entry, "meta.n_ctx_train")))
        for entry in listed
        if (model := _name(entry))
    ]


def window_in_props(body: object) -> int | None:
    """The window that a llama.cpp server was started with, in the reply to `GET /props`."""
    return count(value_at(mapping(body), "default_generation_settings.n_ctx")) or None


def _name(entry: Mapping[str, Any]) -> str:
    return (name(entry.get("id")) or "").removeprefix("models/")  # Google's names work with and without it


def _window(entry: Mapping[str, Any]) -> int | None:
    return next((number for key in _WINDOW if (number := count(value_at(entry, key)))), None)


def _price(entry: Mapping[str, Any]) -> ModelPrice | None:
    pricing = mapping(entry.get("pricing")) or mapping(value_at(entry, "metadata.pricing"))
    for read, written, cached in (
        ("prompt", "completion", "input_cache_read"),  # OpenRouter and Nous, per token
        ("input", "output", "input_cache_read"),  # Vercel, per token; Together, per million
        ("input_tokens", "output_tokens", "cache_read_tokens"),  # DeepInfra, per million
    ):
        per_mtok = [_per_mtok(pricing.get(key), per_token=read == "prompt") for key in (read, written, cached)]
        if per_mtok[0] is not None and per_mtok[1] is not None:
            return ModelPrice(per_mtok[0], per_mtok[1], per_mtok[2])
    return None


def _per_mtok(value: object, *, per_token: bool) -> float | None:
    """A price in US dollars per million tokens. A price per token is usually text, as JSON's numbers lose digits.

    OpenRouter's -1 means that the price depends on the request.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(ValueError):
        price = float(value) * (1e6 if per_token or isinstance(value, str) else 1)
        return round(price, 6) if isfinite(price) and 0 <= price <= MAX_USD_PER_MTOK else None
    return None
