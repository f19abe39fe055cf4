"""Lists the models that providers offer now, each with its window and its price."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import anyio

from moa_mcp.domain.endpoints import ModelPrice
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.providers.dialects.model_list import ServedModel
from moa_mcp.providers.prices import FREE, Rates
from moa_mcp.providers.registry import Registry

LIST_SECONDS = 10.0
"""Time limit for one provider to list its models."""

_NO_LIST = {404, 405, 501}

PriceSource: TypeAlias = Literal["local", "configuration", "provider", "table"]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that can be asked under the id `model`. None: unknown.

    `window` is the length of its context in tokens. `price` is what its provider says that it costs, else what the
    price table does; a configured price wins over both.
    """

    model: str
    window: int | None = None
    price: ModelPrice | None = None
    price_from: PriceSource | None = None


@dataclass(frozen=True, slots=True)
class ModelList:
    """The models of one provider, or the `error` that came in their place."""

    provider: str
    models: tuple[ListedModel, ...] = ()
    error: ProviderError | None = None

    @property
    def problem(self) -> str | None:
        """Why there is no list, in words; None if there is one."""
        if self.error is not None and self.error.status in _NO_LIST:
            return f"it does not list its models (HTTP {self.error.status})"
        return None if self.error is None else str(self.error)

    def matching(self, text: str) -> ModelList:
        """This list with only the models whose ids contain all words of `text`, in any case."""
        words = text.lower().split()
        return replace(
            self, models=tuple(each for each in self.models if all(word in each.model.lower() for word in words))
        )


async def list_models(
    registry: Registry, providers: Iterable[str], seconds: float = LIST_SECONDS
) -> tuple[ModelList, ...]:
    """Ask all these providers at the same time for their models. Each has `seconds`; a failure is a list, too."""
    lists = {provider: ModelList(provider, error=_timeout(seconds)) for provider in providers}

    async def ask(provider: str) -> None:
        with anyio.move_on_after(seconds):
            try:
                served = await _served(registry, provider)
            except ProviderError as error:
                lists[provider] = ModelList(provider, error=error)
            else:
                models = (_priced(registry, f"{provider}/{each.name}", each) for each in served)
                lists[provider] = ModelList(provider, tuple(sorted(models, key=lambda each: each.model)))

    async with anyio.create_task_group() as tasks:
        for provider in lists:
            tasks.start_soon(ask, provider)
    return tuple(lists.values())


async def _served(registry: Registry, provider: str) -> list[ServedModel]:
    """The models of a provider. llama.cpp says elsewhere what window its model has; the list has the trained one."""
    models = await registry.served_models(provider)
    if any(model.trained_window and model.window is None for model in models):
        window = await registry.window_in_props(provider) if len(models) == 1 else None
        models = [replace(model, window=model.window or window or model.trained_window) for model in models]
    return models


def _timeout(seconds: float) -> ProviderError:
    return ProviderError(Reason.CONNECTION, f"no list of models within {seconds:g} s")


def _priced(registry: Registry, model: str, served: ServedModel) -> ListedModel:
    rates = registry.rates(model)
    if rates is FREE:
        return ListedModel(model, served.window, ModelPrice(0.0, 0.0), "local")
    if served.price is not None and not (rates and rates.is_configured):
        return ListedModel(model, served.window, served.price, "provider")
    if rates is None:
        return ListedModel(model, served.window)
    return ListedModel(model, served.window, _per_mtok(rates), "configuration" if rates.is_configured else "table")


def _per_mtok(rates: Rates) -> ModelPrice:
    cached = rates.cached_per_token
    return ModelPrice(
        round(rates.input_per_token * 1e6, 6),
        round(rates.output_per_token * 1e6, 6),
        None if cached is None else round(cached * 1e6, 6),
    )
