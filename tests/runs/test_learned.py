"""Texts that flows learned are available to the owner's next run, and to no other owner."""

from pathlib import Path

from moa_mcp.api import open_service
from moa_mcp.domain.model import Call, ChatCall, Run, Task
from moa_mcp.domain.preset import Aggregator, NestedPreset, Preset, Proposer
from moa_mcp.flows.stages.roles import Roles, roles_key
from moa_mcp.runs.learned import MAX_OWNERS, MAX_TEXTS, LearnedTexts
from moa_mcp.runs.scheduler import open_scheduler
from moa_mcp.service.service import AskRequest
from moa_mcp.store.memory import MemoryStore
from moa_mcp.testing.scripted import ScriptedProvider
from tests.admission import started

SPEC = Roles(task="School mathematics")
PRESET = Preset(
    name="cast",
    proposers=(Proposer(model="demo/p", samples=2),),
    aggregator=Aggregator(model="demo/agg"),
    roles=SPEC,
)


def test_what_was_learned_is_known_to_its_owner_alone() -> None:
    memory = LearnedTexts()

    memory.learn("ann", {"a": "1"})
    memory.learn("ann", {"b": "2"})

    assert memory.known_to("ann") == {"a": "1", "b": "2"}
    assert memory.known_to("bob") == {}


def test_learned_texts_do_not_change_during_a_run() -> None:
    memory = LearnedTexts()
    memory.learn("ann", {"a": "1"})
    message = memory.known_to("ann")

    memory.learn("ann", {"b": "2"})

    assert message == {"a": "1"}


def test_the_oldest_texts_of_an_owner_go_first() -> None:
    memory = LearnedTexts()
    for number in range(MAX_TEXTS + 3):
        memory.learn("ann", {str(number): "text"})

    assert list(memory.known_to("ann")) == [str(number) for number in range(3, MAX_TEXTS + 3)]


def test_the_owner_who_learned_longest_ago_goes_first() -> None:
    memory = LearnedTexts()
    for number in range(MAX_OWNERS):
        memory.learn(str(number), {"a": "1"})
    memory.learn("0", {"b": "2"})
    memory.learn("new", {"a": "1"})

    assert memory.known_to("1") == {}
    assert memory.known_to("0") == {"a": "1", "b": "2"}


def reply_to(call: Call) -> str:
    return '{"roles": ["You are a teacher.", "You are a sceptic."]}' if call.role == "roles" else "a draft"


async def test_roles_are_written_once_over_two_runs_of_an_owner() -> None:
    provider = ScriptedProvider(reply_to)
    async with open_scheduler(lambda run: provider, MemoryStore()) as scheduler:
        for number, owner in enumerate(("ann", "ann", "bob")):
            task = Task(f"Question {number}?", known=scheduler.learned.known_to(owner))
            run = Run(f"run{number}", PRESET.name, PRESET, task, owner=owner)
            await scheduler.wait(await started(scheduler, run), 5)

    ids = [call.id for call in provider.calls]
    assert [ids.index("1.roles"), len(ids)] == [0, 4 + 3 + 4]
    assert ids.count("1.roles") == 2


async def test_what_a_panel_in_a_slot_learned_is_known_to_the_next_run_too() -> None:
    outer = Preset(
        name="outer",
        proposers=(Proposer(model="demo/p"), NestedPreset(preset="cast", plan=PRESET)),
        aggregator=Aggregator(model="demo/agg"),
    )
    provider = ScriptedProvider(reply_to)
    async with open_scheduler(lambda run: provider, MemoryStore()) as scheduler:
        for number in range(2):
            task = Task(f"Question {number}?", known=scheduler.learned.known_to("ann"))
            run = Run(f"run{number}", "outer", outer, task, owner="ann")
            await scheduler.wait(await started(scheduler, run), 5)

    assert [call.id for call in provider.calls if call.role == "roles"] == ["1.2/1.roles"]


async def test_a_task_gets_the_learned_texts_of_its_owner(tmp_path: Path) -> None:
    key = roles_key(SPEC, 2)
    async with open_service({"MOA_MCP_HOME": str(tmp_path)}) as service:
        service.scheduler.learned.learn("ann", {key: reply_to(ChatCall("1.roles", "roles", 1, 1, "demo/agg", ()))})
        known = await service.plan(AskRequest("Q?", preset=PRESET), "ann")
        unknown = await service.plan(AskRequest("Q?", preset=PRESET), "bob")

    assert (known.dry_run.calls, unknown.dry_run.calls) == (3, 4)
