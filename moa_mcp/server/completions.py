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
        known, unknown = await self._known(params.argument.name, owner_of(context))
        fitting = [value for value in known if value.startswith(params.argument.value)]
        total = None if unknown and params.argument.value else len(fitting) + unknown
        more = bool(unknown) or len(fitting) > MAX_VALUES
        return CompleteResult(completion=Completion(values=fitting[:MAX_VALUES], total=total, has_more=more))

    async def _known(self, argument: str, owner: str) -> tuple[Sequence[str], int]:
        """The values to choose from, and how many more there are that were not looked at."""
        match argument:
            case "preset" | "name":
                return self._service.catalog.names(), 0
            case "run_id":
                newest = [run.run_id for run in await self._service.runs(owner=owner)]
                return newest, max(0, await self._service.store.count(owner) - len(newest))
            case _:
                return (), 0
