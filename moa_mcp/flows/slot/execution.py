"""A flow's requests to the sandbox, and its replies: JSON in a `CodeCall`, JSON in its draft.

The sandbox keeps no state between calls. The reply holds a snapshot of the program, and the next call sends it back,
so that the runner can resume a run from its journal.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from moa_mcp.domain.model import Batch, CodeCall, Draft, DryRunReplies, Message, Outcome
from moa_mcp.flows.structured_reply import json_object

SANDBOX = "sandbox/monty"

_DONE = '{"status": "done", "answer": "42"}'
_PAUSED = '{"status": "paused", "wanted": "step()", "state": "", "snapshot": ""}'


@dataclass(frozen=True, slots=True)
class Execution:
    """How far a program ran.

    `done`: `answer` is set. `paused`: the program waits for the value of `wanted`, at `snapshot`. `error`: statement
    number `at` failed, and `state` holds the variables before it. `lost`: there is no sandbox, or it broke. Values are
    given as text.
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

    @classmethod
    def read(cls, outcome: Outcome) -> Execution:
        """Read the outcome of a code call; a call that failed is `lost`."""
        if not isinstance(outcome, Draft):
            return cls(error=str(outcome))
        report = json_object(outcome.text, "status") or {"error": "the sandbox told nothing"}
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in report.items() if key in known})


Running = Generator[Batch, Sequence[Outcome], Execution]


@dataclass(slots=True)
class SandboxSession:
    """One flow's use of the sandbox: numbers the calls and limits the steps of the whole program.

    `pauses`: the program pauses at an undefined function or name instead of failing.
    """

    steps: int
    pauses: bool
    until: float
    calls: int = field(default=0)

    def start(self, program: str) -> Running:
        """Run a program from its beginning."""
        return (yield from self._run({"program": program}))

    def resume(self, program: str, ran: Execution, value: Any) -> Running:
        """Continue where `ran` paused, with the value that it waits for."""
        position = {"at": ran.at, "state": ran.state, "snapshot": ran.snapshot, "value": value}
        return (yield from self._run({"program": program, **position}))

    def skip(self, program: str, ran: Execution, variables: Mapping[str, Any]) -> Running:
        """Continue after the statement that failed, with the variables that it would have set."""
        return (yield from self._run({"program": program, "at": ran.at + 1, "state": ran.state, "set": variables}))

    def _run(self, extra: Mapping[str, Any]) -> Running:
        self.calls += 1
        request = json.dumps({**extra, "steps": self.steps, "pauses": self.pauses})
        messages = (Message("user", request),)
        example = DryRunReplies(_DONE, _PAUSED if self.pauses else '{"status": "error", "error": "it failed"}')
        call = CodeCall(f"run.{self.calls}", "sandbox", 1, 1, SANDBOX, messages)
        (outcome,) = yield Batch(1, (call,), until=self.until, dry_run_replies=example)
        ran = Execution.read(outcome)
        self.steps = max(0, self.steps - ran.steps)
        return ran
