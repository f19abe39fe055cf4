"""The public names of the package: what they do, what they refuse, and that user code type-checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import moa_mcp
from moa_mcp import Message, Panel, Preset, ProviderError, Reason, RunFailed, UserError, ask, ask_sync, events, stream
from moa_mcp.domain.model import Call, Draft
from moa_mcp.providers.base import OnText
from tests.upstream import Reply, Request, Upstream

USER_CODE = Path(__file__).parent / "data" / "user_code.txt"
SMALL = Preset(proposers=["demo/north"], aggregator="demo/south")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOA_MCP_HOME", str(tmp_path))
    return tmp_path


class Mine:
    """A provider of one's own: it answers with the model's name, and fails for the model `failing`."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[Call] = []
        self._failing = failing

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        self.calls.append(call)
        if call.model == self._failing:
            raise ProviderError(Reason.BAD_REQUEST, "no")
        on_text(call.model)
        return Draft(call.model, finish_reason="stop")


MIXED = Preset(proposers=["mine/one", {"model": "mine/two"}], aggregator="mine/chief")


def test_the_public_names() -> None:
    """Programs rely on these: a name may be added, none is taken away."""
    assert moa_mcp.__all__ == [
        "Call",
        "Draft",
        "Event",
        "Message",
        "MoAError",
        "Panel",
        "Preset",
        "ProviderError",
        "Reason",
        "Run",
        "RunFailed",
        "UserError",
        "__version__",
        "ask",
        "ask_sync",
        "events",
        "find_answer",
        "same_answer",
        "stream",
    ]
    assert all(getattr(moa_mcp, name) is not None for name in moa_mcp.__all__)


def _python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environ})


@pytest.mark.slow
def test_a_page_of_user_code_passes_a_strict_type_checker_and_runs(home: Path) -> None:
    page = home / "user_code.py"
    page.write_text(USER_CODE.read_text(encoding="utf-8"), encoding="utf-8")
    root = str(USER_CODE.parents[2])
    strict = (
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        "",
        "--follow-imports=silent",
        "--cache-dir",
        f"{root}/.mypy_cache",
    )
    checked = _python(*strict, str(page), MYPYPATH=root)
    ran = _python(str(page))

    assert checked.returncode == 0, checked.stdout
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "completed: " in ran.stdout


async def test_a_panel_asks_providers_of_ones_own_and_keeps_its_store() -> None:
    mine = Mine()
    async with Panel(MIXED, providers={"mine": mine}) as panel:
        first = await panel.ask("Why?")
        second = await panel.ask("And?", continue_from=first.run_id)

    assert (first.answer, first.preset) == ("mine/chief", "unnamed")
    assert second.task.history[0] == Message("user", "Why?")
    assert [call.model for call in mine.calls[:3]] == ["mine/one", "mine/two", "mine/chief"]


async def test_the_limit_of_a_provider_holds_over_all_questions_to_one_panel(home: Path) -> None:
    busy = most = 0

    async def reply(request: Request) -> Reply:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        busy -= 1
        return Reply("blue")

    async with Upstream(reply) as upstream:
        config = f"providers: {{lab: {{base_url: '{upstream.base_url}', max_concurrency: 1}}}}\n"
        (home / "config.yaml").write_text(config + "limits: {max_concurrent_runs: 6}\n", encoding="utf-8")
        async with Panel(Preset(layers=1, aggregator="lab/m")) as panel, anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(panel.ask, f"Question {number}?")

        assert (len(upstream.requests), most) == (6, 1)


async def test_a_provider_that_is_declared_or_moved_while_a_panel_is_open_is_used_for_the_next_question(
    home: Path,
) -> None:
    plain = Preset(layers=1, aggregator="lab/m")

    def declare(base_url: str) -> None:
        (home / "config.yaml").write_text(f"providers: {{lab: {{base_url: '{base_url}'}}}}\n", encoding="utf-8")

    async with Upstream() as first, Upstream() as second, Panel(plain) as panel:
        with pytest.raises(UserError, match="declare the provider"):
            await panel.ask("Why?")
        declare(first.base_url)
        await panel.ask("Why?")
        await panel.ask("Why?")
        declare(f"{second.base_url}/")
        await panel.ask("Why?")

        assert (len(first.requests), len(second.requests)) == (2, 1)


