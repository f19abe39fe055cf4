"""Plug-ins: a distribution outside adds variants, if a person names it in config.yaml."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest

PLUGIN = """
from typing import Literal

from moa_mcp.domain.endpoints import DIALECTS, Dialect
from moa_mcp.domain.model import Answer, Draft
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.domain.stores import STORES
from moa_mcp.flows.state import no_calls
from moa_mcp.store.memory import MemoryStore


class Parrot:
    async def complete(self, call, on_text):
        return Draft(call.model.upper(), call.model, "stop")


DIALECTS.add("parrot", Dialect(lambda endpoint, http: Parrot(), needs_base_url=False))


STORES.add("shelf", lambda options: MemoryStore())


class Join(ConcludeSpec):
    by: Literal["join"]
    between: str = " "


@CONCLUDES.register(Join)
def join(task, preset, state, spec):
    yield from no_calls()
    return Answer(spec.between.join(state.texts), method={"join": len(state.texts)})
"""
CONFIG = """
plugins: [moa-parrot]
default_preset: birds
providers:
  cage: {dialect: parrot}
store: {url: "shelf:top"}
"""
PRESET = """
proposers: [cage/ara, cage/kea]
aggregator: cage/ara
conclude: {by: join, between: +}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that names the plug-in, uses both of its variants, and has the plug-in installed beside it."""
    install(tmp_path, "moa-parrot", "parrots", PLUGIN)
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "birds.yaml").write_text(PRESET, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def install(home: Path, distribution: str, module: str, code: str, version: str = "1.0") -> None:
    """Install a distribution of one module, with an entry point, as an installer would."""
    site = home / "site"
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(code, encoding="utf-8")
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(f"[moa_mcp.methods]\n{module} = {module}\n", encoding="utf-8")


async def moa(home: Path, *arguments: str) -> CompletedProcess[bytes]:
    """Run the command in a process of its own, with what is installed in `home`."""
    path = os.pathsep.join((str(home / "site"), str(Path(__file__).parents[2])))
    environ = {**os.environ, "MOA_MCP_HOME": str(home), "PYTHONPATH": path}
    command = [sys.executable, "-m", "moa_mcp", *arguments]
    return await anyio.run_process(command, env=environ, check=False, stdin=None)


async def test_an_ask_uses_the_dialect_and_the_method_of_a_plug_in(home: Path) -> None:
    asked = await moa(home, "ask", "Who is it?", "--json")

    assert asked.returncode == 0, asked.stderr
    run = json.loads(asked.stdout)
    assert run["answer"] == "CAGE/ARA+CAGE/KEA"
    assert run["method"]["join"] == 2


async def test_doctor_shows_a_loaded_plug_in_and_its_store_and_presets_show_draws_its_method(home: Path) -> None:
    checked = await moa(home, "doctor")
    drawn = await moa(home, "presets", "show", "birds")

    assert "parrots (of moa-parrot): loaded, version 1.0" in checked.stdout.decode()
    assert checked.returncode == 0
    assert "a plug-in's, shelf: runs are kept" in checked.stdout.decode()
    assert "by join, between +" in drawn.stdout.decode()


async def test_a_plug_in_that_is_not_named_is_not_imported(home: Path) -> None:
    (home / "config.yaml").write_text("default_preset: demo\n", encoding="utf-8")
    (home / "site" / "parrots.py").write_text("import sys\nsys.exit('imported')\n", encoding="utf-8")

    checked = await moa(home, "doctor")

    assert checked.returncode == 0
    assert "parrots (of moa-parrot): installed, but not named under plugins" in checked.stdout.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        (PLUGIN.replace("join", "vote"), "There is already a conclude method 'vote', and it cannot be replaced."),
        (PLUGIN.replace('"parrot"', '"openai"'), "There is already a dialect 'openai', and it cannot be replaced."),
    ],
)
async def test_a_plug_in_that_cannot_be_loaded_is_reported_and_stops_nothing_else(
    home: Path, code: str, why: str
) -> None:
    (home / "site" / "parrots.py").write_text(code, encoding="utf-8")
    (home / "config.yaml").write_text("plugins: [parrots]\ndefault_preset: demo\n", encoding="utf-8")

    checked, other, used = (
        await moa(home, "doctor"),
        await moa(home, "ask", "Hi?"),
        await moa(home, "ask", "Hi?", "--preset", "birds"),
    )

    assert "parrots (of moa-parrot): not loaded: " in checked.stdout.decode()
    assert why in checked.stdout.decode()
    assert other.returncode == 0
    assert used.returncode == 2
    assert b"the plug-in parrots was not loaded" in used.stderr


@pytest.mark.slow
async def test_a_plug_in_that_is_named_but_not_installed_is_reported(home: Path) -> None:
    (home / "config.yaml").write_text(CONFIG.replace("moa-parrot", "moa-parot"), encoding="utf-8")

    checked, asked = await moa(home, "doctor"), await moa(home, "ask", "Who is it?")

    assert "moa-parot: named in config.yaml, but not installed" in checked.stdout.decode()
    assert asked.returncode == 2
    assert b"there is no dialect of this name" in asked.stderr
    assert b"the plug-in moa-parot was not loaded: it is not installed" in asked.stderr


@pytest.mark.slow
async def test_a_run_that_goes_on_under_another_version_of_a_plug_in_says_so(home: Path) -> None:
    dies = PLUGIN.replace(
        "        return Draft(", "        call.layer == 2 and os.kill(os.getpid(), 9)\n        return Draft("
    )
    (home / "site" / "parrots.py").write_text(f"import os\n{dies}", encoding="utf-8")
    (home / "config.yaml").write_text(CONFIG.replace('store: {url: "shelf:top"}', ""), encoding="utf-8")
    (home / "presets" / "birds.yaml").write_text(f"layers: 3\n{PRESET}", encoding="utf-8")

    killed = await moa(home, "ask", "Who is it?")
    shutil.rmtree(home / "site")
    install(home, "moa-parrot", "parrots", PLUGIN, version="2.0")
    resumed = json.loads((await moa(home, "ask", "Who is it?", "--json")).stdout)
    anew = json.loads((await moa(home, "ask", "Who is it?", "--json", "--fresh")).stdout)

    assert killed.returncode == -9
    assert (resumed["status"], resumed["calls_made"]) == ("completed", 4)
    assert resumed["notes"] == ["the plug-in moa-parrot was 1.0 when this run began, and is 2.0 now"]
    assert anew["notes"] == []
