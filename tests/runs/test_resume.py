"""An interrupted run goes on where it stopped: it pays for what is missing, and for nothing else."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Failure, Message, Result, Run, Task
from moa_mcp.domain.preset import Aggregator, NestedPreset, Preset, Proposer
from moa_mcp.domain.spend import Spend
from moa_mcp.providers.base import OnText
from moa_mcp.runs.scheduler import RunScheduler, open_scheduler
from moa_mcp.service.service import AskRequest
from moa_mcp.store.sqlite.store import SqliteStore
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider
from tests.admission import started, whatever
from tests.service.fixtures import PRESET, reply_to, service_of

NESTED = Preset(
    name="outer",
    layers=3,
    proposers=(Proposer(model="demo/o"), NestedPreset(preset="three", plan=PRESET)),
    aggregator=Aggregator(model="demo/agg"),
)

THIRD_IS_SLOW = Preset(
    name="slow",
    layers=3,
    straggler_grace_seconds=0.01,
    proposers=(Proposer(model="demo/p", samples=3),),
    aggregator=Aggregator(model="demo/agg"),
)
PANEL_IS_SLOW = THIRD_IS_SLOW.model_copy(
    update={"proposers": (Proposer(model="demo/p", samples=2), NestedPreset(preset="three", plan=PRESET))}
)


async def interrupted(folder: Path, preset: Preset, held: str) -> tuple[str, list[Call]]:
    """Ask in a server that is closed while it waits for call `held`; the run's id, and the calls that were paid for."""
    provider = ScriptedProvider(reply_to)
    gate = HoldingProvider(provider, lambda call: call.id == held)
    store = SqliteStore(folder / "runs.db")
    async with service_of(folder, gate, store) as service:
        run = await service.ask(AskRequest("Q?", preset=preset), wait_seconds=0)
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
    provider, store = ScriptedProvider(reply_to), SqliteStore(tmp_path / "runs.db")
    async with service_of(tmp_path, provider, store) as service:
        run = await service.collect(run_id)
        spent = await store.spent("local")
    await store.aclose()

    before, after = [call.id for call in paid], [call.id for call in provider.calls]
    assert run.status == "completed"
    assert run.answer == "<3.1>"
    assert not set(before) & set(after)
    assert len(before) + len(after) == len(run.calls) == planned
    # The call that was cut off had been sent, too.
    assert [record.call.id for record in run.abandoned] == [held]
    assert spent == Spend(run.calls_made, 0, 0.0) == Spend(planned + 1, 0, 0.0)


async def test_a_resumed_run_took_the_time_before_it_was_interrupted_too(tmp_path: Path) -> None:
    run_id, _ = await interrupted(tmp_path, PRESET, "3.1")
    store = SqliteStore(tmp_path / "runs.db")
    async with service_of(tmp_path, ScriptedProvider(reply_to), store) as service:
        before = await store.get("local", run_id)
        run = await service.collect(run_id)
    await store.aclose()

    assert before is not None
    assert run.seconds > before.seconds > 0


async def test_asking_the_same_again_resumes_the_interrupted_run(tmp_path: Path) -> None:
    run_id, _ = await interrupted(tmp_path, PRESET, "3.1")
    provider, store = ScriptedProvider(reply_to), SqliteStore(tmp_path / "runs.db")
    async with service_of(tmp_path, provider, store) as service:
        run = await service.ask(AskRequest("Q?", preset=PRESET))
    await store.aclose()

    assert (run.run_id, run.status) == (run_id, "completed")
    assert [call.id for call in provider.calls] == ["3.1"]


class Asked:
    """A provider that writes down what it is asked, and never answers the calls of those ids.

    `after` are calls that are answered once another has been.
    """

    def __init__(self, unanswered: Collection[str], after: Mapping[str, str]) -> None:
        self.prompts: dict[str, tuple[Message, ...]] = {}
        self.all_held = anyio.Event()
        self._unanswered = frozenset(unanswered)
        self._after = after
        self._answered = defaultdict[str, anyio.Event](anyio.Event)
        self._inner = ScriptedProvider(reply_to)

    async def complete(self, call: Call, on_text: OnText) -> Result:
        assert call.id not in self.prompts
        self.prompts[call.id] = call.messages
        if self.prompts.keys() >= self._unanswered:
            self.all_held.set()
        if call.id in self._unanswered:
            await anyio.sleep_forever()
        if earlier := self._after.get(call.id):
            await self._answered[earlier].wait()
        draft = await self._inner.complete(call, on_text)
        self._answered[call.id].set()
        return draft


@asynccontextmanager
async def scheduler_of(folder: Path, asked: Asked) -> AsyncGenerator[RunScheduler]:
    store = SqliteStore(folder / "runs.db")
    with anyio.fail_after(20):
        async with open_scheduler(lambda run: asked, store) as scheduler:
            yield scheduler
    await store.aclose()


def a_run(preset: Preset) -> Run:
    return Run("run1", preset.name, preset, Task("Q?", seed=7))


@pytest.mark.parametrize(
    ("preset", "slow", "after", "cut_off"),
    [
        (THIRD_IS_SLOW, ("1.3",), {}, ("2.1", "2.2", "2.3")),
        (THIRD_IS_SLOW, ("1.3",), {}, ("3.1",)),
        (PANEL_IS_SLOW, ("1.3/1.1", "2.3/1.1"), {"1.2": "1.3/1.2", "2.2": "2.3/1.2"}, ("3.1",)),
    ],
)
async def test_a_straggler_stays_left_out_after_a_resume_and_every_later_prompt_is_the_same(
    tmp_path: Path, preset: Preset, slow: tuple[str, ...], after: Mapping[str, str], cut_off: tuple[str, ...]
) -> None:
    whole, first, second = Asked(slow, after), Asked(slow + cut_off, after), Asked((), {})
    async with scheduler_of(tmp_path / "whole", whole) as scheduler:
        straight = await scheduler.wait(await started(scheduler, a_run(preset)), None)
    async with scheduler_of(tmp_path / "parts", first) as scheduler:
        await started(scheduler, a_run(preset))
        await first.all_held.wait()
    async with scheduler_of(tmp_path / "parts", second) as scheduler:
        live = await scheduler.resume("local", "run1", whatever("local", "run1"))
        assert live is not None
        resumed = await scheduler.wait(live, None)

    assert (resumed.status, resumed.answer) == (straight.status, straight.answer) == ("completed", "<3.1>")
    assert first.prompts | second.prompts == whole.prompts
    assert first.prompts.keys() & second.prompts.keys() == set(cut_off)
    assert [first.prompts[call] for call in cut_off] == [second.prompts[call] for call in cut_off]
    assert [record.outcome for record in resumed.drafts if record.call.id == "1.3"] == [Failure(Reason.STRAGGLER)]
