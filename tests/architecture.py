"""The architecture as rules: what may import what, who may touch the process, how long things may get.

Every rule reads one source and yields what in it breaks the rule. test_architecture.py applies them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PACKAGE = "moa_mcp"
FOLDERS = (PACKAGE, "tests", "benchmarks")

# From the inside out: a module imports from rings above its own, or from its own folder, never from a neighbour in
# its ring. So providers know one call and not the mixture, and the store knows neither.
RINGS = (
    {"domain"},
    {"config", "prompts", "views"},
    {"presets", "flows", "providers", "store"},
    {"runs", "testing"},
    {"service"},
    {"server", "api"},
    {"cli"},
    {"__init__", "__main__"},
)
RING = {name: number for number, ring in enumerate(RINGS) for name in ring}

# The core decides; it does not wait, look or vary, so it is tested without an event loop.
CORE = {"domain", "prompts", "views", "flows"}
NOT_FOR_THE_CORE = {
    "waits": {"anyio", "concurrent", "multiprocessing", "select", "subprocess", "threading", "time"},
    "reaches out": {"aiohttp", "http", "httpx", "httpx2", "mcp", "signal", "socket", "sqlite3", "urllib"},
    "looks around": {
        "filelock",
        "genai_prices",
        "importlib",
        "io",
        "os",
        "pathlib",
        "platformdirs",
        "sys",
        "yaml",
    },
    "varies": {"datetime", "random", "secrets", "tempfile", "uuid"},
    "talks": {"click", "logging", "rich"},
}

# Which part of the package imports a library, and our own doubles. What is not shipped, no part does.
ONLY_IN = {
    "click": "cli",
    "rich": "cli",
    "mcp": "server",
    "mcp_types": "server",
    "aiohttp": "providers",
    "httpx": "providers",
    "httpx_aiohttp": "providers",
    "genai_prices": "providers",
    "sqlite3": "store",
    "yaml": "config",
    "moa_mcp.testing": "testing",
    "tests": "tests",
    "benchmarks": "benchmarks",
}

# A registry imports the package that holds its variants when one is first looked up.
IMPORTS_VARIANTS = (PurePosixPath(PACKAGE, "domain", "variants.py"), "importlib")

# What belongs to the process as a whole is for those that own the process.
OWNERS = {"cli", "api"}
PROCESS = ("logging.basicConfig", "os.environ", "os.getenv", "sys.argv", "sys.exit")

NOWHERE = {
    "asyncio": "use anyio",
    "unittest.mock": "use a double from moa_mcp.testing or tests.upstream",
    "print": "stdout is the protocol; programs for people write with click.echo or to sys.stdout",
}
# The files that have to go around anyio: the loop keeps the time that tests of time limits set; and a generator that
# its reader may leave at any moment must not hold a task group open.
AROUND_ANYIO = {PurePosixPath("tests/clock.py"), PurePosixPath(PACKAGE, "api.py")}

# What packages do not promise to keep is used in one package, which says why.
PRIVATE = PurePosixPath(PACKAGE, "server", "sdk_compat")
UNPROMISED = ("uvicorn.protocols",)
PRIVATE_USE = "reportPrivate" + "Usage"  # not in one piece: this file is read, too

# A provider's dialect. They are alternatives, found by their names in DIALECTS: no other part imports one.
ADAPTERS = ("openai", "anthropic", "demo")

MAX_LINES_OF_A_FILE = 400
MAX_LINES_OF_A_BODY = 50


@dataclass(frozen=True, slots=True)
class Source:
    """One file of Python; `path` is relative to the root of the repository."""

    path: PurePosixPath
    text: str
    tree: ast.Module

    @property
    def place(self) -> str | None:
        """The module or folder of the package that this belongs to, None if it is no part of the package."""
        return PurePosixPath(self.path.parts[1]).stem if self.path.parts[0] == PACKAGE else None

    def problem(self, line: int, what: str) -> str:
        """`what` is wrong, with the place where it is."""
        return f"{self.path}:{line}: {what}"


@dataclass(frozen=True, slots=True)
class Name:
    """A dotted name that a source imports or uses, e.g. `os.environ`."""

    dotted: str
    line: int
    for_types: bool = False

    def lies_in(self, other: str) -> bool:
        """Whether this is `other` or a part of it."""
        return f"{self.dotted}.".startswith(f"{other}.")


Function = ast.FunctionDef | ast.AsyncFunctionDef
Rule = Callable[[Source], Iterator[str]]


def sources(root: Path) -> list[Source]:
    """All that is written in Python under `root`, in the folders that the rules are for."""
    files = [file for folder in FOLDERS for file in sorted((root / folder).rglob("*.py"))]
    return [read(root, file) for file in files]


def read(root: Path, file: Path) -> Source:
    """The source in `file`."""
    text = file.read_text(encoding="utf-8")
    return Source(PurePosixPath(file.relative_to(root).as_posix()), text, ast.parse(text))


def imported(source: Source) -> Iterator[Name]:
    """What a source imports, wherever in the file; `from a import b` imports `a.b`."""
    for_types = {node for block in type_checking_blocks(source) for node in ast.walk(block)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Name(alias.name, node.lineno, node in for_types)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Name(f"{origin(source, node)}.{alias.name}", node.lineno, node in for_types)


def type_checking_blocks(source: Source) -> Iterator[ast.stmt]:
    """The statements that only a type checker reads."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.If) and dotted(node.test).split(".")[-1] == "TYPE_CHECKING":
            yield from node.body


def origin(source: Source, node: ast.ImportFrom) -> str:
    """The module that a `from` names, with its leading dots resolved."""
    if not node.level:
        return node.module or ""
    folder = source.path.parts[: len(source.path.parts) - node.level]
    return ".".join((*folder, *filter(None, [node.module])))


