"""Runs model-written code in isolation: an interpreter in a separate process, without I/O.

It answers each `CodeCall` (`flows/slot/execution.py` and `flows/compare/formulas.py` describe the JSON), keeps no
state between calls, and reports every failure of a program as a value. A program has no network, files or
environment, and is limited in time, memory and steps. Without the extra `code`, every program is reported as lost.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import Call, CodeResult
from moa_mcp.domain.statements import assigned_names, split_statements
from moa_mcp.domain.text import fix_surrogates, one_line
from moa_mcp.providers.base import OnText
from moa_mcp.providers.dialects.json_access import count, mapping, string
from moa_mcp.providers.formulas import FormulasLost, compare_formulas

if TYPE_CHECKING:
    from pydantic_monty import MontySession, ResourceLimits

STATEMENT_SECONDS = 2.0
"""Time limit of one statement."""
PROGRAM_SECONDS = 10.0
"""Time limit of one call; after it the process is ended."""
MEMORY_BYTES = 32 * 1024 * 1024
MAX_STATE_BYTES = 256 * 1024
"""Limit for the dump of a program's variables: a larger one cannot be kept in a journal."""
MAX_VALUE_CHARS = 2_000
MAX_ANSWER_CHARS = 20_000
MAX_PROCESSES = 2
"""How many programs run at the same time."""

MISSING = "no program can be run here: the extra 'code' is not installed (pip install 'moa-mcp[code]')"

_LIMITS: ResourceLimits = {
    "max_feed_duration_secs": STATEMENT_SECONDS,
    "max_memory": MEMORY_BYTES,
    "max_recursion_depth": 200,
}


class SandboxProvider:
    """Runs programs concurrently, each in a process that one thread waits for."""

    async def complete(self, call: Call, on_text: OnText) -> CodeResult:
        """Run the program that the call describes.

        Raises:
            ProviderError: MALFORMED, if the call describes no program.
        """
        try:
            request = mapping(json.loads(call.messages[-1].text))
        except ValueError:
            raise ProviderError(Reason.MALFORMED, "a code call without a program") from None
        work = run_formulas if "pairs" in request else run
        # A cancelled caller does not wait: the time limit ends the process, and then the thread ends.
        ran = await anyio.to_thread.run_sync(work, request, abandon_on_cancel=True, limiter=_limiter())
        return CodeResult(ran, call.model)


@cache
def _limiter() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(MAX_PROCESSES)


def run(request: Mapping[str, Any]) -> Execution:
    """Start or continue a program, and return how far it got. Blocks, at most for the limits above."""
    try:
        # Imported for the first program: few runs have one, and the package is an optional extra.
        from pydantic_monty import Monty, MontyError
    except ImportError:
        return Execution(error=MISSING)
    try:
        with Monty(min_processes=1, max_processes=2, request_timeout=PROGRAM_SECONDS, checkout_timeout=5) as pool:
            program = _Program(request)
            with pool.checkout(limits=_LIMITS, os_policy={"sleep": "zero", "random_start": {"seed": 0}}) as session:
                return program.proceed(session, pool.checkout(limits=_LIMITS))
    except _NotRunnable as error:
        return Execution("error", error=str(error))
    except (MontyError, RuntimeError, OSError, TimeoutError) as error:
        return Execution(error=f"the sandbox broke: {one_line(str(error))}")


def run_formulas(request: Mapping[str, Any]) -> Execution:
    """Compare the pairs of formulas of a request; the answer is a JSON list with a verdict for each."""
    pairs = [(string(one), string(other)) for one, other in request["pairs"]]
    try:
        return Execution("done", answer=json.dumps(compare_formulas(pairs)))
    except FormulasLost as error:
        return Execution(error=str(error))


class _NotRunnable(Exception):
    """The whole program cannot be run."""


