"""Chain of Code (Li et al. 2023): the model writes a program, and emulates what a sandbox cannot run.

`interweave` runs the program statement by statement. The model emulates undefined functions and statements that fail,
and the program goes on with the result; without a sandbox, the model emulates every statement. `whole` runs the
program at once, and the model may repair it twice.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import Answer, Batch, Draft, DryRunReplies, Flow, Message, Outcome, Task
from moa_mcp.domain.shortfalls import NONE, Shortfall
from moa_mcp.domain.stages import SLOT_METHODS, SlotMethod
from moa_mcp.domain.statements import constant_values, split_statements
from moa_mcp.domain.text import one_line, strip_invisible
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call
from moa_mcp.flows.slot.execution import SandboxSession
from moa_mcp.flows.state import SOURCE, State
from moa_mcp.flows.structured_reply import Form, ask_form, is_object, json_object
from moa_mcp.prompts import solver as solver_prompts

REPAIRS = 2
MAX_PROGRAM_CHARS = 20_000
"""Characters; a longer program is emulated instead of run."""
MAX_VALUE_CHARS = 2_000

# A fenced block, or a program on one line between two fences. The tag is the word behind the opening fence. Possessive,
# because a long line of blanks could be divided between its parts in very many ways.
_BLOCK = re.compile(
    r"```[ \t]*+(?:(?P<word>python3?|py)[ \t]++(?P<line>[^`\n]++)```"
    r"|(?P<tag>[^\s`]{0,40}+)[^`\n]*+\n(?P<body>.*?)(?:^[ \t]*+```|\Z))",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_PYTHON = re.compile(r"\{?\.?(?:python|py)[\d.]{0,4}\b", re.IGNORECASE)
_SETS_ANSWER = re.compile(r"^[ \t]*answer[ \t]*(?::[^=\n]{1,80})?=(?!=)", re.MULTILINE)
_SHOWS_OUTPUT = re.compile(r"\b(?:outputs?|prints?|printed|gives|results?|returns?)\b[^\w\n]{0,9}\s*\Z", re.IGNORECASE)

_Result = Generator[Batch, Sequence[Outcome], str | None]


class ChainOfCode(SlotMethod):
    """The model writes a program; a sandbox runs it, and the model stands in for what it cannot run."""

    method: Literal["chain-of-code"]
    mode: Literal["interweave", "whole"] = Field(
        default="interweave",
        description="interweave: run statement by statement, asking the model for what cannot be run, as in the paper. "
        "whole: run the program at once and let the model repair it.",
    )
    steps: Annotated[int, Field(ge=1, le=10_000)] = Field(default=200, description="The most statements that are run.")
    emulations: Annotated[int, Field(ge=1, le=100)] = Field(
        default=20, description="The most times the model is asked to stand in: one call each."
    )


@dataclass(slots=True)
class _Chain:
    """One chain: its task, its program and what was emulated. `left` is the number of emulations that are left."""

    task: Task
    spec: ChainOfCode
    program: str
    left: int
    how: str = "executed"
    emulated: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    repairs: int = 0
    fully_emulated: bool = False
    source: str = "computed by a program that was run"

    def mark_emulated(self, how: str, source: str) -> None:
        """Record that a model emulated everything: `how` for facts and notes, `source` for readers of the draft."""
        self.fully_emulated, self.how, self.source = True, how, source
        self.notes.append(how)

    def facts(self, result: str) -> dict[str, Any]:
        steps = ", with steps that a model emulated" if self.emulated and not self.fully_emulated else ""
        return {
            SOURCE: f"its result, {one_line(result)}, was {self.source}{steps}",
            "mode": self.spec.mode,
            "how": self.how,
            "emulated": self.emulated,
            "repairs": self.repairs,
        }


@SLOT_METHODS.register(ChainOfCode)
def chain_of_code(task: Task, state: State, spec: ChainOfCode) -> Flow:
    """Ask the model for a program, run it, and ask the model for a reply from its result.

    Raises:
        RunFailed: the call for the program failed, or the program has no result.
    """
    messages = solver_prompts.proposer_messages(task, spec, state.texts, state.reader_notes)
    call = make_call(spec, solver_prompts.program(messages), "program", "programmer", layer=1)
    (outcome,) = yield Batch(1, (call,), until=schedule.SLOT_PROGRAM_END)
    if not isinstance(outcome, Draft):
        raise RunFailed("Nobody wrote a program:", call_notes((call,), (outcome,)))
    code = extract_program(strip_invisible(outcome.text))
    if code is None:
        note = "the model wrote no program, but this reply"
        facts = {"mode": spec.mode, "how": "text", SOURCE: "a direct reply: no program was written"}
        shortfalls = outcome.shortfalls_as_answer | {Shortfall.FALLBACK}
        return Answer(outcome.text, shortfalls, (note,), {"chain_of_code": facts})
    chain = _Chain(task, spec, code, spec.emulations)
    result = yield from (_run_with_emulation(chain) if spec.mode == "interweave" else _run_or_emulate(chain))
    if result is None:
        raise RunFailed("The program came to no result:", chain.notes)
    return (yield from _write_reply(chain, messages, result))


def extract_program(text: str) -> str | None:
    """The program in a reply, or None: its last block that sets `answer`, else its last block tagged as Python.

    A block that is tagged as something else, or that is shown as a program's output, is none. A reply without blocks
    is a program if it sets `answer`.
    """
    blocks = list(_BLOCK.finditer(text))
    if not blocks:
        return text.strip() if _SETS_ANSWER.search(text) else None
    programs = [block for block in blocks if _may_be_program(block)]
    chosen = [block for block in programs if _SETS_ANSWER.search(_code(block))]
    chosen = chosen or [block for block in programs if _tag(block)]
    return _code(chosen[-1]) if chosen else None


def _code(block: re.Match[str]) -> str:
    return (block["body"] or block["line"] or "").strip()


def _tag(block: re.Match[str]) -> str:
    return block["tag"] or block["word"] or ""


def _may_be_program(block: re.Match[str]) -> bool:
    if tag := _tag(block):
        return bool(_PYTHON.match(tag) and _code(block))
    return not _SHOWS_OUTPUT.search(block.string, max(0, block.start() - 40), block.start())


def _run_with_emulation(chain: _Chain) -> _Result:
    session = SandboxSession(chain.spec.steps, pauses=True, until=schedule.SLOT_PROGRAM_END)
    ran = Execution(error="the program is too long to be run")
    if len(chain.program) <= MAX_PROGRAM_CHARS:
        ran = yield from session.start(chain.program)
    if ran.status == "lost":
        return (yield from _emulate_each_statement(chain, ran))
    while ran.status in ("paused", "error") and chain.left > 1 and session.steps > 0:
        if ran.status == "error" and not ran.statement:
            break  # no single statement failed: the whole program is invalid, or it ended without a result
        emulate = _emulate_call if ran.status == "paused" else _emulate_statement
        value = yield from emulate(chain, ran)
        if value is None:
            break
        step = session.resume if ran.status == "paused" else session.skip
        ran = yield from step(chain.program, ran, value["value"])
    return ran.answer if ran.status == "done" else (yield from _emulate_program(chain, ran))


def _emulate_each_statement(chain: _Chain, failed: Execution) -> _Result:
    """Let the model emulate each statement in turn, if no sandbox is there; constant values need no model."""
    variables: dict[str, Any] = {}
    for statement in _program_statements(chain):
        sets = constant_values(statement)
        if sets is None:
            execution = replace(failed, statement=statement, variables=_format_variables(variables))
            value = (yield from _emulate_statement(chain, execution)) if chain.left > 1 else None
            if value is None:
                return (yield from _emulate_program(chain, failed))
            sets = value["value"]
        variables |= sets
    if "answer" not in variables:
        return (yield from _emulate_program(chain, failed))
    chain.mark_emulated(
        f"the model emulated every statement: {failed.error}",
        "worked out by a model, line by line; no program ran",
    )
    return _format_value(variables["answer"])


def _program_statements(chain: _Chain) -> list[str]:
    """The statements of the program; none if it cannot be parsed or has more statements than `steps` allows."""
    try:
        parts = split_statements(chain.program)
    except ValueError:
        return []
    return parts if len(parts) <= chain.spec.steps else []


def _format_variables(variables: Mapping[str, Any]) -> str:
    """Variables as text for an emulator's prompt, one per line."""
    return "\n".join(f"{name} = {repr(value)[:MAX_VALUE_CHARS]}" for name, value in variables.items())


