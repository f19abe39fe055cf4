"""`moa-mcp runs`: what was asked before, and forgetting it."""

import json

import pytest

from tests.cli.lab import moa


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
    assert (removed.returncode, after.stdout) == (0, b"")
    assert b"No runs are stored" in after.stderr


@pytest.mark.parametrize("command", ["show", "rm"])
async def test_a_run_that_is_not_there_is_a_wrong_use(command: str) -> None:
    done = await moa("runs", command, "none")

    assert done.returncode == 2
    assert b"There is no run 'none'" in done.stderr
    assert done.stdout == b""


async def test_pruning_tells_how_much_went() -> None:
    done = await moa("runs", "prune")

    assert done.returncode == 0
    assert done.stdout.startswith(b"0 runs are forgotten; 30 days")
