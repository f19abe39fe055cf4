"""Model-written code, run where it can reach nothing: an interpreter in a process of its own, without I/O.

It answers each `CodeCall` (its JSON is described in `flows/slot/execution.py`), keeps nothing between
them, and reports all that can go wrong with a program as a value. No network, no files, no environment;
bounded in time, memory and steps. Without the extra `code` every program is reported as lost.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft, Usage
from moa_mcp.domain.statements import assigned_names, split_statements
from moa_mcp.domain.text import fix_surrogates, one_line
from moa_mcp.providers.base import OnText
from moa_mcp.providers.dialects.json_access import count, mapping, string

if TYPE_CHECKING:
    from pydantic_monty import MontySession, ResourceLimits

STATEMENT_SECONDS = 2.0
"""How long one statement may compute."""
PROGRAM_SECONDS = 10.0
"""How long one call may take in all, before its process is ended."""
MEMORY_BYTES = 32 * 1024 * 1024
MAX_STATE_BYTES = 256 * 1024
"""A program whose variables take more cannot be kept in a journal."""
MAX_VALUE_CHARS = 2_000
MAX_ANSWER_CHARS = 20_000
MAX_PROCESSES = 2
"""Programs that run at the same time."""

MISSING = "no program can be run here: the extra 'code' is not installed (pip install 'moa-mcp[code]')"

_LIMITS: ResourceLimits = {
    "max_feed_duration_secs": STATEMENT_SECONDS,
    "max_memory": MEMORY_BYTES,
    "max_recursion_depth": 200,
}


class SandboxProvider:
    """Runs programs side by side in threads that each watch one process."""

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Run what the call describes.

        Raises:
            ProviderError: MALFORMED, the call describes no program.
        """
        try:
            request = mapping(json.loads(call.messages[-1].text))
        except ValueError:
            raise ProviderError(Reason.MALFORMED, "a code call without a program") from None
        # Whoever leaves need not wait: the process ends by its own time limit, and the thread with it.
        report = await anyio.to_thread.run_sync(run, request, abandon_on_cancel=True, limiter=_limiter())
        return Draft(json.dumps(report), call.model, "stop", Usage(0, 0, 0.0))


