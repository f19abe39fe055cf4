"""A program cut into its statements, so that each can be run, or emulated, by itself.

Models mix Python with pseudo-code. What is no Python stands alone between the statements around it: it fails when
it is run, and is then emulated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

_GOES_ON = re.compile(r"[ \t)\]}]|(?:elif|else|except|finally)\b")
"""How a line begins that belongs to the statement above it."""

_SETS = re.compile(r"\b([^\W\d]\w*)\s{0,9}(?::=|<-|=(?!=))")


def split_statements(program: str) -> list[str]:
    """The statements of `program`, in order.

    Raises:
        ValueError: less than half of it is Python; the message is the parser's.
    """
    try:
        return [ast.unparse(statement) for statement in ast.parse(program).body]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        parts = list(_split_by_lines(program))
        if 2 * sum(_parse_or_none(part) is not None for part in parts) < len(parts) or len(parts) < 2:
            raise ValueError(str(error)) from None
        return parts


def assigned_names(statement: str) -> list[str]:
    """The names that a statement sets, or seems to."""
    tree = _parse_or_none(statement)
    if tree is None:
        return _SETS.findall(statement)
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def constant_values(statement: str) -> dict[str, Any] | None:
    """What an assignment of plain values sets; None where something has to be worked out for it."""
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
    """Parts that begin at lines without an indent."""
    part: list[str] = []
    for line in program.splitlines():
        if part and line.strip() and not _GOES_ON.match(line):
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
