"""One provider for all endpoints: it sends each call to the endpoint that the model id names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio

from moa_mcp.domain.endpoints import DIALECTS, Endpoint, split_model
from moa_mcp.domain.errors import InvalidRequest, MissingKey, ProviderError, Reason, sort_by_closeness
from moa_mcp.domain.model import Call, CodeCall, Result
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.dialects.model_list import ServedModel, served_models, window_in_props
from moa_mcp.providers.loop_guard import Address, is_own
from moa_mcp.providers.prices import FREE, Rates, rates
from moa_mcp.providers.sandbox import SandboxProvider
from moa_mcp.providers.wire import keys
from moa_mcp.providers.wrappers.by_kind import KindRouter
from moa_mcp.providers.wrappers.circuit_breaker import CircuitBreaker
from moa_mcp.providers.wrappers.concurrency_limit import ConcurrencyLimit
from moa_mcp.providers.wrappers.key_redaction import KeyRedaction
from moa_mcp.providers.wrappers.name_configuration import NameConfiguration, advice_on
from moa_mcp.providers.wrappers.pricing import Pricing
from moa_mcp.providers.wrappers.timeouts import Timeouts, TimeoutSettings

if TYPE_CHECKING:
    from moa_mcp.providers.wire.http import Http

LOCAL_TIMEOUT_SECONDS = 0.5
"""Time limit for a local endpoint to list its models: a running one answers at once."""


class Registry:
    """The provider of a whole configuration.

    `endpoints` maps names to endpoints; `environ` holds the key variables; `own` maps names to the providers that a
    program adds itself. The client of an endpoint is made for its first call and lives until `aclose`. Proxies are
    taken from the environment only with `use_proxy_env`. The wrappers made here live as long as the process; those
    that live for one run are made in run_provider.py.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        environ: Mapping[str, str],
        timeouts: TimeoutSettings | None = None,
        *,
        use_proxy_env: bool = False,
        own: Mapping[str, Provider] = MappingProxyType({}),
    ) -> None:
        self.listening: Collection[Address] = ()
        """The addresses that this process listens on: no call may go there."""
        self._own = own
        self._environ = environ
        self._timeouts = timeouts
        self._use_proxy_env = use_proxy_env
        self._sandbox = SandboxProvider()
        self._providers: dict[Endpoint, Provider] = {}
        self._clients: dict[Endpoint, Http] = {}
        self.use(endpoints)

    def use(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Use these endpoints from the next run on.

        An unchanged endpoint keeps its client. The client of a changed or removed one is closed only with the
        registry, because calls may still run on it.
        """
        self._endpoints = {**endpoints, **{name: endpoints.get(name, Endpoint(name)) for name in self._own}}
        self._by_name: dict[str, Provider] = {}  # the providers of these endpoints: to hash an endpoint takes longer

    def snapshot(self) -> Registry:
        """This registry with its endpoints of now, for a run: a later `use` does not change it. Clients are shared."""
        return copy(self)

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask the call's model at its endpoint.

        Raises:
            ProviderError: the call gave no draft. A call whose endpoint or key is missing is not sent.
        """
        provider = self._sandbox if isinstance(call, CodeCall) else self._provider(split_model(call.model)[0])
        return await provider.complete(call, on_text)

    def is_sent(self, call: Call) -> bool:
        """Whether a call leaves this process; calls to the demo panel and code calls do not."""
        endpoint = self._endpoints.get(split_model(call.model)[0])
        return not isinstance(call, CodeCall) and (endpoint is None or DIALECTS.get(endpoint.dialect).calls_models)

    def missing_key(self, model: str) -> str | None:
        """The first variable, of a key or in a header, that the model's endpoint needs and that is not set; or None."""
        return next(iter(self._missing_variables(model)), None)

    def _missing_variables(self, model: str) -> tuple[str, ...]:
        endpoint = self._endpoints.get(split_model(model)[0])
        return keys.missing_variables(endpoint, self._environ) if endpoint else ()

    def dialects_of(self, models: Iterable[str]) -> set[str]:
        """The names of the dialects in which these models are asked."""
        names = {split_model(model)[0] for model in models}
        return {endpoint.dialect for name, endpoint in self._endpoints.items() if name in names - self._own.keys()}

    def is_usable(self, model: str) -> bool:
        """Whether the model can be asked: its endpoint is known and has the key that it needs."""
        return split_model(model)[0] in self._endpoints and self.missing_key(model) is None

    def check_usable(self, models: Iterable[str]) -> None:
        """Check that all these models can be asked.

        Raises:
            InvalidRequest: a model's provider is not declared, or is this server itself.
            MissingKey: key variables are not set; the error names all of them.
        """
        model_of: dict[str, str] = {}
        for model in models:
            name = split_model(model)[0]
            if name not in self._endpoints:
                raise InvalidRequest(self._unknown_provider_error(name, model))
            if is_own(self._endpoints[name].base_url, self.listening):
                raise InvalidRequest(_own_address_error(name))
            for variable in self._missing_variables(model):
                model_of.setdefault(variable, model)
        if model_of:
            values = {name: keys.placeholder_in(self._environ.get(name, "")) for name in model_of}
            placeholders = {name: value for name, value in values.items() if value}
            wanted_by = f"The panel ({', '.join(dict.fromkeys(model_of.values()))})"
            raise MissingKey(tuple(model_of), wanted_by=wanted_by, placeholders=placeholders)

    async def served_models(self, provider: str) -> list[ServedModel]:
        """The models that an endpoint offers now.

        Raises:
            ProviderError: its key is missing, or it does not list its models.
        """
        endpoint = self._endpoints[provider]
        try:
            body = await self._client(endpoint).get(DIALECTS.get(endpoint.dialect).models_path)
        except ProviderError as error:
            error.advice = advice_on(error.reason, endpoint) or error.advice
            raise
        return served_models(body)

    async def window_in_props(self, provider: str) -> int | None:
        """The window of the one model that a llama.cpp server has loaded; None if it does not say so."""
        with suppress(ProviderError):
            return window_in_props(await self._client(self._endpoints[provider]).get("/props", from_root=True))
        return None

    async def local_models(self, provider: str) -> list[str]:
        """The models that the endpoint offers now, by its own names; empty if it does not answer in time."""
        with suppress(ProviderError):
            self._client(self._endpoints[provider])  # made outside the time limit: loading httpx is slow
            with anyio.move_on_after(LOCAL_TIMEOUT_SECONDS):
                return [model.name for model in await self.served_models(provider)]
        return []

    def rates(self, model: str) -> Rates | None:
        """The rates of the model: zero for a local endpoint, else those of the configuration or the table, or None."""
        return _rates_at(self._endpoints.get(split_model(model)[0]), model)

    async def aclose(self) -> None:
        """Close all connections."""
        self._providers.clear()
        self._by_name.clear()
        while self._clients:
            await self._clients.popitem()[1].aclose()

    def _provider(self, name: str) -> Provider:
        if provider := self._by_name.get(name):
            return provider
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise ProviderError(Reason.UNKNOWN_MODEL, f"no provider {name!r} is declared")
        if endpoint not in self._providers:
            self._providers[endpoint] = self._wrapped(endpoint)
        self._by_name[name] = self._providers[endpoint]
        return self._by_name[name]

    def _wrapped(self, endpoint: Endpoint) -> Provider:
        """Build an endpoint's adapter and its wrappers.

        `ConcurrencyLimit` is outermost, so waiting in its queue does not use up the call's time limit. The circuit
        breaker checks a call when its turn has come: so calls that were queued while the model failed are not sent.
        """
        own = self._own.get(endpoint.name)
        adapter = KindRouter(own, None) if own else self._with_key_redaction(endpoint)
        timed = Timeouts(
            Pricing(adapter, endpoint.name, partial(_rates_at, endpoint)),
            (self._timeouts or TimeoutSettings()).for_endpoint(endpoint),
        )
        return ConcurrencyLimit(CircuitBreaker(timed), endpoint.max_concurrency)

    def _with_key_redaction(self, endpoint: Endpoint) -> Provider:
        adapter = self._adapter(endpoint)
        long = [each for each in keys.secrets_of(endpoint, self._environ) if len(each) >= keys.MIN_SECRET_CHARS]
        return NameConfiguration(KeyRedaction(adapter, *long) if long else adapter, endpoint)

    def _adapter(self, endpoint: Endpoint) -> Provider:
        try:
            dialect = DIALECTS.get(endpoint.dialect)
        except InvalidRequest as error:
            raise ProviderError(Reason.BAD_REQUEST, str(error)) from None
        http = self._client(endpoint) if dialect.needs_base_url else None
        embeddings = dialect.embeddings(endpoint, http) if dialect.embeddings else None
        return KindRouter(dialect.provider(endpoint, http), embeddings)

    def _client(self, endpoint: Endpoint) -> Http:
        if endpoint not in self._clients:
            # Imported for the first call: httpx and aiohttp take longer to load than everything else.
            from moa_mcp.providers.wire.http import Http
            from moa_mcp.providers.wire.route import route_to

            route = route_to(endpoint, self._environ, use_proxy_env=self._use_proxy_env)
            secrets = keys.secrets_of(endpoint, self._environ)
            self._clients[endpoint] = Http(route, self._headers(endpoint), secrets)
        return self._clients[endpoint]

    def _headers(self, endpoint: Endpoint) -> dict[str, str]:
        """The headers of every request: those of the dialect, the key in the form of `auth`, and the endpoint's own."""
        key, dialect = keys.key_of(endpoint, self._environ), DIALECTS.get(endpoint.dialect)
        if endpoint.auth is None or key is None:
            headers = dict(dialect.headers(key))
        elif endpoint.auth == "bearer":
            headers = {**dialect.headers(None), "authorization": f"Bearer {key}"}
        else:
            headers = {**dialect.headers(None), endpoint.auth: key}
        own = {name.lower(): value for name, value in keys.headers_of(endpoint, self._environ).items()}
        return headers | own

    def _unknown_provider_error(self, name: str, model: str) -> str:
        return (
            f"There is no provider {name!r}, which the model id {model!r} begins with. "
            f"Known, nearest first: {', '.join(sort_by_closeness(name, self._endpoints))}. "
            "Correct the id, or declare the provider in the configuration file."
        )


def _rates_at(endpoint: Endpoint | None, model: str) -> Rates | None:
    if endpoint is None:
        return rates(model)
    configured = endpoint.prices.get(split_model(model)[1])
    return FREE if endpoint.local else Rates.of(configured) if configured else rates(model)


def _own_address_error(name: str) -> str:
    return (
        f"The base_url of provider {name!r} leads to this very server, which would ask itself without end. "
        "Correct it in the configuration file."
    )
