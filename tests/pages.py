"""The pages of the repository, and what in them can be checked: links, paths, names in the code, commands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "moa_mcp"

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ +(.*?)\s*$", re.MULTILINE)


def name_of(page: Path) -> str:
    """What a page is called in a test's id."""
    return page.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [found["code"] for found in _FENCE.finditer(text) if found["language"] == language]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as both GitHub and the built pages make them."""
    titles = (re.sub(r"[^\w\- ]", "", title.replace("`", "")) for title in _HEADING.findall(prose(text)))
    return {re.sub(r"\s+", "-", title.strip().lower()) for title in titles}


def broken_links(page: Path) -> Iterator[str]:
    """The links of a page to files and headings of this repository that are not there."""
    text = page.read_text(encoding="utf-8")
    for found in _LINK.finditer(prose(text)):
        target, _, anchor = found["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = page if not target else page.parent / target
        if not file.exists():
            yield f"{found['target']}: there is no such file"
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield f"{found['target']}: there is no such heading"


def missing_names(page: Path) -> Iterator[str]:
    """The paths that a page names and that are not there, and the functions that are not where it says.

    A code span that is a path of the repository, or of the package, is a file or folder; one that ends with `()` is
    defined in the file that is named before it in the same paragraph.
    """
    for part in re.split(r"\n\n|\n(?=[|-]|\d+\. )", prose(page.read_text(encoding="utf-8"))):
        file: Path | None = None
        for span in _CODE.findall(part):
            if re.fullmatch(r"[\w.-]+(/[\w.-]+)*(/|\.py)", span):
                file = next((at / span for at in (PACKAGE, ROOT) if (at / span).exists()), None)
                if file is None:
                    yield f"{span}: there is no such file"
            elif span.endswith("()") and file and file.is_file() and span.removesuffix("()") not in defined(file):
                yield f"{span} is not defined in {name_of(file)}"


@cache
def defined(file: Path) -> set[str]:
    """The functions of a module and the methods of its classes, by `name` and `Class.name`."""
    names: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.update({node.name, prefix + node.name})

    collect(ast.parse(file.read_text(encoding="utf-8")).body, "")
    return names
