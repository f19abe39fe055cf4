"""Model-written code runs in a process that can reach nothing, or is reported as lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from moa_mcp.domain.endpoints import BUILTIN
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import Call, ChatCall, CodeCall, CodeResult, Message, Result
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.sandbox import MISSING, SandboxProvider, run


def ran(program: str, **more: Any) -> Execution:
    return run({"program": program, "steps": 200, "pauses": True, **more})


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ("answer = sum(range(5))", "10"),
        ("import math\nanswer = math.comb(52, 5)", "2598960"),
        ("def f(n):\n    return n * 2\nanswer = [f(n) for n in range(3)]", "[0, 2, 4]"),
        ("answer = 'a text'", "a text"),
        ("import time\ntime.sleep(9)\nanswer = 'at once'", "at once"),
    ],
)
def test_a_program_leaves_its_answer(program: str, answer: str) -> None:
    found = ran(program)
    steps = program.count("\n") + 1 - ("f(n)" in program)
    assert (found.status, found.answer, found.steps) == ("done", answer, steps)


@pytest.mark.parametrize(
    "program",
    [
        "answer = open('/etc/passwd').read()",
        "import socket\nanswer = 1",
        "import subprocess\nanswer = 1",
        "import os\nanswer = os.environ['PATH']",
        "import os\nanswer = os.listdir('/')",
        "from pathlib import Path\nanswer = Path('/etc/passwd').read_text()",
        "import requests\nanswer = 1",
    ],
)
def test_no_file_no_network_no_environment_is_in_reach(program: str) -> None:
    assert ran(program).status == "error"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("while True:\n    pass", "TimeoutError"),
        ("answer = [0] * 10**9", "MemoryError"),
        ("def f(n):\n    return f(n + 1)\nanswer = f(0)", "RecursionError"),
        ("x = 1\n" * 300 + "answer = x", "more steps"),
        ("def (", "not Python"),
        ("answer = " + "(" * 5000 + "1" + ")" * 5000, "not Python"),
        ("x = 1", "without setting"),
        ("x = list(range(200000))\nanswer = 1", "too much room"),
    ],
)
def test_a_program_that_goes_too_far_is_stopped_and_says_why(program: str, message: str) -> None:
    report = ran(program)

    assert report.status == "error"
    assert message in report.error


def test_an_undefined_function_pauses_with_its_arguments_and_the_variables_before_the_statement() -> None:
    report = ran("x = 2\ny = judge(x, kind='big')\nanswer = y")

    assert (report.status, report.wanted, report.variables) == ("paused", "judge(2, kind='big')", "x = 2")


def test_a_paused_program_goes_on_from_its_snapshot_in_another_process() -> None:
    program = "total = 0\nfor x in [1, 2]:\n    total += weigh(x)\nanswer = total"
    report = ran(program)
    for value in (10, 20):
        report = ran(program, at=report.at, state=report.state, snapshot=report.snapshot, value=value)

    assert (report.status, report.answer) == ("done", "30")


def test_a_statement_that_failed_is_skipped_with_the_variables_it_would_have_set() -> None:
    program = "a = 5\nb = a / 0\nanswer = a + b"
    report = ran(program)

    after = ran(program, at=report.at + 1, state=report.state, set={"b": 7})
    assert (report.statement, after.answer) == ("b = a / 0", "12")


def test_without_pauses_an_undefined_name_is_an_error() -> None:
    assert "NameError" in ran("answer = judge(1)", pauses=False).error
    assert "NameError" in ran("answer = judge", pauses=False).error


def test_a_program_gives_the_same_each_time() -> None:
    program = "import random\nanswer = random.random()"

    assert ran(program) == ran(program)


async def test_the_registry_sends_code_to_the_sandbox_and_nothing_else() -> None:
    message = json.dumps({"program": "answer = 1", "steps": 9, "pauses": True})
    call = CodeCall("r", "sandbox", 1, 1, "sandbox/monty", (Message("user", message),))
    result = await Registry(BUILTIN, {}).complete(call, ignore_text)

    assert isinstance(result, CodeResult)
    assert (result.execution.status, result.execution.answer) == ("done", "1")
    assert result.usage.cost_usd == 0.0
    with pytest.raises(ProviderError) as caught:
        await Registry(BUILTIN, {}).complete(ChatCall("r", "p", 1, 1, "sandbox/monty", call.messages), ignore_text)
    assert caught.value.reason is Reason.UNKNOWN_MODEL


async def test_whoever_leaves_a_running_program_leaves_at_once(make_call: Callable[..., Call]) -> None:
    message = json.dumps({"program": "while True:\n    pass", "steps": 9, "pauses": True})
    results: list[Result] = []
    with anyio.move_on_after(0.05) as scope:
        call = make_call(CodeCall, messages=(Message("user", message),))
        results.append(await SandboxProvider().complete(call, ignore_text))

    assert scope.cancelled_caught
    assert not results


async def test_a_code_call_without_a_program_is_malformed(make_call: Callable[..., Call]) -> None:
    with pytest.raises(ProviderError) as caught:
        await SandboxProvider().complete(make_call(CodeCall), ignore_text)

    assert caught.value.reason is Reason.MALFORMED


def test_without_the_extra_a_program_is_lost_and_the_report_says_why() -> None:
    script = (
        "import sys; sys.modules['pydantic_monty'] = None\n"
        "from moa_mcp.providers.sandbox import run\n"
        "sys.stdout.write(run({'program': 'answer = 1', 'steps': 9}).error)"
    )

    assert subprocess.check_output([sys.executable, "-c", script], text=True) == MISSING


def test_the_registry_loads_the_sandbox_only_with_the_first_program() -> None:
    script = "import sys, moa_mcp.providers.registry; sys.exit('pydantic_monty' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