@cache
def _limiter() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(MAX_PROCESSES)


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a program, or go on with one, and tell how far it came. Blocks; bounded by the limits above."""
    try:
        # Imported for the first program: few runs have one, and the package is an extra.
        from pydantic_monty import Monty, MontyError
    except ImportError:
        return {"status": "lost", "error": MISSING}
    try:
        with Monty(min_processes=1, max_processes=2, request_timeout=PROGRAM_SECONDS, checkout_timeout=5) as pool:
            program = _Program(request)
            with pool.checkout(limits=_LIMITS, os_policy={"sleep": "zero", "random_start": {"seed": 0}}) as session:
                return program.proceed(session, pool.checkout(limits=_LIMITS))
    except _NotRunnable as error:
        return {"status": "error", "error": str(error)}
    except (MontyError, RuntimeError, OSError, TimeoutError) as error:
        return {"status": "lost", "error": f"the sandbox broke: {one_line(str(error))}"}


class _NotRunnable(Exception):
    """The program as a whole cannot be run."""


class _Program:
    """A program, cut into its statements, and where it stands."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request
        self._statements = _statements(string(request.get("program")))
        self._at = count(request.get("at")) or 0
        self._left = count(request.get("steps")) or 0
        self._pauses = bool(request.get("pauses"))
        self._state = string(request.get("state"))
        self._steps = 0

    def proceed(self, session: MontySession, spare: MontySession) -> dict[str, Any]:
        """Run from where it stands until it ends, fails or waits; `spare` is used to look at variables."""
        from pydantic_monty import MontyRuntimeError, MontySyntaxError

        try:
            report = self._first(session) or self._rest(session)
        except (MontyRuntimeError, MontySyntaxError) as error:
            report = {"status": "error", "error": one_line(error.display("type-msg"))}
        if report["status"] != "done":
            with spare as other:
                report["variables"] = self._variables(other)
            report |= {"state": self._state, "at": self._at, "statement": self._current()}
        return {**report, "steps": self._steps}

    def _first(self, session: MontySession) -> dict[str, Any] | None:
        """Restore where the program stands, and finish the statement that waits for a value, if one does."""
        if snapshot := string(self._request.get("snapshot")):
            from pydantic_monty import CollectString

            waiting = session.load_snapshot(base64.b64decode(snapshot), print_callback=CollectString())
            self._step()
            if waits := self._drive(_answered(waiting, self._request.get("value"))):
                return waits
            self._at += 1
        elif self._state:
            session.load_session(base64.b64decode(self._state))
            for name, value in mapping(self._request.get("set")).items():
                session.feed_run("pass", inputs={name: value})
        return None

    def _rest(self, session: MontySession) -> dict[str, Any]:
        from pydantic_monty import CollectString

        while self._at < len(self._statements):
            self._state = _keep_state(session.dump())
            self._step()
            if waits := self._drive(session.feed_start(self._current(), print_callback=CollectString())):
                return waits
            self._at += 1
        self._state = _keep_state(session.dump())
        return _answer(session)

    def _drive(self, snapshot: Any) -> dict[str, Any] | None:
        """Take a statement to its end, or to where it waits for a value that only a model can give."""
        from pydantic_monty import FunctionSnapshot, MontyComplete, NameLookupSnapshot

        while not isinstance(snapshot, MontyComplete):
            if isinstance(snapshot, FunctionSnapshot) and snapshot.is_os_function:
                snapshot = snapshot.resume_not_handled()
            elif not isinstance(snapshot, FunctionSnapshot | NameLookupSnapshot):
                raise _NotRunnable("it waits for itself: asynchronous code is not run here")
            elif self._pauses:
                return {"status": "paused", "wanted": _wanted(snapshot), "snapshot": _keep_state(snapshot.dump())}
            elif isinstance(snapshot, FunctionSnapshot):
                missing = NameError(f"name {snapshot.function_name!r} is not defined")
                snapshot = snapshot.resume({"exception": missing})
            else:
                snapshot = snapshot.resume()
        return None

    def _step(self) -> None:
        if self._steps >= self._left:
            raise _NotRunnable("it takes more steps than it may")
        self._steps += 1

    def _current(self) -> str:
        return self._statements[self._at] if self._at < len(self._statements) else ""

    def _variables(self, session: MontySession) -> str:
        """The variables before the statement that waits or failed, one per line."""
        if not self._state:
            return ""
        session.load_session(base64.b64decode(self._state))
        names = dict.fromkeys(name for one in self._statements for name in assigned_names(one))
        shown = ((name, _value(session, name)) for name in names)
        return "\n".join(f"{name} = {value}" for name, value in shown if value is not None)


def _statements(program: str) -> list[str]:
    try:
        return split_statements(program)
    except ValueError as error:
        raise _NotRunnable(f"it is not Python: {one_line(str(error), 120)}") from None


def _answered(snapshot: Any, value: Any) -> Any:
    from pydantic_monty import FunctionSnapshot

    if isinstance(snapshot, FunctionSnapshot):
        return snapshot.resume({"return_value": value})
    return snapshot.resume(value=value)


def _wanted(snapshot: Any) -> str:
    """An undefined name, or the call of an undefined function with the values of its arguments."""
    if name := getattr(snapshot, "variable_name", None):
        return str(name)
    given = [*map(_text, snapshot.args), *(f"{key}={_text(value)}" for key, value in snapshot.kwargs.items())]
    return f"{snapshot.function_name}({', '.join(given)})"[:MAX_VALUE_CHARS]


def _answer(session: MontySession) -> dict[str, Any]:
    shown = _value(session, "answer", MAX_ANSWER_CHARS)
    if shown is None:
        return {"status": "error", "error": "it ended without setting `answer`"}
    return {"status": "done", "answer": shown}


def _value(session: MontySession, name: str, max_chars: int = MAX_VALUE_CHARS) -> str | None:
    """A variable as text, None if it is not set."""
    from pydantic_monty import MontyError

    with suppress(MontyError):
        value = session.feed_run(name, external_lookup={})
        return fix_surrogates(value if isinstance(value, str) and name == "answer" else _text(value))[:max_chars]
    return None


def _text(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"


def _keep_state(dump: bytes) -> str:
    if len(dump) > MAX_STATE_BYTES:
        raise _NotRunnable("its variables take too much room")
    return base64.b64encode(dump).decode()