def _run_or_emulate(chain: _Chain) -> _Result:
    session = SandboxSession(chain.spec.steps, pauses=False, until=schedule.SLOT_PROGRAM_END)
    ran = yield from session.start(chain.program)
    while ran.status == "error" and chain.repairs < REPAIRS:
        chain.repairs += 1
        identity = f"repair.{chain.repairs}"
        messages = solver_prompts.repair_program(chain.task, chain.program, ran.error)
        call = make_call(_interpreter_settings(chain.spec), messages, identity, "repairer", layer=1)
        (outcome,) = yield Batch(1, (call,), until=schedule.SLOT_PROGRAM_END)
        code = extract_program(strip_invisible(outcome.text)) if isinstance(outcome, Draft) else None
        if code is None:
            break
        chain.program = code
        session.steps = chain.spec.steps
        ran = yield from session.start(code)
    return ran.answer if ran.status == "done" else (yield from _emulate_program(chain, ran))


_Emulation = Generator[Batch, Sequence[Outcome], dict[str, Any] | None]


def _emulate_call(chain: _Chain, ran: Execution) -> _Emulation:
    """Ask the model for the value of an undefined function or name."""
    messages = solver_prompts.emulate_call(chain.task, chain.program, ran.wanted, ran.variables)
    return (yield from _ask_emulator(chain, messages, ran.wanted, _VALUE))


