"""Deep presets with slow models: each ends with an answer within its deadline, and uses the time that it has."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import pytest

from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import Answer, Call, CodeCall, CodeResult, Draft, Result, Task
from moa_mcp.flows.panel import ask_panel
from moa_mcp.prompts.solver import REVISED
from tests import clock
from tests.flows.panel import packaged
from tests.runs.test_runner import Recorder, runner

JUDGES = {"judge", "extractor"}
JUDGE_SECONDS = 6
REPLIES = {
    "judge": '{"reason": "short", "score": 5}',
    "extractor": "Residuals Detected: Yes\nModel 1: more",
    "refiner": f"It is short.\n{REVISED}\nrevised",
    "programmer": "```python\nanswer = 42\n```",
}


@dataclass
class SlowModels:
    """Each text takes `seconds`, each judge's reply 6."""

    seconds: float

    async def complete(self, call: Call, on_text: object) -> Result:
        if isinstance(call, CodeCall):
            return CodeResult(Execution("done", answer="42", steps=1))
        await anyio.sleep(JUDGE_SECONDS if call.role in JUDGES else self.seconds)
        return Draft(REPLIES.get(call.role, f"text of {call.id}"), finish_reason="stop")


async def played(name: str, seconds: float, deadline: float) -> tuple[Answer, float]:
    """The answer of a packaged preset, and the share of the deadline that it took."""
    recorder = Recorder()
    began = anyio.current_time()
    answer = await runner(SlowModels(seconds), recorder, deadline).drive(ask_panel(Task("Why?"), packaged(name)))
    return answer, round((anyio.current_time() - began) / deadline, 2)


IN_THE_DEFAULT_TIME = [
    ("rmoa", 30, 0.86, None),
    ("rmoa", 60, 0.89, "layer 3 gave too few drafts and was left out"),
    ("rmoa", 90, 0.82, "layer 2 gave too few drafts and was left out"),
    ("self-moa-seq", 25, 0.83, None),
    ("self-moa-seq", 30, 1.0, "the last 3 of 30 drafts were not read"),
    ("self-moa-seq", 60, 0.95, "the time was up after 3 of 9 windows: 18 of 30 drafts were not read"),
    ("self-moa-seq", 90, 0.94, "the time was up after 2 of 9 windows: 21 of 30 drafts were not read"),
    ("tree-search", 30, 0.84, None),
    ("tree-search", 60, 0.95, "the search made 3 of 6 refinements: its time was up"),
    ("tree-search", 90, 0.95, "the search made 2 of 6 refinements: its time was up"),
    ("forge", 30, 0.67, "the search made 3 of 6 refinements: its time was up"),
    ("forge", 60, 0.77, "the search made 1 of 6 refinements: its time was up"),
    ("forge", 90, 0.87, "the search made 0 of 6 refinements: its time was up"),
    ("chain-of-code", 90, 0.6, None),
    ("moa", 60, 0.6, None),
    ("moa", 90, 0.9, "layer 2 gave too few drafts and was left out"),
]


@clock.jumping
@pytest.mark.parametrize(("name", "seconds", "share", "left_out"), IN_THE_DEFAULT_TIME)
async def test_a_deep_preset_answers_in_the_default_time_and_says_what_it_left_out(
    name: str, seconds: float, share: float, left_out: str | None
) -> None:
    answer, used = await played(name, seconds, 300)

    assert answer.text
    assert used == share
    assert not left_out or any(left_out in note for note in answer.notes), answer.notes
    assert left_out or not any("deadline" in note or "time was up" in note for note in answer.notes)


@clock.jumping
@pytest.mark.parametrize("seconds", [30, 60, 90])
@pytest.mark.parametrize("name", ["rmoa", "self-moa-seq", "tree-search", "forge"])
async def test_a_deep_preset_comes_to_its_full_depth_in_the_time_that_it_asks_for(name: str, seconds: float) -> None:
    deadline = packaged(name).limits.deadline_seconds
    assert deadline is not None
    answer, _ = await played(name, seconds, deadline)

    assert not answer.degraded
    assert not any("deadline" in note or "time was up" in note for note in answer.notes), answer.notes
