"""What the runner does with calls, time and cancellation; no call leaves the process."""

from collections.abc import Iterable

import anyio
import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, CallRecord, Draft, Failure, Task, Usage
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.flows.panel import ask_panel
from moa_mcp.providers.base import Provider
from moa_mcp.runs.events import BatchStarted, CallEnded, CallStarted, Event, TextArrived
from moa_mcp.runs.runner import Runner
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider
from tests import clock

PRESET = Preset(
    proposers=tuple(Proposer(model=f"lab/p{number}") for number in range(1, 7)),
    aggregator=Aggregator(model="lab/agg"),
    straggler_grace_seconds=None,
)


def reply_to(call: Call) -> str:
    return f"<{call.id}>"


class Recorder:
    """Collects what a runner tells, and is its journal: `kept` is what has been made safe."""

    def __init__(self, known: dict[str, CallRecord] | None = None) -> None:
        self.events: list[Event] = []
        self.known = known or {}
        self.added: list[CallRecord] = []
        self.written_ahead = anyio.Event()
        self.announced: list[str] = []
        self.kept: list[CallRecord] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def add(self, record: CallRecord) -> None:
        self.added.append(record)

    def announce(self, calls: Iterable[Call]) -> None:
        self.announced.extend(call.id for call in calls)

    async def write(self) -> None:
        await self.wait_written()
        self.written_ahead.set()

    async def wait_written(self) -> None:
        self.kept = list(self.added)

    @property
    def ended(self) -> dict[str, CallRecord]:
        message = [event.record for event in self.events if isinstance(event, CallEnded)]
        return {record.call.id: record for record in (*self.added, *message)}


def runner(provider: Provider, recorder: Recorder, deadline: float = 60) -> Runner:
    return Runner(provider, recorder.on_event, recorder, deadline)


async def test_the_calls_of_a_round_are_announced_before_it_begins() -> None:
    recorder = Recorder()
    await runner(ScriptedProvider(reply_to), recorder).drive(ask_panel(Task("Q?"), PRESET))

    assert recorder.announced == ["2.1"]  # the first round is booked with the run itself


async def test_the_calls_of_a_layer_are_all_under_way_at_once() -> None:
    under_way = 0
    all_here = anyio.Event()

    class Rendezvous:
        async def complete(self, call: Call, on_text: object) -> Draft:
            nonlocal under_way
            under_way += 1
            if under_way == 6:
                all_here.set()
            await all_here.wait()
            return Draft(reply_to(call))

    with anyio.fail_after(5):
        answer = await runner(Rendezvous(), Recorder()).drive(ask_panel(Task("Q?"), PRESET))

    assert answer.text == "<2.1>"


async def test_there_is_an_event_for_every_batch_call_and_piece_of_text() -> None:
    recorder = Recorder()

    await runner(ScriptedProvider(reply_to), recorder).drive(ask_panel(Task("Q?"), PRESET))

    kinds = [type(event) for event in recorder.events]
    assert kinds.count(BatchStarted) == 2
    assert kinds.count(CallStarted) == kinds.count(TextArrived) == len(recorder.added) == 7


async def test_a_finished_call_is_kept_before_the_next_layer_starts() -> None:
    recorder = Recorder()

    def reply(call: Call) -> str:
        if call.role == "aggregator":
            assert len(recorder.kept) == 6
        return reply_to(call)

    await runner(ScriptedProvider(reply), recorder).drive(ask_panel(Task("Q?"), PRESET))

    assert len(recorder.added) == 7


async def test_calls_that_end_together_and_the_end_of_their_run_share_a_commit() -> None:
    recorder = Recorder()

    await runner(ScriptedProvider(reply_to), recorder).drive(ask_panel(Task("Q?"), PRESET))

    assert not recorder.written_ahead.is_set()
    assert (len(recorder.kept), len(recorder.added)) == (6, 7)


async def test_what_has_ended_is_written_while_its_layer_goes_on() -> None:
    recorder = Recorder()
    provider = HoldingProvider(ScriptedProvider(reply_to), lambda call: call.id == "1.3")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(runner(provider, recorder).drive, ask_panel(Task("Q?"), PRESET))
            await recorder.written_ahead.wait()
            assert {record.call.id for record in recorder.kept} == {"1.1", "1.2", "1.4", "1.5", "1.6"}
            provider.opened.set()


