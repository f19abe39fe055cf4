"""Every promise has its tests, and every test that is named exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.docs_claims import PROMISED, PROMISES

ROOT = Path(__file__).parents[1]


def test_no_promise_is_missing() -> None:
    assert sorted(PROMISES) == sorted(PROMISED)


@pytest.mark.parametrize("number", sorted(PROMISES))
def test_a_promise_is_held_by_tests_that_exist(number: int) -> None:
    promise = PROMISES[number]
    tree = ast.parse((ROOT / promise.file).read_text(encoding="utf-8"))
    there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    assert promise.tests, f"promise {number} has no test"
    assert set(promise.tests) <= there
