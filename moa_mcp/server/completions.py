"""Completions while a person types: the names of presets and the ids of runs."""

from __future__ import annotations

from collections.abc import Sequence

from mcp.types import CompleteRequestParams, CompleteResult, Completion

from moa_mcp.server.context import Context, owner_of
from moa_mcp.service.service import Service

MAX_VALUES = 100
"""The maximum number of values in a completion, set by the protocol."""


class Completions:
    """Completes arguments by their name, which has the same meaning in every prompt and resource."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def complete(self, context: Context, params: CompleteRequestParams) -> CompleteResult:
        """The values that begin with the typed text."""
        known, unknown = await self._known_values(params.argument.name, owner_of(context))
        matching = [value for value in known if value.startswith(params.argument.value)]
        total = None if unknown and params.argument.value else len(matching) + unknown
        more = bool(unknown) or len(matching) > MAX_VALUES
        return CompleteResult(completion=Completion(values=matching[:MAX_VALUES], total=total, has_more=more))

    async def _known_values(self, argument: str, owner: str) -> tuple[Sequence[str], int]:
        """The known values of an argument, and the number of further values that were not read."""
        match argument:
            case "preset" | "name":
                return self._service.catalog.names(), 0
            case "run_id":
                newest = [run.run_id for run in await self._service.runs(owner=owner)]
                return newest, max(0, await self._service.store.count(owner) - len(newest))
            case _:
                return (), 0
