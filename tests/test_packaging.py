"""What is handed out: the wheel, what it needs, and the entry in the MCP registry."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from email.message import Message
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, files, requires, version
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from jsonschema import Draft7Validator, validate
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from moa_mcp.domain.endpoints import BUILTIN
from tests.architecture import PACKAGE, imported, sources

pytestmark = pytest.mark.xdist_group("packaging")  # one builds the wheel for all of them

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SERVER: dict[str, Any] = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
SCHEMA = ROOT / "tests" / "data" / "server.schema.2025-12-11.json"

# What a dependency exists to bring: it comes in the version that this dependency works with.
BROUGHT_BY = {
    "mcp-types": "mcp",
    "pydantic-core": "pydantic",
    "pydantic-monty-client": "pydantic-monty",
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel of this tree unpacks to; it is built from the source archive, as for a release."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = out.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(out / "wheel")
    return out / "wheel"


@pytest.fixture(scope="session")
def metadata(built: Path) -> Message:
    """What the wheel says of itself."""
    [file] = built.glob("*.dist-info/METADATA")
    return Parser().parsestr(file.read_text(encoding="utf-8"))


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    """The files under a folder that match, by their path in it."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob(pattern)}


def test_the_wheel_has_every_preset_and_their_schema(built: Path) -> None:
    assert contents(built / PACKAGE / "_presets", "*") == contents(ROOT / "presets", "*") != {}


def test_the_wheel_has_every_module_and_says_that_it_is_typed(built: Path) -> None:
    assert contents(built / PACKAGE, "*.py") == contents(ROOT / PACKAGE, "*.py")
    assert (built / PACKAGE / "py.typed").is_file()


def test_the_wheel_has_nothing_beside_the_package(built: Path) -> None:
    assert {entry.name for entry in built.iterdir()} == {PACKAGE, f"moa_mcp-{PROJECT['version']}.dist-info"}


def test_the_wheel_has_the_licence(metadata: Message, built: Path) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    [licence] = built.glob("*.dist-info/licenses/LICENSE")
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_command_leads_to_the_command_line(built: Path) -> None:
    [file] = built.glob("*.dist-info/entry_points.txt")

    assert file.read_text(encoding="utf-8").split() == [
        "[console_scripts]",
        "moa-mcp",
        "=",
        "moa_mcp.cli:main",
    ]
    assert in_a_fresh_interpreter(built, "from moa_mcp.cli import main; assert callable(main)") == ""


def test_what_is_installed_finds_its_presets(built: Path) -> None:
    say = "from moa_mcp.cli import run; raise SystemExit(run(['presets', 'show', 'demo']))"

    assert "proposers" in in_a_fresh_interpreter(built, say)


def test_the_doubles_that_are_installed_need_nothing_of_the_repository(built: Path) -> None:
    say = "from moa_mcp.testing import *; print(ScriptedProvider.__name__, drive.__name__)"

    assert in_a_fresh_interpreter(built, say).split() == ["ScriptedProvider", "drive"]


def test_importing_the_package_loads_nothing_beyond_the_standard_library() -> None:
    say = (
        "import sys; before = set(sys.modules); import moa_mcp;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )

    assert in_a_fresh_interpreter(ROOT, say).split() == [PACKAGE]


def in_a_fresh_interpreter(path: Path, code: str) -> str:
    """What `code` writes when it runs with `path` first on the module path, away from this repository."""
    code = f"import sys; sys.path.insert(0, {str(path)!r}); {code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=path.anchor)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_library_that_is_imported_is_declared() -> None:
    lines = (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["code"])
    declared = {canonicalize_name(Requirement(line).name) for line in lines}

    assert third_party_imports() <= {module for name in (*declared, *BROUGHT_BY) for module in modules_of(name)}
    assert set(BROUGHT_BY.values()) <= declared


def modules_of(distribution: str) -> set[str]:
    """The top-level modules that an installed distribution has."""
    return {
        file.parts[0].partition(".")[0] for file in files(distribution) or () if file.suffix in {".py", ".so", ".pyd"}
    }


@pytest.mark.parametrize(("library", "bringer"), BROUGHT_BY.items())
def test_what_is_not_declared_is_brought_by_a_dependency(library: str, bringer: str) -> None:
    assert library in {canonicalize_name(Requirement(line).name) for line in requires(bringer) or ()}


def third_party_imports() -> set[str]:
    """The top-level modules of others that the modules of the package import."""
    modules = {name.dotted.split(".")[0] for source in sources(ROOT) if source.place for name in imported(source)}
    return modules - sys.stdlib_module_names - {PACKAGE}


def test_the_registry_entry_is_valid() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))

    validate(SERVER, schema, Draft7Validator, format_checker=Draft7Validator.FORMAT_CHECKER)
    assert SERVER["$schema"] == schema["$id"]


def test_the_registry_entry_names_this_package_and_the_readme_confirms_it() -> None:
    assert {package["identifier"] for package in SERVER["packages"]} == {PROJECT["name"]}
    assert f"<!-- mcp-name: {SERVER['name']} -->" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_registry_entry_asks_for_every_built_in_key_as_a_secret() -> None:
    asked: list[Mapping[str, Any]] = SERVER["packages"][0]["environmentVariables"]
    keys = [variable["name"] for variable in asked if variable["isSecret"]]

    assert sorted(keys) == sorted(provider.api_key_env for provider in BUILTIN.values() if provider.api_key_env)
    assert not [variable["name"] for variable in asked if variable["isRequired"]]


def test_there_is_one_version(metadata: Message) -> None:
    versions = {
        "server.json": SERVER["version"],
        "server.json, package": SERVER["packages"][0]["version"],
        "the newest in CHANGELOG.md": newest_version((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")),
        "the wheel": metadata["Version"],
        "what is installed": installed_version(),
    }

    assert versions == dict.fromkeys(versions, PROJECT["version"])


def newest_version(changelog: str) -> str:
    """The version that the first section with a number is about."""
    found = re.search(r"^## \[(\d\S*)\]", changelog, re.MULTILINE)
    return found[1] if found else "none"


def installed_version() -> str:
    """The version that `moa_mcp.__version__` tells; the tree's own where nothing is installed."""
    try:
        return version(PROJECT["name"])
    except PackageNotFoundError:
        return str(PROJECT["version"])