class _Program:
    """A program, split into statements, and the position of the next statement."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request
        self._statements = _split(string(request.get("program")))
        self._position = count(request.get("at")) or 0
        self._max_steps = count(request.get("steps")) or 0
        self._pauses = bool(request.get("pauses"))
        self._state = string(request.get("state"))
        self._steps = 0

    def proceed(self, session: MontySession, spare: MontySession) -> Execution:
        """Run from the current position until the program ends, fails or waits; `spare` is used to read variables."""
        from pydantic_monty import MontyRuntimeError, MontySyntaxError

        try:
            ran = self._restore(session) or self._run_rest(session)
        except (MontyRuntimeError, MontySyntaxError) as error:
            ran = Execution("error", error=one_line(error.display("type-msg")))
        if ran.status != "done":
            with spare as other:
                variables = self._variables(other)
            statement = self._current()
            ran = replace(ran, at=self._position, state=self._state, statement=statement, variables=variables)
        return replace(ran, steps=self._steps)

    def _restore(self, session: MontySession) -> Execution | None:
        """Restore the state of the program, and finish the statement that waits for a value, if there is one."""
        if snapshot := string(self._request.get("snapshot")):
            from pydantic_monty import CollectString

            waiting = session.load_snapshot(base64.b64decode(snapshot), print_callback=CollectString())
            self._count_step()
            if waits := self._drive(_resume_with(waiting, self._request.get("value"))):
                return waits
            self._position += 1
        elif self._state:
            session.load_session(base64.b64decode(self._state))
            for name, value in mapping(self._request.get("set")).items():
                session.feed_run("pass", inputs={name: value})
        return None

    def _run_rest(self, session: MontySession) -> Execution:
        from pydantic_monty import CollectString

        while self._position < len(self._statements):
            self._state = _keep_state(session.dump())
            self._count_step()
            if waits := self._drive(session.feed_start(self._current(), print_callback=CollectString())):
                return waits
            self._position += 1
        self._state = _keep_state(session.dump())
        return _report_answer(session)

    def _drive(self, snapshot: Any) -> Execution | None:
        """Run a statement to its end, or until it waits for a value that only a model can give."""
        from pydantic_monty import FunctionSnapshot, MontyComplete, NameLookupSnapshot

        while not isinstance(snapshot, MontyComplete):
            if isinstance(snapshot, FunctionSnapshot) and snapshot.is_os_function:
                snapshot = snapshot.resume_not_handled()
            elif not isinstance(snapshot, FunctionSnapshot | NameLookupSnapshot):
                raise _NotRunnable("it waits for itself: asynchronous code is not run here")
            elif self._pauses:
                return Execution("paused", wanted=_describe(snapshot), snapshot=_keep_state(snapshot.dump()))
            elif isinstance(snapshot, FunctionSnapshot):
                missing = NameError(f"name {snapshot.function_name!r} is not defined")
                snapshot = snapshot.resume({"exception": missing})
            else:
                snapshot = snapshot.resume()
        return None

    def _count_step(self) -> None:
        if self._steps >= self._max_steps:
            raise _NotRunnable("it takes more steps than it may")
        self._steps += 1

    def _current(self) -> str:
        return self._statements[self._position] if self._position < len(self._statements) else ""

    def _variables(self, session: MontySession) -> str:
        """The variables before the statement that waits or failed, one per line."""
        if not self._state:
            return ""
        session.load_session(base64.b64decode(self._state))
        names = dict.fromkeys(name for statement in self._statements for name in assigned_names(statement))
        values = ((name, _value(session, name)) for name in names)
        return "\n".join(f"{name} = {value}" for name, value in values if value is not None)


def _split(program: str) -> list[str]:
    try:
        return split_statements(program)
    except ValueError as error:
        raise _NotRunnable(f"it is not Python: {one_line(str(error), 120)}") from None


def _resume_with(snapshot: Any, value: Any) -> Any:
    from pydantic_monty import FunctionSnapshot

    if isinstance(snapshot, FunctionSnapshot):
        return snapshot.resume({"return_value": value})
    return snapshot.resume(value=value)


def _describe(snapshot: Any) -> str:
    """The missing value: an undefined name, or the call of an undefined function with its arguments."""
    if name := getattr(snapshot, "variable_name", None):
        return str(name)
    arguments = [*map(_text, snapshot.args), *(f"{key}={_text(value)}" for key, value in snapshot.kwargs.items())]
    return f"{snapshot.function_name}({', '.join(arguments)})"[:MAX_VALUE_CHARS]


def _report_answer(session: MontySession) -> Execution:
    answer = _value(session, "answer", MAX_ANSWER_CHARS)
    if answer is None:
        return Execution("error", error="it ended without setting `answer`")
    return Execution("done", answer=answer)


def _value(session: MontySession, name: str, max_chars: int = MAX_VALUE_CHARS) -> str | None:
    """A variable as text; None if it is not set."""
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
