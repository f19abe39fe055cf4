"""The model that config.yaml names for embeddings compares the drafts of a run, and the result says so."""

import os
from pathlib import Path

import anyio
import pytest

from moa_mcp.api import open_service
from moa_mcp.service.service import AskRequest
from tests.upstream import Upstream
from tests.upstream.obliging import fill_forms


@pytest.mark.parametrize(("line", "kind"), [("embeddings: lab/embed\n", "embeddings"), ("", "lexical")])
async def test_the_result_says_what_drafts_were_compared_by(line: str, kind: str) -> None:
    home = Path(os.environ["MOA_MCP_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    async with Upstream(fill_forms) as upstream:
        providers = "".join(
            f"  {name}: {{base_url: {upstream.base_url}, api_key_env: null}}\n" for name in ("lab", "openrouter")
        )
        (home / "config.yaml").write_text(f"{line}providers:\n{providers}", encoding="utf-8")
        async with open_service() as service:
            with anyio.fail_after(60):
                run = await service.ask(AskRequest("Why is the sky blue?", preset="rmoa"))

    assert run.status == "completed"
    assert {entry["similarity"] for entry in run.method["screen"]} == {kind}
    assert ("embedder" in {record.call.role for record in run.calls}) == (kind == "embeddings")
    assert {record.outcome.usage.output_tokens for record in run.calls if record.call.role == "embedder"} <= {0}
