"""What a flow asks of the sandbox, and what it is told: JSON in a `CodeCall`, JSON in its draft.

The sandbox keeps nothing between calls: where a program stands is a snapshot in the reply, which the next
call hands back. So a run can be taken up again from its journal.
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
    """How far a program came.

    `done`: its `answer` is there. `paused`: it waits for the value of `wanted`; `snapshot` is where. `error`:
    its statement number `at` failed, before which its variables were `state`. `lost`: there is no sandbox, or
    it broke. Values are shown as text.
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
        """What a code call came to; one that failed is lost."""
        if not isinstance(outcome, Draft):
            return cls(error=str(outcome))
        report = json_object(outcome.text, "status") or {"error": "the sandbox told nothing"}
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in report.items() if key in known})


Running = Generator[Batch, Sequence[Outcome], Execution]


@dataclass(slots=True)
class SandboxSession:
    """The sandbox as one flow uses it: numbers its calls and bounds the steps of the whole program.

    `pauses`: an undefined function or name is asked for instead of being an error.
    """

    steps: int
    pauses: bool
    until: float
    calls: int = field(default=0)

    def start(self, program: str) -> Running:
        """Run a program from its beginning."""
        return (yield from self._run({"program": program}))

    def resume(self, program: str, ran: Execution, value: Any) -> Running:
        """Go on where `ran` paused, with the value that it waits for."""
        noted = {"at": ran.at, "state": ran.state, "snapshot": ran.snapshot, "value": value}
        return (yield from self._run({"program": program, **noted}))

    def skip(self, program: str, ran: Execution, variables: Mapping[str, Any]) -> Running:
        """Go on behind the statement that failed, with the variables that it would have set."""
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
