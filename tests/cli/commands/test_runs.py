"""`moa-mcp runs`: what was asked before, and forgetting it."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.fixtures import moa


async def asked(question: str = "Which one?") -> str:
    done = await moa("ask", question, "--preset", "demo", "--json")
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


async def test_a_list_that_does_not_show_all_runs_says_how_to_see_them() -> None:
    first, second = [await asked(question) for question in ("Which one?", "And which next?")]

    newest, every = [await moa("runs", "--limit", limit) for limit in "12"]

    assert (first in newest.stdout.decode(), second in newest.stdout.decode()) == (False, True)
    assert b"The newest 1 of 2 runs. Older ones: moa-mcp runs --limit 2\n" in newest.stderr
    assert first in every.stdout.decode()
    assert b"Older ones" not in every.stderr


async def test_a_question_with_background_is_listed_by_its_question(tmp_path: Path) -> None:
    file = tmp_path / "ledger.txt"
    file.write_text("The ledger says 17.", encoding="utf-8")
    await moa("ask", "What is the sum?", "--preset", "demo", "--context", str(file))

    listed = (await moa("runs")).stdout.decode()
    run_id = listed.splitlines()[1].split()[0]
    shown = (await moa("runs", "show", run_id)).stdout.decode()

    assert "What is the sum?" in listed
    assert "ledger" not in listed
    assert "The ledger says 17." in shown
    assert "Question: What is the sum?" in shown


@pytest.mark.parametrize("command", ["show", "rm"])
async def test_a_run_that_is_not_there_is_a_wrong_use(command: str) -> None:
    done = await moa("runs", command, "none")

    assert done.returncode == 2
    assert done.stderr == b"moa-mcp: There is no run 'none'. `moa-mcp runs` lists the stored runs.\n"
    assert done.stdout == b""


@pytest.mark.parametrize("arguments", [("runs",), ("runs", "show", "none"), ("runs", "prune")])
async def test_a_store_that_cannot_be_used_is_reported_once(arguments: tuple[str, ...]) -> None:
    Path(os.environ["MOA_MCP_HOME"], "runs.db").mkdir(parents=True)
    done = await moa(*arguments)

    assert done.stderr.count(b"Runs are kept in memory only") == 1


async def test_pruning_prints_how_many_runs_were_deleted() -> None:
    done = await moa("runs", "prune")

    assert done.returncode == 0
    assert done.stdout.startswith(b"0 runs are forgotten; 30 days")
