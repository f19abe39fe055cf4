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
        base_url = f"see providers.{endpoint.name}.base_url in config.yaml"
        key = f"no key was sent; name its variable in providers.{endpoint.name}.api_key_env in config.yaml"
        self._advice = {
            Reason.AUTH: f"the key is in {endpoint.api_key_env}" if endpoint.api_key_env else key,
            Reason.WRONG_URL: base_url,
            Reason.REDIRECT: base_url,
        }

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask. Raises ProviderError, with the advice."""
        try:
            return await self._inner.complete(call, on_text)
        except ProviderError as error:
            error.advice = self._advice.get(error.reason, error.advice)
            raise