@pytest.mark.parametrize("way", ["panel", "function"])
async def test_a_stream_gives_the_events_of_a_run_and_the_run_with_the_last(way: str) -> None:
    seen = list[events.Event]()
    if way == "panel":
        async with Panel(SMALL) as panel:
            seen = [event async for event in panel.stream("Why?")]
    else:
        seen = [event async for event in stream("Why?", preset=SMALL)]

    last = seen[-1]
    assert isinstance(last, events.RunEnded)
    assert last.run.status == "completed"
    assert {event.run_id for event in seen} == {last.run.run_id}
    assert sum(isinstance(event, events.CallEnded) for event in seen) == 2


async def test_a_stream_that_is_left_early_stops_its_calls_and_the_panel_goes_on() -> None:
    async with Panel(SMALL) as panel:
        async for event in panel.stream("Why?"):
            if isinstance(event, events.TextArrived):
                break
        run = await panel.ask("And?")

    assert run.status == "completed"


async def test_a_run_that_failed_ends_a_stream_and_fails_an_ask_with_what_was_paid_for() -> None:
    strict = MIXED.model_copy(update={"require_drafts": 2})
    async with Panel(strict, providers={"mine": Mine(failing="mine/two")}) as panel:
        *_, last = [event async for event in panel.stream("Why?")]
        with pytest.raises(RunFailed) as caught:
            await panel.ask("Why?")

    assert isinstance(last, events.RunEnded)
    assert (last.run.status, last.run.answer) == ("failed", None)
    run = caught.value.run
    paid = [record.outcome.text for record in run.drafts if isinstance(record.outcome, Draft)]
    assert paid == ["mine/one"]
    assert len(run.run_id) == 32
    assert run.cost_usd is None  # nobody knows what a provider of one's own costs


ROBOT: Any = "robot"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"question": None}, "question is None"),
    ({"question": 7}, r"question is 7 \(int\)"),
    ({"question": " "}, "question is empty"),
    ({"preset": 7}, "preset is 7"),
    ({"preset": {"aggregator": "demo/a"}}, "name of a preset, or a Preset"),
    ({"preset": "hermse"}, "hermes"),
    ({"context": b"x"}, "context is"),
    ({"system": 1}, "system is 1"),
    ({"history": "hi"}, "list of Message"),
    ({"history": ["hi"]}, "list of Message"),
    ({"history": [Message(ROBOT, "hi")]}, "system, user, assistant"),
    ({"max_cost_usd": -1}, "above 0"),
    ({"max_cost_usd": float("nan")}, "above 0"),
    ({"max_cost_usd": "1"}, "above 0"),
    ({"deadline_seconds": 0}, "above 0"),
    ({"deadline_seconds": 9999}, "3600 at most"),
    ({"deadline_seconds": True}, "above 0"),
    ({"output": "poem"}, "guidance"),
    ({"fresh": "no"}, "True or False"),
    ({"continue_from": "nothing"}, "no run"),
    ({"preste": "demo"}, "nearest first: preset"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
async def test_wrong_arguments_are_refused_with_words(arguments: dict[str, Any], words: str) -> None:
    asked: dict[str, Any] = {"question": "Why?", **arguments}
    with pytest.raises(UserError, match=words):
        await ask(**asked)
    with pytest.raises(UserError, match=words):
        async for _ in stream(**asked):
            pass


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": 7}, "preset is 7"),
        ({"providers": 7}, "dict of names"),
        ({"providers": {"My Own": Mine()}}, "lower-case"),
        ({"providers": {"mine": object()}}, "no method"),
    ],
)
def test_a_panel_refuses_wrong_arguments_with_words(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Panel(**arguments)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"proposers": ["demo/north"]}, "aggregator: this key is missing"),
        ({"proposers": ["north"], "aggregator": "demo/south"}, r"proposers\[0\].*provider/model"),
        ({"proposers": 7, "aggregator": "demo/south"}, "proposers"),
        ({"aggregator": "demo/south", "layer": 1}, "did you mean 'layers'"),
    ],
)
def test_a_preset_made_by_hand_says_what_is_wrong_with_it(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Preset(**values)


async def test_a_panel_that_is_not_open_says_how_to_open_it() -> None:
    with pytest.raises(UserError, match="async with Panel"):
        await Panel(SMALL).ask("Why?")


def test_ask_sync_works_where_no_loop_is_running() -> None:
    assert ask_sync("Why?", preset=SMALL).status == "completed"


async def test_ask_sync_works_where_a_loop_is_running() -> None:
    assert ask_sync("Why?", preset=SMALL).status == "completed"
