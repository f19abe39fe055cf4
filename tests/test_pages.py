"""The pages for users and contributors say what is true: links lead somewhere, names exist, commands run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from moa_mcp.presets.library import PresetLibrary
from scripts import mcp_reference
from tests.pages import PAGES, ROOT, blocks, broken_links, missing_names, name_of
from tests.pages_run import failures, matches, sections


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_and_function_that_is_named_exists(page: Path) -> None:
    assert list(missing_names(page)) == []


@pytest.mark.slow
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for page in PAGES for name, text in sections(page)])
def test_what_a_page_shows_runs_and_prints_what_it_says(text: str, tmp_path: Path) -> None:
    found = list(failures(text, tmp_path))

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks(page.read_text(encoding="utf-8"), "json")]
)
def test_a_client_s_file_is_json_and_starts_the_server(block: str) -> None:
    config: dict[str, Any] = json.loads(block)
    servers = config.get("mcpServers") or config["servers"]

    assert servers["moa"]["command"] == "moa-mcp"
    assert servers["moa"]["args"] == []


def test_output_that_differs_from_a_page_is_found() -> None:
    assert matches("a\n…\nc …\n", "a\nb\nb\nc 12\n")
    assert not matches("a\n…\nd\n", "a\nb\nc\n")


def test_every_packaged_preset_is_among_the_methods() -> None:
    named = set(re.findall(r"`([a-z0-9-]+)`", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")))

    assert set(PresetLibrary(None).names()) - {"demo"} <= named


async def test_the_mcp_reference_is_what_the_server_says_of_itself() -> None:
    assert mcp_reference.PAGE.read_text(encoding="utf-8") == await mcp_reference.page()
