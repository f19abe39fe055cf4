"""How far a program ran in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Execution:
    """How far a program ran.

    `done`: `answer` is set. `paused`: the program waits for the value of `wanted`, at `snapshot`. `error`: statement
    number `at` failed, and `state` holds the variables before it. `lost`: there is no sandbox, or it broke. Values are
    given as text. `steps` is the number of statements that this call ran.
    """

    status: Literal["done", "paused", "error", "lost"] = "lost"
    at: int = 0
    steps: int = 0
    state: str = ""
    snapshot: str = ""
    wanted: str = ""
    statement: str = ""
    variables: str = ""
    answer: str | None = None
    error: str = ""
