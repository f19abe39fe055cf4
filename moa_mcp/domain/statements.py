"""Splits a program into its statements, so that each can be run or emulated separately.

Models mix Python with pseudo-code. A part that is not Python becomes a statement of its own: it fails when it is
run, and is then emulated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

_CONTINUES = re.compile(r"[ \t)\]}]|(?:elif|else|except|finally)\b")
"""The beginning of a line that continues the statement above it."""

_ASSIGNMENT = re.compile(r"\b([^\W\d]\w*)\s{0,9}(?::=|<-|=(?!=))")


def split_statements(program: str) -> list[str]:
    """Return the statements of `program`, in order.

    Raises:
        ValueError: less than half of the program is Python; the message comes from the parser.
    """
    try:
        return [ast.unparse(statement) for statement in ast.parse(program).body]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        parts = list(_split_by_lines(program))
        if 2 * sum(_parse_or_none(part) is not None for part in parts) < len(parts) or len(parts) < 2:
            raise ValueError(str(error)) from None
        return parts


def assigned_names(statement: str) -> list[str]:
    """Return the names that a statement assigns. If it is not Python, this is a guess."""
    tree = _parse_or_none(statement)
    if tree is None:
        return _ASSIGNMENT.findall(statement)
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def constant_values(statement: str) -> dict[str, Any] | None:
    """Return the name and value of an assignment of a literal; None for any other statement."""
    tree = _parse_or_none(statement)
    match tree.body if tree else []:
        case [ast.Assign(targets=[ast.Name(id=name)], value=value)]:
            try:
                return {name: ast.literal_eval(value)}
            except (ValueError, TypeError, RecursionError, MemoryError):
                return None
        case _:
            return None


def _split_by_lines(program: str) -> Iterator[str]:
    """Yield the parts that begin at lines without indentation."""
    part: list[str] = []
    for line in program.splitlines():
        if part and line.strip() and not _CONTINUES.match(line):
            yield "\n".join(part)
            part = []
        if part or line.strip():
            part.append(line)
    if part:
        yield "\n".join(part)


def _parse_or_none(statement: str) -> ast.Module | None:
    try:
        return ast.parse(statement)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
