"""Formulas of different forms are joined by the verdicts of a process, which are journalled like any outcome."""

import json

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import Call, CodeCall, CodeResult, Failure
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, as_json, candidates
from tests.flows.panel import TASK, a_panel

DRAFTS = (r"\boxed{\frac{x+2}{7}}", r"\boxed{\frac{x}{7}+\frac{2}{7}}", r"\boxed{x+2}")


def voted(sandbox: FakeReply, *drafts: str) -> Played:
    preset = a_panel(slots=len(drafts), conclude={"by": "vote"})

    def reply(call: Call) -> FakeReply:
        if isinstance(call, CodeCall):
            return sandbox
        apart = [[letter] for letter in candidates(call)] if call.role == "comparer" else []
        return drafts[call.slot - 1] if call.role == "proposer" else as_json(groups=apart)

    return drive(ask_panel(TASK, preset), reply)


def verdicts(same: str) -> CodeResult:
    return CodeResult(Execution("done", answer=same))


def pairs_of(played: Played) -> list[list[str]]:
    (call,) = (call for call in played.calls if isinstance(call, CodeCall))
    pairs: list[list[str]] = json.loads(call.messages[0].text)["pairs"]
    return pairs


def test_what_the_process_says_is_the_same_is_one_answer() -> None:
    played = voted(verdicts("[true, false, false]"), *DRAFTS)

    assert pairs_of(played)[0] == [r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}"]
    assert played.answer.text == DRAFTS[0]
    assert played.answer.method["vote"]["votes"][0]["votes"] == 2
    assert [call.role for call in played.calls][3:] == ["sandbox"]


@pytest.mark.parametrize("reply", [CodeResult(Execution(error="the process broke")), Failure(Reason.TIMEOUT)])
def test_without_verdicts_a_judge_is_asked(reply: FakeReply) -> None:
    played = voted(reply, *DRAFTS)

    assert played.calls[-1].role == "comparer"
    assert played.answer.method["vote"]["tie"] is True


def test_a_formula_joins_others_only_if_it_is_the_same_as_each() -> None:
    played = voted(verdicts("[true, true, false]"), *DRAFTS)

    assert [vote["votes"] for vote in played.answer.method["vote"]["votes"]] == [2, 1]


def test_words_and_numbers_are_no_formulas() -> None:
    assert not any(isinstance(call, CodeCall) for call in voted("", "Paris", "Rome", "1", "2").calls)


def test_the_process_is_no_call_of_a_plan() -> None:
    assert dry_run(ask_panel(TASK, a_panel(conclude={"by": "vote"}))).calls == 4 + 1
