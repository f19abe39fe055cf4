"""A wrapper that names the part of the configuration that a failure is about: the key variable, or base_url."""

from __future__ import annotations

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Result
from moa_mcp.providers.base import OnText, Provider


class NameConfiguration:
    """Adds to failures what to change for `endpoint`."""

    def __init__(self, inner: Provider, endpoint: Endpoint) -> None:
        self._inner = inner
        self._endpoint = endpoint

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask. Raises ProviderError, with the advice."""
        try:
            return await self._inner.complete(call, on_text)
        except ProviderError as error:
            error.advice = advice_on(error.reason, self._endpoint) or error.advice
            raise


def advice_on(reason: Reason, endpoint: Endpoint) -> str:
    """What to change in the configuration of an endpoint after a failure; empty if that is not known."""
    match reason:
        case Reason.AUTH if endpoint.api_key_env:
            return f"the key is in {endpoint.api_key_env}"
        case Reason.AUTH:
            return f"no key was sent; name its variable in providers.{endpoint.name}.api_key_env in config.yaml"
        case Reason.WRONG_URL | Reason.REDIRECT:
            return f"see providers.{endpoint.name}.base_url in config.yaml"
        case _:
            return ""
