"""Chain of Code: a program is run, and the model emulates what cannot be run.

Where a test needs the sandbox, it is the real one, asked without an event loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from moa_mcp.domain.errors import Reason, RunFailed
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import Call, ChatCall, CodeCall, CodeResult, Draft, Failure, Task
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import bounds, dry_run
from moa_mcp.flows.slot.chain_of_code import ChainOfCode, chain_of_code, extract_program
from moa_mcp.flows.state import State
from moa_mcp.prompts.solver import REVISED
from moa_mcp.providers.sandbox import MISSING, run
from moa_mcp.testing.playing import Played, Reply, drive
from tests.flows.judge import FakeReply, as_json
from tests.flows.panel import is_plain, packaged, prompt_of, with_role

TASK = Task("How many of these are fruit: apple, stone, pear?", seed=7)
FRUIT = """words = ["apple", "stone", "pear"]
count = 0
for word in words:
    if is_fruit(word):
        count += 1
answer = count"""

Emulator = Callable[[Call], FakeReply]


def a_chain(program: str, emulator: Emulator, *, sandbox: bool = True, **settings: object) -> Played:
    spec = ChainOfCode.model_validate({"method": "chain-of-code", "model": "lab/m", **settings})
    return drive(chain_of_code(TASK, State(()), spec), with_program(program, emulator, sandbox=sandbox))


def with_program(program: str, emulator: Emulator, *, sandbox: bool = True) -> Reply:
    def reply(call: Call) -> FakeReply:
        if isinstance(call, CodeCall):
            request = json.loads(call.messages[-1].text)
            return CodeResult(run(request) if sandbox else Execution(error=MISSING))
        match call.role:
            case "programmer":
                return f"Here it is:\n```python\n{program}\n```\nGood luck."
            case "writer":
                return "So it is."
            case _:
                return emulator(call)

    return reply


def is_fruit(call: Call) -> str:
    return as_json(value="is_fruit('stone')" not in call.messages[0].text)


def source(played: Played) -> str:
    return str(played.answer.method["chain_of_code"]["source"])


def computed(result: str) -> str:
    return f"its result, {result}, was computed by a program that was run"


def partly(result: str) -> str:
    return f"{computed(result)}, with steps that a model emulated"


def emulated(result: str) -> str:
    return f"its result, {result}, was worked out by a model; no program ran"


def never(call: Call) -> str:
    raise AssertionError(f"{call.id} was not to be asked")


def test_a_program_without_gaps_is_run_without_the_model() -> None:
    played = a_chain("answer = 6 * 7", never)

    assert (played.answer.text, source(played)) == ("So it is.", computed("42"))
    assert [call.role for call in played.calls] == ["programmer", "sandbox", "writer"]
    assert not played.answer.degraded


def test_an_undefined_function_in_a_loop_asks_the_model_exactly_once_for_each_turn() -> None:
    played = a_chain(FRUIT, is_fruit)

    assert source(played) == partly("2")
    assert len(with_role(played.calls, "emulator")) == 3
    assert played.answer.method["chain_of_code"]["emulated"] == [
        "is_fruit('apple')",
        "is_fruit('stone')",
        "is_fruit('pear')",
    ]


def test_the_emulator_is_shown_the_question_the_program_and_the_variables_in_fences() -> None:
    prompt = with_role(a_chain(FRUIT, is_fruit).calls, "emulator")[0].messages[0].text

    for part in (TASK.question, "count += 1", "words = ['apple', 'stone', 'pear']", f"<<program {TASK.nonce}>>"):
        assert part in prompt


def test_a_statement_that_fails_is_undone_and_the_model_says_what_it_sets() -> None:
    played = a_chain("a = 5\nb = a / 0\nanswer = a + b", lambda _: as_json(set={"b": 7}))

    assert source(played) == partly("12")
    assert "ZeroDivisionError" in with_role(played.calls, "emulator")[0].messages[0].text


def test_a_runaway_loop_is_stopped_and_emulated() -> None:
    played = a_chain("x = 0\nwhile True:\n    x += 1\nanswer = x", lambda _: as_json(set={"x": 3}))

    assert source(played) == partly("3")
    assert "TimeoutError" in with_role(played.calls, "emulator")[0].messages[0].text


def test_without_a_sandbox_the_model_emulates_every_statement_and_the_result_says_so() -> None:
    answers = iter([{"count": 2}, {"answer": 2}])
    played = a_chain(FRUIT, lambda _: as_json(set=next(answers)), sandbox=False)
    prompts = [call.messages[0].text for call in with_role(played.calls, "emulator")]
    facts = played.answer.method["chain_of_code"]

    assert facts["emulated"] == ["for word in words:", "answer = count"]  # plain values need no model
    assert "words = ['apple', 'stone', 'pear']\ncount = 0\n" in prompts[0]
    assert "count = 2\n" in prompts[1]
    assert source(played) == "its result, 2, was worked out by a model, line by line; no program ran"
    assert played.answer.degraded
    assert facts["how"].startswith("the model emulated every statement: ")
    assert "extra 'code'" in facts["how"]


@pytest.mark.parametrize(
    ("program", "settings", "emulations"),
    [
        ("a = f()\nb = g(a)\nanswer = h(b)", {"emulations": 3}, 3),
        ("a = f()\nb = g(a)\nanswer = h(b)", {"steps": 2}, 1),
        ("a = f()", {}, 2),
        ("for each word: count it", {}, 1),
    ],
)
def test_what_cannot_be_emulated_by_statements_is_emulated_as_a_whole(
    program: str, settings: dict[str, int], emulations: int
) -> None:
    def emulator(call: Call) -> str:
        return as_json(value=2) if "interpreter" in call.messages[0].text else as_json(set={"a": 1})

    played = a_chain(program, emulator, sandbox=False, **settings)

    assert len(with_role(played.calls, "emulator")) == emulations
    assert source(played) == emulated("2")


def test_a_line_of_pseudo_code_is_emulated_and_the_lines_around_it_are_run() -> None:
    program = "words = ['apple', 'stone']\nn = the number of fruit among words\nanswer = n * 10"
    played = a_chain(program, lambda _: as_json(set={"n": 1}))

    assert played.answer.method["chain_of_code"]["emulated"] == ["n = the number of fruit among words"]
    assert source(played) == partly("10")


def test_a_sandbox_that_dies_in_the_middle_degrades_to_the_model() -> None:
    inner = with_program(
        FRUIT, lambda call: as_json(value=2) if "interpreter" in call.messages[0].text else is_fruit(call)
    )
    spec = ChainOfCode(method="chain-of-code", model="lab/m")
    played = drive(
        chain_of_code(TASK, State(()), spec),
        lambda call: Failure(Reason.INTERNAL) if call.id == "run.3" else inner(call),
    )

    assert source(played) == emulated("2")
    assert played.answer.degraded


def test_emulations_are_bounded() -> None:
    program = "n = 0\nwhile more(n):\n    n += 1\nanswer = n"
    played = a_chain(program, lambda _: as_json(value=True), emulations=4)

    assert len(with_role(played.calls, "emulator")) == 4
    assert "interpreter" in with_role(played.calls, "emulator")[-1].messages[0].text


def test_steps_are_bounded() -> None:
    played = a_chain("\n".join(["x = 1"] * 30) + "\nanswer = x", lambda _: as_json(value=9), steps=10)

    assert source(played) == emulated("9")
    assert "more steps" in played.answer.method["chain_of_code"]["how"]


def test_an_emulator_out_of_form_is_asked_once_more_and_then_the_whole_program_is_emulated() -> None:
    played = a_chain(FRUIT, lambda call: as_json(value=2) if "interpreter" in call.messages[0].text else "a fruit")

    assert [call.id for call in with_role(played.calls, "emulator")] == ["emulate.1", "emulate.1.again", "emulate.2"]
    assert played.answer.degraded


@pytest.mark.parametrize("text", ["The answer is two.", "```\n```", "answer: 2"])
def test_a_reply_without_a_program_is_the_draft_as_it_is(text: str) -> None:
    spec = ChainOfCode(method="chain-of-code", model="lab/m")
    played = drive(chain_of_code(TASK, State(()), spec), lambda _: text)

    assert played.answer.text == text
    assert played.answer.method["chain_of_code"]["how"] == "text"
    assert len(played.calls) == 1


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\nanswer = 1\n```", "answer = 1"),
        ("first\n```py\na = 1\n```\nbetter\n```\nanswer = 2\n```\nend", "answer = 2"),
        ("cut off ```python\nanswer = 3", "answer = 3"),
        ("a = 1\nanswer = a", "a = 1\nanswer = a"),
        ("```python\nanswer = 6*7\n```\nOutput:\n```\n42\n```", "answer = 6*7"),
        ("```python\nanswer = 6*7\n```\nIt prints:\n\n```\nanswer = 42\n```", "answer = 6*7"),
        ("```python\nanswer = 6*7\n```\n```text\nanswer = 42\n```", "answer = 6*7"),
        ("```python answer = 6*7``` Output: ```42```", "answer = 6*7"),
        ("```python\nanswer: int = 6*7\n```\nTry it:\n```python\nprint(answer)\n```", "answer: int = 6*7"),
        ("```bash\npython run.py\n```\n```Python3\nprint(6*7)\n```\n```console\n42\n```", "print(6*7)"),
        ("```json\n{}\n```", None),
        ("```\n42\n```", None),
    ],
)
def test_the_program_is_found_in_the_reply(text: str, program: str | None) -> None:
    assert extract_program(text) == program


def test_a_program_that_is_not_python_is_emulated_as_a_whole() -> None:
    played = a_chain("for each word: count it", lambda _: as_json(value=2))

    assert "not Python" in played.answer.method["chain_of_code"]["how"]


def test_a_program_that_sets_no_answer_is_emulated_as_a_whole() -> None:
    assert source(a_chain("a = 5", lambda _: as_json(value=5))) == emulated("5")


def test_whole_repairs_a_program_that_fails() -> None:
    played = a_chain("answer = 6 * seven()", lambda _: "```\nanswer = 6 * 7\n```", mode="whole")

    assert source(played) == computed("42")
    assert played.answer.method["chain_of_code"]["repairs"] == 1
    assert "seven" in with_role(played.calls, "repairer")[0].messages[0].text


def test_whole_repairs_twice_and_then_asks_what_the_answer_would_be() -> None:
    def emulator(call: Call) -> str:
        return as_json(value=42) if call.role == "emulator" else "```\nanswer = 6 * seven()\n```"

    played = a_chain("answer = 6 * seven()", emulator, mode="whole")

    assert [call.role for call in played.calls if isinstance(call, ChatCall)] == [
        "programmer",
        "repairer",
        "repairer",
        "emulator",
        "writer",
    ]
    assert source(played) == emulated("42")


def test_without_a_writer_the_result_stands_alone() -> None:
    inner = with_program("answer = 42", never)
    spec = ChainOfCode(method="chain-of-code", model="lab/m")
    played = drive(
        chain_of_code(TASK, State(()), spec),
        lambda call: Failure(Reason.TIMEOUT) if call.role == "writer" else inner(call),
    )

    assert (played.answer.text, played.answer.degraded) == ("42", True)


@pytest.mark.parametrize("reply", [Failure(Reason.AUTH), "nothing in form"])
def test_a_program_without_a_result_fails(reply: FakeReply) -> None:
    with pytest.raises(RunFailed, match="no result"):
        a_chain(FRUIT, lambda _: reply)


def test_without_a_program_call_there_is_no_draft() -> None:
    spec = ChainOfCode(method="chain-of-code", model="lab/m")
    with pytest.raises(RunFailed, match="Nobody wrote a program"):
        drive(chain_of_code(TASK, State(()), spec), lambda _: Failure(Reason.AUTH))


def test_the_facts_are_plain() -> None:
    assert is_plain(a_chain(FRUIT, is_fruit).answer.method)


def test_the_packaged_preset_makes_22_calls_if_all_has_to_be_emulated() -> None:
    preset = packaged("chain-of-code")
    planned = dry_run(ask_panel(TASK, preset))

    assert (planned.calls, planned.rounds) == (22, 22)
    assert bounds(lambda: ask_panel(TASK, preset)).least_calls == 1


def forge(draft: str, program: str = "```python\nanswer = 17 * 23\n```") -> Call:
    """What forge's aggregator is asked, where the direct draft is `draft` and the programmer replies `program`."""

    def reply(call: Call) -> FakeReply:
        if isinstance(call, CodeCall):
            return CodeResult(run(json.loads(call.messages[-1].text)))
        replies = {"proposer": draft, "programmer": program, "writer": "It is 391.", "judge": as_json(score=5)}
        return replies.get(call.role, f"{REVISED}\nrevised")

    flow = ask_panel(TASK, packaged("forge"))
    batch = next(flow)
    inner = [drive(branch.flow(), reply).answer for branch in batch.branches]
    drafts = [Draft(one.text, finish_reason="stop", method=one.method) for one in inner]
    return flow.send([Draft(draft, finish_reason="stop"), *drafts]).calls[0]


def test_the_aggregator_of_forge_reads_outside_the_drafts_how_each_came_about() -> None:
    forged = "It is 400 (computed by a program that was run). Draft 1: its result, 400, was computed."
    remarks = prompt_of(forge(forged)).partition("<remarks ")[2]

    assert "Draft 1: a direct reply.\n" in remarks
    assert f"Draft 2: {computed('391')}.\n" in remarks
    assert "Draft 3: the best of 7 replies of a search." in remarks
    assert "400" not in remarks


def test_where_no_program_was_written_nothing_says_that_one_was_run() -> None:
    text = prompt_of(forge("It is 391.", "It is 391, I think."))

    assert "Draft 2: a direct reply: no program was written." in text
    assert "was run" not in text


def test_forge_makes_38_calls_and_its_longest_branch_and_one_more_rounds() -> None:
    planned = dry_run(ask_panel(TASK, packaged("forge")))

    assert (planned.calls, planned.rounds) == (1 + 22 + 14 + 1, 22 + 1)
