"""What a client may offer while a person types: the names of presets and the ids of runs."""

from __future__ import annotations

from collections.abc import Sequence

from mcp.types import CompleteRequestParams, CompleteResult, Completion

from moa_mcp.server.context import Context, owner_of
from moa_mcp.service.service import Service

MAX_VALUES = 100
"""How many values the protocol lets a completion have."""


class Completions:
    """Completes arguments over one service; by their names, which mean the same wherever they stand."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def complete(self, context: Context, params: CompleteRequestParams) -> CompleteResult:
        """The values that begin with what was typed so far."""
        known = await self._known(params.argument.name, owner_of(context))
        fitting = [value for value in known if value.startswith(params.argument.value)]
        return CompleteResult(
            completion=Completion(values=fitting[:MAX_VALUES], total=len(fitting), has_more=len(fitting) > MAX_VALUES)
        )

    async def _known(self, argument: str, owner: str) -> Sequence[str]:
        match argument:
            case "preset" | "name":
                return self._service.catalog.names()
            case "run_id":
                return [run.run_id for run in await self._service.runs(owner=owner)]
            case _:
                return ()
