"""`moa-mcp runs`: what was asked before, and forgetting it."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.fixtures import moa


async def asked() -> str:
    done = await moa("ask", "Which one?", "--preset", "demo", "--json")
    run_id: str = json.loads(done.stdout)["run_id"]
    return run_id


async def test_runs_are_listed_shown_and_forgotten() -> None:
    run_id = await asked()

    listed = (await moa("runs")).stdout.decode()
    shown = (await moa("runs", "show", run_id)).stdout.decode()
    drafts = (await moa("runs", "show", run_id, "--drafts")).stdout.decode()
    removed = await moa("runs", "rm", run_id)
    after = await moa("runs")

    assert run_id in listed
    assert "Which one?" in listed
    assert "completed" in shown
    assert len(drafts) > len(shown)
    assert shown.endswith(f"Drafts: moa-mcp runs show {run_id} --drafts\n")
    assert (removed.returncode, after.stdout) == (0, b"")
    assert b"No runs are stored" in after.stderr


@pytest.mark.parametrize("command", ["show", "rm"])
async def test_a_run_that_is_not_there_is_a_wrong_use(command: str) -> None:
    done = await moa("runs", command, "none")

    assert done.returncode == 2
    assert done.stderr == b"moa-mcp: There is no run 'none'. `moa-mcp runs` lists those that are.\n"
    assert done.stdout == b""


@pytest.mark.parametrize("arguments", [("runs",), ("runs", "show", "none"), ("runs", "prune")])
async def test_a_store_that_cannot_be_used_is_told_of_once(arguments: tuple[str, ...]) -> None:
    Path(os.environ["MOA_MCP_HOME"], "runs.db").mkdir(parents=True)
    done = await moa(*arguments)

    assert done.stderr.count(b"Runs are kept in memory only") == 1


async def test_pruning_tells_how_much_went() -> None:
    done = await moa("runs", "prune")

    assert done.returncode == 0
    assert done.stdout.startswith(b"0 runs are forgotten; 30 days")