def used(source: Source) -> Iterator[Name]:
    """The dotted names that a source reads, calls or assigns to."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and (name := dotted(node)):
            yield Name(name, node.lineno)


def dotted(node: ast.expr) -> str:
    """`a.b.c` as it is written, empty for what is no dotted name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def imports_point_inwards(source: Source) -> Iterator[str]:
    """A module imports from rings further in, or from its own folder; types and late imports count."""
    if (place := source.place) is None:
        return
    if place not in RING:
        yield source.problem(1, f'"{place}" has no ring: add it to RINGS in tests/architecture.py')
        return
    for name in reached(source):
        target = place_of(name)
        if target not in {None, place} and RING.get(target or "", len(RINGS)) >= RING[place]:
            yield source.problem(name.line, f"{name.dotted} is not further in than {place}")


def reached(source: Source) -> Iterator[Name]:
    """What a source imports, and what it takes from the package where it imports that as a whole."""
    names = list(imported(source))
    yield from names
    if PACKAGE in {name.dotted for name in names}:
        yield from (name for name in used(source) if name.lies_in(PACKAGE))


def place_of(name: Name) -> str | None:
    """The module or folder of the package that holds `name`, None if no ring is meant by it."""
    if not name.lies_in(PACKAGE) or name.dotted in {PACKAGE, f"{PACKAGE}.__version__"}:
        return None
    _, first, *rest = name.dotted.split(".")
    # What is no module is a name of the package itself: `from moa_mcp import ask`.
    return first if first in RING or rest else "__init__"


def the_core_is_pure(source: Source) -> Iterator[str]:
    """The core imports nothing that waits, looks or varies."""
    if source.place not in CORE:
        return
    for name in imported(source):
        for does, modules in NOT_FOR_THE_CORE.items():
            module = name.dotted.split(".")[0]
            if module in modules and not name.for_types and (source.path, module) != IMPORTS_VARIANTS:
                yield source.problem(name.line, f"{name.dotted} {does}, and the core does not")


def one_place_for_each_library(source: Source) -> Iterator[str]:
    """What one part of the package is for, no other part does by itself."""
    if source.place is None:
        return
    for name in imported(source):
        for library, place in ONLY_IN.items():
            if name.lies_in(library) and source.place != place and not name.for_types:
                yield source.problem(name.line, f"only {place} imports {library}")


def the_process_has_two_owners(source: Source) -> Iterator[str]:
    """Environment, arguments, exit and logging are touched where the parts are put together."""
    if source.place is None or source.place in OWNERS:
        return
    for name in {*imported(source), *used(source)}:
        if name.dotted in PROCESS:
            yield source.problem(name.line, f"only {' and '.join(sorted(OWNERS))} touch {name.dotted}")


def nobody_goes_around_the_rules(source: Source) -> Iterator[str]:
    """Some things are for nobody, tests and benchmarks included."""
    for name in {*imported(source), *used(source)}:
        for thing, instead in NOWHERE.items():
            if name.lies_in(thing) and not (thing == "asyncio" and source.path in AROUND_ANYIO):
                yield source.problem(name.line, f"no {thing}: {instead}")


def private_parts_stand_in_one_module(source: Source) -> Iterator[str]:
    """Private modules and attributes of other packages are used in one place, so that an update is looked at there."""
    if source.place is None or source.path.is_relative_to(PRIVATE):
        return
    for name in imported(source):
        private = any(part.startswith("_") and not part.startswith("__") for part in name.dotted.split("."))
        if not name.lies_in(PACKAGE) and (private or any(name.lies_in(part) for part in UNPROMISED)):
            yield source.problem(name.line, f"only {PRIVATE} uses what is private to others, and {name.dotted} is")
    for number, line in enumerate(source.text.splitlines(), 1):
        if PRIVATE_USE in line:
            yield source.problem(number, f"only {PRIVATE} uses private attributes of others")


def adapters_stand_alone(source: Source) -> Iterator[str]:
    """An adapter is imported by no other part of the package."""
    if source.place is None:
        return
    for name in imported(source):
        for adapter in ADAPTERS:
            if name.lies_in(f"{PACKAGE}.providers.dialects.{adapter}"):
                yield source.problem(name.line, f"the {adapter} adapter is found in DIALECTS, not imported")


def files_are_short(source: Source) -> Iterator[str]:
    """A file holds one noun."""
    if (lines := len(source.text.splitlines())) > MAX_LINES_OF_A_FILE:
        yield source.problem(lines, f"{lines} lines, and {MAX_LINES_OF_A_FILE} are the most")


def functions_are_short(source: Source) -> Iterator[str]:
    """A function's body, without signature and docstring, fits on a screen."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function) and (lines := body_lines(node)) > MAX_LINES_OF_A_BODY:
            yield source.problem(node.lineno, f"{node.name} has {lines} lines, {MAX_LINES_OF_A_BODY} are the most")


def body_lines(function: Function) -> int:
    """How many lines the body has, without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def modules_say_what_they_are(source: Source) -> Iterator[str]:
    """Every module has a docstring."""
    if not ast.get_docstring(source.tree):
        yield source.problem(1, "no docstring that says what this module is")


RULES: tuple[Rule, ...] = (
    imports_point_inwards,
    the_core_is_pure,
    one_place_for_each_library,
    the_process_has_two_owners,
    nobody_goes_around_the_rules,
    private_parts_stand_in_one_module,
    adapters_stand_alone,
    files_are_short,
    functions_are_short,
    modules_say_what_they_are,
)