def _emulate_statement(chain: _Chain, ran: Execution) -> _Emulation:
    """Ask the model which variables the failed statement would have set."""
    messages = solver_prompts.emulate_statement(chain.task, chain.program, ran.statement, ran.error, ran.variables)
    return (yield from _ask_emulator(chain, messages, ran.statement, _SETS))


def _emulate_program(chain: _Chain, ran: Execution) -> _Result:
    """Ask the model for the result of the whole program, as the last resort."""
    why = ran.error or "it did not come to its end in the sandbox"
    chain.mark_emulated(f"the model emulated the whole program: {why}", "worked out by a model; no program ran")
    messages = solver_prompts.emulate_program(chain.task, chain.program)
    value = yield from _ask_emulator(chain, messages, "the whole program", _VALUE)
    return None if value is None else _format_value(value["value"])


def _ask_emulator(
    chain: _Chain,
    messages: Sequence[Message],
    what: str,
    form: Form[dict[str, Any]],
) -> _Emulation:
    chain.left -= 1
    chain.emulated.append(what.splitlines()[0][:80] if what else "")
    identity = f"emulate.{len(chain.emulated)}"
    call = make_call(_interpreter_settings(chain.spec), messages, identity, "emulator", layer=1)
    reply = yield from ask_form(call, form, until=schedule.SLOT_PROGRAM_END)
    if reply.value is None:
        chain.notes.append(f"emulation {len(chain.emulated)} gave nothing: {reply.outcome}")
    return reply.value


def _write_reply(chain: _Chain, messages: Sequence[Message], result: str) -> Flow:
    """Ask the model for a reply from the result; without one, the result is the answer."""
    reply_messages = solver_prompts.write_reply(chain.task, messages, chain.program, result)
    call = make_call(chain.spec, reply_messages, "words", "writer", layer=1)
    (outcome,) = yield Batch(1, (call,), until=schedule.SLOT_END)
    chain.notes.extend(call_notes((call,), (outcome,)))
    facts = {"chain_of_code": chain.facts(result)}
    if not isinstance(outcome, Draft):
        shortfalls = frozenset({Shortfall.FALLBACK})
        return Answer(result, shortfalls, (*chain.notes, "the answer is the bare result"), facts)
    shortfalls = outcome.shortfalls_as_answer | (frozenset({Shortfall.UNFINISHED}) if chain.fully_emulated else NONE)
    return Answer(outcome.text, shortfalls, tuple(chain.notes), facts)


def _interpreter_settings(spec: ChainOfCode) -> ModelSettings:
    """The model's settings for use as an interpreter: no role, temperature 0."""
    return ModelSettings(
        model=spec.model,
        temperature=0.0,
        max_tokens=spec.max_tokens,
        effort=spec.effort,
        timeout_seconds=spec.timeout_seconds,
        thinking=spec.thinking,
        extra_body=spec.extra_body,
    )


def _read_value(text: str) -> dict[str, Any] | None:
    reply = json_object(text, "value")
    return {"value": reply["value"]} if reply else None


def _read_sets(text: str) -> dict[str, Any] | None:
    reply = json_object(text, "set")
    variables = reply["set"] if reply else None
    if not is_object(variables) or not all(map(_is_name, variables)):
        return None
    return {"value": variables}


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _format_value(value: Any) -> str:
    """A value as text, in the form in which the sandbox returns it."""
    return value if isinstance(value, str) else repr(value)


_VALUE = Form(_read_value, dry_run=DryRunReplies('{"value": true}', '{"value": true}'))
_SETS = Form(_read_sets, dry_run=DryRunReplies('{"set": {}}', '{"set": {}}'))
