"""The texts of tools, resources and prompts for clients, word for word, so that none changes by accident.

`python -m pytest tests/server/test_snapshots.py` shows what differs; after a wanted change, delete the file of the
snapshot in tests/data and run it once: it is then written anew, and the test fails that one time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from moa_mcp.testing.scripted import ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]

DATA = Path(__file__).parents[1] / "data"


def plain(item: BaseModel) -> dict[str, Any]:
    """One entry of a list as JSON, without its size, which differs between machines."""
    return item.model_dump(by_alias=True, mode="json", exclude_none=True, exclude={"size"})


@pytest.mark.parametrize("name", ["tools", "resources", "resource_templates", "prompts"])
async def test_texts_for_clients_equal_their_snapshots(serve: Serve, name: str) -> None:
    async with serve(ScriptedProvider(str)) as served:
        listed = await getattr(served.client, f"list_{name}")()
    result = [plain(item) for item in getattr(listed, name)]
    # The list of presets is not part of the server: one of them is enough.
    result = [
        item
        for item in result
        if not item.get("uri", "moa://presets/two").startswith("moa://presets/")
        or item.get("uri", "moa://presets/two") == "moa://presets/two"
    ]

    golden = DATA / f"snapshot.{name}.json"
    if not golden.exists():
        golden.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        pytest.fail(f"{golden.name} was not there and is written now. Look at it, and run the test again.")
    assert result == json.loads(golden.read_text(encoding="utf-8"))
