"""A run keeps the providers that it began with; the next one sees what has changed in config.yaml."""

from pathlib import Path

import anyio
import pytest

from moa_mcp.api import open_service
from moa_mcp.domain.errors import InvalidRequest
from moa_mcp.runs.events import CallEnded, Event
from moa_mcp.service.service import AskRequest, Service
from tests.service.fixtures import write_panel
from tests.upstream import Upstream


def change_after_first_call(service: Service, home: Path, config: str) -> None:
    """Write `config` into config.yaml once the first call has ended, and let somebody read it."""
    ended: list[Event] = []

    def handler(event: Event) -> None:
        if isinstance(event, CallEnded):
            if not ended:
                (home / "config.yaml").write_text(config, encoding="utf-8")
                service.settings()
            ended.append(event)

    service.scheduler.subscribe(handler)


async def test_a_run_ends_at_the_address_at_which_it_began_and_the_next_goes_to_the_new_one(tmp_path: Path) -> None:
    async with Upstream() as before, Upstream() as after:
        write_panel(tmp_path, before.base_url)
        async with open_service({"MOA_MCP_HOME": str(tmp_path)}) as service:
            changed = (tmp_path / "config.yaml").read_text(encoding="utf-8").replace(before.base_url, after.base_url)
            change_after_first_call(service, tmp_path, changed)
            with anyio.fail_after(20):
                run = await service.ask(AskRequest("Why?"))
                at_first = (len(before.requests), len(after.requests))
                await service.ask(AskRequest("And then?"))

        assert (run.status, run.notes) == ("completed", ())
        assert at_first == (3, 0)
        assert (len(before.requests), len(after.requests)) == (3, 3)


async def test_a_run_goes_on_with_a_provider_that_is_removed_and_the_next_is_refused(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        write_panel(tmp_path, upstream.base_url)
        async with open_service({"MOA_MCP_HOME": str(tmp_path)}) as service:
            change_after_first_call(service, tmp_path, "default_preset: panel\n")
            with anyio.fail_after(20):
                run = await service.ask(AskRequest("Why?"))
                with pytest.raises(InvalidRequest, match="There is no provider 'lab'"):
                    await service.ask(AskRequest("And then?"))

        assert (run.status, len(upstream.requests)) == ("completed", 3)
