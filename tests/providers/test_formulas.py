"""Formulas are compared in a process of their own, which hostile ones cannot keep busy."""

import json

import pytest

from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import CodeCall, Message
from moa_mcp.flows.compare.formulas import COMPARER
from moa_mcp.providers.formulas import MAX_FORMULA_CHARS, compare_formulas
from moa_mcp.providers.sandbox import SandboxProvider

PAIRS = [
    (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}"),
    ("x^2", "x^3"),
    ("x" * (MAX_FORMULA_CHARS + 1), "x"),
    ("a + 3z = 0", "0"),
]


async def test_the_sandbox_says_which_formulas_are_the_same() -> None:
    request = (Message("user", json.dumps({"pairs": PAIRS})),)

    result = await SandboxProvider().complete(
        CodeCall("2.formulas", "sandbox", 2, 1, COMPARER, request), lambda _: None
    )

    assert result.execution == Execution("done", answer="[true, false, null, false]")


@pytest.mark.slow
def test_a_formula_that_takes_long_is_given_up_and_the_next_one_is_compared() -> None:
    assert compare_formulas([("9^{9^{9^{9}}}", "9^{9^{9^{8}}}"), ("x+1", "1+x")])[1] is True
