"""The resources over the protocol, in both eras."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp import Client, MCPError
from mcp.types import PromptReference

from moa_mcp.config.settings import Paths
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Run
from moa_mcp.server.resources.routes import JSON, MARKDOWN, YAML
from moa_mcp.service.service import RUNS_LISTED, AskRequest
from moa_mcp.store.memory import MemoryStore
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]


def reply_to(call: Call) -> str:
    return f"said by {call.id}"


async def read(client: Client, uri: str) -> tuple[str, str]:
    """The type and the text of a resource."""
    [content] = (await client.read_resource(uri)).contents
    return content.mime_type or "", getattr(content, "text", "")


async def read_json(client: Client, uri: str) -> dict[str, Any]:
    kind, text = await read(client, uri)
    assert kind == JSON
    facts: dict[str, Any] = json.loads(text)
    return facts


async def test_before_the_first_run_the_latest_one_reads_as_an_explained_empty_state(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        run = await read_json(served.client, "moa://runs/latest")
        drafts = await read_json(served.client, "moa://runs/latest/drafts")
        runs = await read_json(served.client, "moa://runs")

    assert run["run_id"] is None
    assert "Call moa_ask" in run["explanation"]
    assert drafts == {**run, "drafts": []}
    assert runs == {"runs": [], "total": 0}


async def test_a_run_is_listed_by_its_question_and_shows_the_background_beside_it(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        run_id = (await served.ask(question="Sum?", context="The ledger says 17.")).facts["run_id"]
        [listed] = (await read_json(served.client, "moa://runs"))["runs"]
        run = await read_json(served.client, f"moa://runs/{run_id}")

    assert listed["question"] == "Sum?"
    assert (run["question"], run["context"]) == ("Sum?", "The ledger says 17.")


async def test_a_run_its_drafts_and_its_answer_can_be_read(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        run_id = (await served.ask(question="Q?")).facts["run_id"]
        run = await read_json(served.client, f"moa://runs/{run_id}")
        drafts = await read_json(served.client, run["resources"]["drafts"])
        draft = await read(served.client, drafts["drafts"][1]["uri"])
        answer = await read(served.client, f"moa://runs/{run_id}/answer")

    assert (run["question"], run["answer"], run["calls_made"]) == ("Q?", "said by 2.1", 3)
    assert [(d["layer"], d["slot"], d["text"]) for d in drafts["drafts"]] == [
        (1, 1, "said by 1.1"),
        (1, 2, "said by 1.2"),
    ]
    assert draft == (MARKDOWN, "# Draft 1.2: lab/p\n\nsaid by 1.2\n")
    assert answer == (MARKDOWN, "said by 2.1")


async def test_the_latest_run_is_the_one_that_was_asked_last(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        runs = [(await served.ask(question="Q?", fresh=True)).facts["run_id"] for _ in range(2)]
        latest = await read_json(served.client, "moa://runs/latest")
        drafts = await read_json(served.client, "moa://runs/latest/drafts")
        listed = await read_json(served.client, "moa://runs")

    assert latest["run_id"] == drafts["run_id"] == runs[-1]
    assert [run["run_id"] for run in listed["runs"]] == runs[::-1]


async def test_a_list_that_does_not_show_all_runs_says_how_many_there_are(serve: Serve) -> None:
    reference = PromptReference(name="moa_compare")
    async with serve(ScriptedProvider(reply_to)) as served:
        ids = [(await served.service.ask(AskRequest("Q?", fresh=True))).run_id for _ in range(RUNS_LISTED)]
        every = await read_json(served.client, "moa://runs")
        ids.append((await served.service.ask(AskRequest("Q?", fresh=True))).run_id)
        newest = await read_json(served.client, "moa://runs")
        any_, some = [
            (await served.client.complete(reference, {"name": "run_id", "value": value})).completion
            for value in ("", ids[-1][:20])
        ]

    assert (every["total"], "older" in every) == (RUNS_LISTED, False)
    assert [run["run_id"] for run in newest["runs"]] == ids[:0:-1]
    assert newest["total"] == RUNS_LISTED + 1
    assert "moa-mcp runs --limit" in newest["older"]
    assert (any_.total, any_.has_more) == (RUNS_LISTED + 1, True)
    assert (some.values, some.total, some.has_more) == ([ids[-1]], None, True)


async def test_drafts_can_be_read_while_the_run_goes_on(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: call.id == "1.2")
    async with serve(gate) as served:
        run_id = (await served.ask(question="Q?", wait_seconds=0)).facts["run_id"]
        await gate.held.wait()
        drafts = await read_json(served.client, "moa://runs/latest/drafts")
        answer = await read(served.client, f"moa://runs/{run_id}/answer")
        with pytest.raises(MCPError, match=r"no draft in layer 1, slot 2 yet") as not_yet:
            await served.client.read_resource(f"moa://runs/{run_id}/layers/1/drafts/2")

    assert drafts["status"] == "running"
    assert [draft["text"] for draft in drafts["drafts"]] == ["said by 1.1"]
    assert answer[1].startswith("*No answer yet: the run is running.*")
    assert not_yet.value.error.code == -32602


async def test_a_failed_proposer_is_listed_among_the_drafts_with_its_cause(serve: Serve) -> None:
    def only_the_second(call: Call) -> str | ProviderError:
        return ProviderError(Reason.REFUSED) if call.id == "1.1" else reply_to(call)

    async with serve(ScriptedProvider(only_the_second)) as served:
        await served.ask(question="Q?")
        drafts = (await read_json(served.client, "moa://runs/latest/drafts"))["drafts"]
        _, failed = await read(served.client, drafts[0]["uri"])

    assert (drafts[0]["text"], drafts[0]["status"]) == (None, "failed")
    assert "refused" in drafts[0]["error"]
    assert "No draft: " in failed


async def test_presets_can_be_read_as_a_list_and_as_their_files(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        listed = await read_json(served.client, "moa://presets")
        kind, text = await read(served.client, "moa://presets/two")

    entries = {entry["name"]: entry for entry in listed["presets"]}
    assert (entries["two"]["usable"], entries["two"]["default"], entries["two"]["calls"]) == (True, True, 3)
    assert not entries["locked"]["usable"]
    assert kind == YAML
    assert yaml.safe_load(text)["aggregator"] == "lab/agg"


async def test_a_file_that_is_no_preset_is_not_served(serve: Serve, home: Paths, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("root:canary:19000\n", encoding="utf-8")
    (home.presets_folder / "shadow.yaml").symlink_to(tmp_path / "shadow")
    async with serve(ScriptedProvider(reply_to)) as served:
        with pytest.raises(MCPError, match=r"presets/shadow\.yaml, line 1: the file is not a mapping") as refused:
            await served.client.read_resource("moa://presets/shadow")

    assert "canary" not in f"{refused.value.error}"


@pytest.mark.parametrize(
    "uri",
    [
        "moa://runs/none",
        "moa://runs/none/drafts",
        "moa://runs/none/answer",
        "moa://runs/none/layers/1/drafts/1",
        "moa://presets/none",
        "moa://presets/..%2F..%2Fconfig",
        "moa://nothing",
        "file:///etc/passwd",
    ],
)
async def test_what_is_not_there_is_an_error_that_names_the_uri(serve: Serve, uri: str) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        with pytest.raises(MCPError, match="There is no") as missing:
            await served.client.read_resource(uri)

    assert (missing.value.error.code, missing.value.error.data) == (-32602, {"uri": uri})


async def test_a_run_of_another_owner_is_as_unknown_as_none(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        run = await served.service.ask(AskRequest("Secret?"), owner="somebody else")
        latest = await read_json(served.client, "moa://runs/latest")
        with pytest.raises(MCPError, match="There is no run"):
            await served.client.read_resource(f"moa://runs/{run.run_id}")
        result = await served.ask(run_id=run.run_id)

    assert latest["run_id"] is None
    assert result.text.startswith("There is no run")


async def test_an_unexpected_error_is_masked(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryStore):
        async def list(self, owner: str, limit: int = 50) -> Sequence[Run]:
            raise RuntimeError("sk-canary in a traceback")

    async with serve(ScriptedProvider(reply_to), Broken()) as served:
        with pytest.raises(MCPError, match="unexpected fault") as masked:
            await served.client.read_resource("moa://runs")

    assert masked.value.error.code == -32603
    assert "canary" not in f"{masked.value.error}"
    assert "sk-canary in a traceback" in caplog.text


async def test_every_resource_has_a_title_a_description_and_a_type(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        fixed = (await served.client.list_resources()).resources
        templates = (await served.client.list_resource_templates()).resource_templates

    assert [resource.uri for resource in fixed[:4]] == [
        "moa://runs",
        "moa://runs/latest",
        "moa://runs/latest/drafts",
        "moa://presets",
    ]
    assert {"moa://presets/two", "moa://presets/locked"} <= {resource.uri for resource in fixed[4:]}
    assert [template.uri_template for template in templates] == [
        "moa://runs/{run_id}",
        "moa://runs/{run_id}/drafts",
        "moa://runs/{run_id}/layers/{layer}/drafts/{slot}",
        "moa://runs/{run_id}/answer",
        "moa://presets/{name}",
    ]
    for page in (*fixed, *templates):
        assert page.title
        assert page.description
        assert page.mime_type


async def test_what_is_listed_has_a_size_and_what_is_of_runs_a_date(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        before = (await served.client.list_resources()).resources
        result = await served.client.call_tool("moa_ask", {"question": "Q?"})
        run = await served.service.latest()
        after = (await served.client.list_resources()).resources
        sizes = {page.uri: len((await read(served.client, page.uri))[1].encode()) for page in after}

    at = datetime.fromtimestamp(run.created_at + run.seconds, UTC)
    assert {page.uri: page.size for page in after} == sizes
    assert [page.annotations.last_modified for page in before[:3]] == [None] * 3
    links = [block for block in result.content if block.type == "resource_link"]
    for page in (*after[:3], *links):
        assert abs(datetime.fromisoformat(page.annotations.last_modified) - at) < timedelta(seconds=0.01)


async def test_nothing_may_be_kept_for_others(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        await served.ask(question="Q?")
        client = served.client
        results = [
            await client.list_tools(),
            await client.list_prompts(),
            await client.list_resources(),
            await client.list_resource_templates(),
            await client.read_resource("moa://runs/latest"),
            await client.read_resource("moa://presets"),
        ]

    assert {result.cache_scope for result in results} == {"private"}
    assert [result.ttl_ms for result in results[2:3] + results[4:]] == [0, 0, 0]
