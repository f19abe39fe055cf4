"""The tree keeps the rules of architecture.py, and each rule is seen to fail on a small source."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import (
    MAX_LINES_OF_A_BODY,
    MAX_LINES_OF_A_FILE,
    PRIVATE_USE,
    RULES,
    Rule,
    Source,
    adapters_stand_alone,
    files_are_short,
    functions_are_short,
    imports_point_inwards,
    modules_say_what_they_are,
    nobody_goes_around_the_rules,
    one_place_for_each_library,
    private_parts_stand_in_one_module,
    sources,
    the_core_is_pure,
    the_process_has_two_owners,
)

pytestmark = pytest.mark.xdist_group("architecture")  # one reads the sources for all of them

ROOT = Path(__file__).parents[1]


def named(rule: Rule) -> str:
    """What a rule is called in the list of tests."""
    return getattr(rule, "__name__", "")


@pytest.fixture(scope="session")
def tree() -> list[Source]:
    """The sources of this repository."""
    return sources(ROOT)


def test_the_whole_package_is_read(tree: list[Source]) -> None:
    read = {str(source.path) for source in tree}

    assert {"moa_mcp/flows/mixture.py", "moa_mcp/__main__.py", "tests/test_architecture.py"} <= read


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_the_tree_keeps_the_rule(rule: Rule, tree: list[Source]) -> None:
    found = sorted({problem for source in tree for problem in rule(source)})

    assert not found, "\n".join(found)


LINES = "    x = 1\n"
LONG_BODY = "def f():\n" + LINES * (MAX_LINES_OF_A_BODY + 1)
LONG_HEAD = "def f(\n" + "    a,\n" * 60 + "):\n    '''\n" + "Says.\n" * 60 + "    '''\n" + LINES * MAX_LINES_OF_A_BODY

Table = dict[Rule, list[tuple[str, str]]]

BREACHES: Table = {
    imports_point_inwards: [
        ("moa_mcp/flows/vote.py", "import moa_mcp.runs.runner"),
        ("moa_mcp/flows/vote.py", "from moa_mcp import runs"),
        ("moa_mcp/flows/vote.py", "from moa_mcp.runs.scheduler import RunScheduler"),
        ("moa_mcp/flows/vote.py", "def late():\n    from moa_mcp.runs.runner import Runner"),
        ("moa_mcp/flows/vote.py", "if TYPE_CHECKING:\n    from moa_mcp.runs.runner import Runner"),
        ("moa_mcp/flows/conclude/vote.py", "from ...runs.runner import Runner"),
        ("moa_mcp/flows/__init__.py", "from ..runs.runner import Runner"),
        ("moa_mcp/config/settings.py", "from moa_mcp.presets.library import PresetLibrary"),
        ("moa_mcp/config/settings.py", "from ..presets.library import PresetLibrary"),
        ("moa_mcp/providers/wrappers/retrying.py", "from moa_mcp.flows.calls import layer_deadline_share"),
        ("moa_mcp/store/base.py", "from moa_mcp.providers.base import Provider"),
        ("moa_mcp/runs/runner.py", "from moa_mcp import ask"),
        ("moa_mcp/runs/runner.py", "import moa_mcp\nmoa_mcp.ask"),
        ("moa_mcp/cli/commands/ask.py", "from moa_mcp.unheard_of import anything"),
        ("moa_mcp/unheard_of.py", ""),
        ("moa_mcp/unheard_of/part.py", ""),
    ],
    the_core_is_pure: [
        ("moa_mcp/domain/model.py", "import time"),
        ("moa_mcp/flows/conclude/vote.py", "from random import Random"),
        ("moa_mcp/views/run.py", "def late():\n    import os.path"),
    ],
    the_process_has_two_owners: [
        ("moa_mcp/config/settings.py", "import os\nhome = os.environ['MOA_MCP_HOME']"),
        ("moa_mcp/config/settings.py", "from os import environ"),
        ("moa_mcp/server/stdio.py", "def stop():\n    sys.exit(1)"),
        ("moa_mcp/runs/runner.py", "logging.basicConfig()"),
        ("moa_mcp/testing/scripted.py", "parse(sys.argv[1:])"),
    ],
    one_place_for_each_library: [
        ("moa_mcp/service/service.py", "from mcp.server import MCPServer"),
        ("moa_mcp/api.py", "from moa_mcp.testing.scripted import ScriptedProvider"),
        ("moa_mcp/testing/scripted.py", "from tests.upstream import Upstream"),
    ],
    nobody_goes_around_the_rules: [
        ("moa_mcp/runs/runner.py", "from asyncio import gather"),
        ("tests/flows/clock.py", "import asyncio"),
        ("tests/clock.py", "from unittest import mock"),
        ("tests/runs/test_runner.py", "from unittest import mock"),
        ("benchmarks/latency.py", "print(1)"),
    ],
    private_parts_stand_in_one_module: [
        ("moa_mcp/server/tasks.py", "from mcp.shared._compat import resync_tracer"),
        ("moa_mcp/server/tasks.py", "from mcp.shared import _compat"),
        ("moa_mcp/server/transports/http/serve.py", "from uvicorn.protocols.http.h11_impl import H11Protocol"),
        ("moa_mcp/server/resources/updates.py", f"context.session._connection  # pyright: ignore[{PRIVATE_USE}]"),
    ],
    adapters_stand_alone: [
        ("moa_mcp/providers/dialects/anthropic.py", "from moa_mcp.providers.dialects.openai import spell"),
        ("moa_mcp/providers/wire/http.py", "from ..dialects import anthropic"),
        ("moa_mcp/api.py", "from moa_mcp.providers.dialects import demo"),
    ],
    files_are_short: [
        ("tests/test_long.py", "x = 1\n" * (MAX_LINES_OF_A_FILE + 1)),
    ],
    functions_are_short: [
        ("benchmarks/long.py", LONG_BODY),
        ("moa_mcp/domain/text.py", "async " + LONG_BODY),
    ],
    modules_say_what_they_are: [
        ("moa_mcp/domain/text.py", "'a string, ' + 'no docstring'"),
        ("tests/domain/test_text.py", "import re\n'''Too late.'''"),
    ],
}
"""Where a source stands and what is written in it: each breaks the rule."""

ALLOWED: Table = {
    imports_point_inwards: [
        ("moa_mcp/runs/runner.py", "import moa_mcp.domain.model\nfrom moa_mcp import domain\nimport anyio"),
        ("moa_mcp/flows/conclude/vote.py", "from moa_mcp.flows.state import State"),
        ("moa_mcp/flows/conclude/vote.py", "from ..state import State"),
        ("moa_mcp/flows/conclude/__init__.py", "from .vote import vote\nfrom ...domain.model import Run"),
        ("moa_mcp/__main__.py", "from moa_mcp.cli import main"),
        ("moa_mcp/runs/runner.py", "import moa_mcp\nmoa_mcp.__version__\nmoa_mcp.domain.model.Run"),
        ("moa_mcp/runs/runner.py", "from moa_mcp import __version__"),
        ("moa_mcp/runs/runner.py", "import moa_mcp_of_another_kind"),
        ("tests/test_model.py", "import moa_mcp.cli"),
    ],
    the_core_is_pure: [
        ("moa_mcp/domain/model.py", "import re\nfrom dataclasses import dataclass\nimport timeit"),
        ("moa_mcp/domain/model.py", "if TYPE_CHECKING:\n    from datetime import datetime"),
        ("moa_mcp/runs/runner.py", "import time"),
    ],
    the_process_has_two_owners: [
        ("moa_mcp/api.py", "import os\nos.environ"),
        ("moa_mcp/config/settings.py", "import os\nos.environment\nhome.os.environ"),
        ("tests/test_model.py", "import os\nos.environ"),
    ],
    one_place_for_each_library: [
        ("moa_mcp/testing/__init__.py", "from moa_mcp.testing.scripted import ScriptedProvider"),
        ("tests/test_model.py", "import mcp, httpx"),
        ("moa_mcp/views/run.py", "def row(rich):\n    return rich.click"),
    ],
    nobody_goes_around_the_rules: [
        ("moa_mcp/domain/text.py", "import unittest\nblueprint(1)\npress.print()"),
        ("tests/clock.py", "import asyncio"),
    ],
    private_parts_stand_in_one_module: [
        ("moa_mcp/server/sdk_compat/connections.py", "from uvicorn.protocols.http.h11_impl import H11Protocol"),
        ("moa_mcp/server/transports/http/serve.py", "import uvicorn\nfrom moa_mcp.server import _own\nimport __main__"),
        ("tests/store/test_sqlite.py", f"database._db  # pyright: ignore[{PRIVATE_USE}]"),
    ],
    adapters_stand_alone: [
        ("moa_mcp/providers/dialects/openai.py", "from moa_mcp.providers.base import Provider"),
        ("tests/providers/dialects/test_openai.py", "from moa_mcp.providers.dialects.openai import OpenAI"),
    ],
    files_are_short: [
        ("tests/test_long.py", "x = 1\n" * MAX_LINES_OF_A_FILE),
    ],
    functions_are_short: [
        ("moa_mcp/domain/text.py", LONG_HEAD),
        ("moa_mcp/domain/text.py", "def f():\n    '''Says it all.'''"),
    ],
    modules_say_what_they_are: [
        ("moa_mcp/domain/text.py", "'''Text.'''\nimport re"),
    ],
}
"""What each rule lets pass although it looks like a breach."""


def cases(table: Table) -> list[tuple[Rule, str, str]]:
    """The rows of a table, each with its rule."""
    return [(rule, path, code) for rule, sources in table.items() for path, code in sources]


def problems(rule: Rule, root: Path, path: str, code: str) -> list[str]:
    """What `rule` has against `code`, written to `path` under `root`."""
    file = root / path
    file.parent.mkdir(parents=True)
    file.write_text(code, encoding="utf-8")
    return [problem for source in sources(root) for problem in rule(source)]


@pytest.mark.parametrize(("rule", "path", "code"), cases(BREACHES))
def test_a_breach_is_told_with_its_file(rule: Rule, path: str, code: str, tmp_path: Path) -> None:
    found = problems(rule, tmp_path, path, code)

    assert len(found) == 1
    assert found[0].startswith(f"{path}:")


@pytest.mark.parametrize(("rule", "path", "code"), cases(ALLOWED))
def test_what_only_looks_like_a_breach_is_let_pass(rule: Rule, path: str, code: str, tmp_path: Path) -> None:
    assert problems(rule, tmp_path, path, code) == []


def test_every_rule_is_seen_to_fail() -> None:
    assert set(BREACHES) == set(RULES)


def test_a_module_without_a_ring_is_told_where_to_add_it(tmp_path: Path) -> None:
    [problem] = problems(imports_point_inwards, tmp_path, "moa_mcp/unheard_of.py", "")

    assert "add it to RINGS in tests/architecture.py" in problem
