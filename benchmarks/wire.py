"""How many ways in which model servers really answer are read as they are meant, over real sockets.

The cases are those of the tests: replies of real servers (`tests/data/wire.json`), and more of each kind in both
dialects (`tests/wire_cases.py`). `python -m benchmarks.wire FILE` adds the cases of a file in the format of
`tests/data/wire.json`. Prints the number of cases, how many of them are right, and what is wrong with each of the
others.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import anyio

from tests.wire_cases import made_cases
from tests.wire_replies import DATA, Case, problem_with, read_cases

AT_ONCE = 16
"""A case takes no time but that of its server, so several run at the same time."""


async def problems_of(cases: list[Case]) -> dict[str, str]:
    """What is wrong with each case, by its name; only those that are not right."""
    found: dict[str, str] = {}
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def run(case: Case) -> None:
        async with limit:
            if problem := await problem_with(case):
                found[case.name] = problem

    async with anyio.create_task_group() as group:
        for case in cases:
            group.start_soon(run, case)
    return found


def main(*files: str) -> None:
    """Run all cases and print what was found."""
    cases = [case for path in (DATA, *map(Path, files)) for case in read_cases(path)] + made_cases()
    wrong = anyio.run(partial(problems_of, cases))
    sys.stdout.write(json.dumps({"cases": len(cases), "right": len(cases) - len(wrong), "wrong": wrong}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