async def test_an_error_of_one_provider_is_a_failure_and_not_an_exception() -> None:
    recorder = Recorder()

    def reply(call: Call) -> str | Exception:
        return ProviderError(Reason.AUTH, "401") if call.slot == 1 and call.layer == 1 else reply_to(call)

    answer = await runner(ScriptedProvider(reply), recorder).drive(ask_panel(Task("Q?"), PRESET))

    assert answer.text == "<2.1>"
    assert recorder.ended["1.1"].outcome == Failure(Reason.AUTH, "401")


async def test_a_bug_in_an_adapter_costs_only_its_own_draft(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()

    def reply(call: Call) -> str | Exception:
        return ZeroDivisionError("oops") if call.id == "1.1" else reply_to(call)

    await runner(ScriptedProvider(reply), recorder).drive(ask_panel(Task("Q?"), PRESET))

    assert recorder.ended["1.1"].outcome == Failure(Reason.INTERNAL, "ZeroDivisionError")
    assert "1.1" in caplog.text


async def test_stragglers_are_left_out_after_the_grace_time() -> None:
    recorder = Recorder()
    provider = HoldingProvider(ScriptedProvider(reply_to), lambda call: call.id == "1.3")
    preset = PRESET.model_copy(update={"straggler_grace_seconds": 0.0})

    with anyio.fail_after(5):
        answer = await runner(provider, recorder).drive(ask_panel(Task("Q?"), preset))

    assert answer.text == "<2.1>"
    assert recorder.ended["1.3"].outcome == Failure(Reason.STRAGGLER)
    assert recorder.ended["1.3"].status == "cancelled"
    assert [call.id for call in provider.cancelled] == ["1.3"]


async def test_the_usage_of_a_straggler_is_in_its_record() -> None:
    class Accountant(HoldingProvider):
        def usage_of(self, call: Call) -> Usage:
            return Usage(10, 20, 0.5, estimated=True)

    recorder = Recorder()
    provider = Accountant(ScriptedProvider(reply_to), lambda call: call.id == "1.3")
    preset = PRESET.model_copy(update={"straggler_grace_seconds": 0.0})

    with anyio.fail_after(5):
        await runner(provider, recorder).drive(ask_panel(Task("Q?"), preset))

    assert recorder.ended["1.3"].outcome.usage == Usage(10, 20, 0.5, estimated=True)


async def test_two_slow_calls_of_six_are_no_stragglers() -> None:
    provider = HoldingProvider(ScriptedProvider(reply_to), lambda call: call.id in ("1.3", "1.4"))
    preset = PRESET.model_copy(update={"straggler_grace_seconds": 0.0})

    async def let_go() -> None:
        await provider.held.wait()
        provider.opened.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(let_go)
            await runner(provider, Recorder()).drive(ask_panel(Task("Q?"), preset))

    assert provider.cancelled == []


@clock.jumping
async def test_when_the_time_of_the_layers_is_up_the_aggregator_answers_with_what_there_is() -> None:
    recorder = Recorder()
    provider = HoldingProvider(ScriptedProvider(reply_to), lambda call: call.id == "1.3")

    answer = await runner(provider, recorder, deadline=100).drive(ask_panel(Task("Q?"), PRESET))

    assert answer.text == "<2.1>"
    assert recorder.ended["1.3"].outcome == Failure(Reason.DEADLINE)
    assert recorder.ended["1.3"].seconds == 60


async def test_cancelling_a_run_cancels_every_call_and_starts_none() -> None:
    recorder = Recorder()
    provider = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)

    async with anyio.create_task_group() as group:
        group.start_soon(runner(provider, recorder).drive, ask_panel(Task("Q?"), PRESET))
        with anyio.fail_after(5):
            await provider.held.wait()
            await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert len(provider.cancelled) == 6
    assert {record.outcome for record in recorder.ended.values()} == {Failure(Reason.CANCELLED)}
    assert recorder.kept == []


async def test_calls_in_the_journal_are_replayed_and_not_sent() -> None:
    first = Recorder()
    await runner(ScriptedProvider(reply_to), first).drive(ask_panel(Task("Q?", seed=3), PRESET))
    known = {record.call.id: record for record in first.added if record.call.id != "1.4"}
    provider = ScriptedProvider(reply_to)

    answer = await runner(provider, Recorder(known)).drive(ask_panel(Task("Q?", seed=3), PRESET))

    assert [call.id for call in provider.calls] == ["1.4"]
    assert answer.text == "<2.1>"
