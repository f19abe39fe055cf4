"""A flow's requests to the sandbox: JSON in a `CodeCall`, whose result tells how far the program ran.

The sandbox keeps no state between calls. The reply holds a snapshot of the program, and the next call sends it back,
so that the runner can resume a run from its journal.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import Batch, CodeCall, CodeResult, DryRunReplies, Message, Outcome

SANDBOX = "sandbox/monty"

_DONE = Execution("done", answer="42")
_PAUSED = Execution("paused", wanted="step()")
_FAILED = Execution("error", error="it failed")


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
        example = DryRunReplies(_DONE, _PAUSED if self.pauses else _FAILED)
        call = CodeCall(f"run.{self.calls}", "sandbox", 1, 1, SANDBOX, messages)
        (outcome,) = yield Batch(1, (call,), until=self.until, dry_run_replies=example)
        ran = outcome.execution if isinstance(outcome, CodeResult) else Execution(error=str(outcome))
        self.steps = max(0, self.steps - ran.steps)
        return ran
