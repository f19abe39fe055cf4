"""An interrupted run goes on where it stopped: it pays for what is missing, and for nothing else."""

from pathlib import Path

import anyio
import pytest

from moa_mcp.model import Call
from moa_mcp.preset import Aggregator, Nested, Preset, Proposer
from moa_mcp.service.service import Request
from moa_mcp.store.ledger import Spend
from moa_mcp.store.sqlite import SqliteStore
from moa_mcp.testing.scripted import Gate, ScriptedProvider
from tests.service.place import PRESET, said, service_of

NESTED = Preset(
    name="outer",
    layers=3,
    proposers=(Proposer(model="demo/o"), Nested(preset="three", plan=PRESET)),
    aggregator=Aggregator(model="demo/agg"),
)


async def interrupted(folder: Path, preset: Preset, held: str) -> tuple[str, list[Call]]:
    """Ask in a server that is closed while it waits for call `held`; the run's id, and the calls that were paid for."""
    provider = ScriptedProvider(said)
    gate = Gate(provider, lambda call: call.id == held)
    store = SqliteStore(folder / "runs.db")
    async with service_of(folder, gate, store) as service:
        run = await service.ask(Request("Q?", preset=preset), wait_seconds=0)
        await gate.held.wait()
        await anyio.wait_all_tasks_blocked()
        while len((await service.store.list("local"))[0].calls) < len(provider.calls):
            await anyio.lowlevel.checkpoint()
    await store.aclose()
    return run.run_id, provider.calls


@pytest.mark.parametrize(
    ("preset", "held", "planned"), [(PRESET, "2.2", 5), (PRESET, "3.1", 5), (NESTED, "2.2/2.1", 13)]
)
async def test_only_what_is_missing_is_called(tmp_path: Path, preset: Preset, held: str, planned: int) -> None:
    run_id, paid = await interrupted(tmp_path, preset, held)
    provider, store = ScriptedProvider(said), SqliteStore(tmp_path / "runs.db")
    async with service_of(tmp_path, provider, store) as service:
        run = await service.collect(run_id)
        spent = await store.spent("local")
    await store.aclose()

    before, after = [call.id for call in paid], [call.id for call in provider.calls]
    assert run.status == "completed"
    assert run.answer == "<3.1>"
    assert not set(before) & set(after)
    assert len(before) + len(after) == run.calls_made == planned
    # The call that was cut off had been sent, too.
    assert spent == Spend(planned + 1, 0, 0.0)


async def test_asking_the_same_again_resumes_the_interrupted_run(tmp_path: Path) -> None:
    run_id, _ = await interrupted(tmp_path, PRESET, "3.1")
    provider, store = ScriptedProvider(said), SqliteStore(tmp_path / "runs.db")
    async with service_of(tmp_path, provider, store) as service:
        run = await service.ask(Request("Q?", preset=PRESET))
    await store.aclose()

    assert (run.run_id, run.status) == (run_id, "completed")
    assert [call.id for call in provider.calls] == ["3.1"]
