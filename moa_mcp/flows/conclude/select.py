"""A judge names one draft, and that is the answer: the paper's LLM-ranker, and universal self-consistency."""

from __future__ import annotations

from moa_mcp.domain.model import Likely, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Select
from moa_mcp.flows.candidates import Ballot, ballot
from moa_mcp.flows.conclude.verbatim import first_whole, verbatim
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.flows.structured_reply import ask, json_object, judge_call, reason
from moa_mcp.prompts.judge import pick_best, pick_consistent

_LIKELY = Likely('{"choice": "A"}', '{"choice": "A"}')


def select(task: Task, preset: Preset, state: State, spec: Select) -> Conclusion:
    """Answer with the draft that the judge names; if it names none, with the first whole one, and say so."""
    if len(state.references) == 1:
        return verbatim(state.references[0], {"select": {"chosen": state.numbers[0], "how": "the only draft"}})
    shown = ballot(task, "select", state.texts)
    prompt = pick_best if spec.wanted == "best" else pick_consistent
    messages = prompt(task, shown.shown())
    call = judge_call(preset, spec.model, messages, "judge", layer=preset.layers, likely=_LIKELY)
    asked = yield from ask(call, lambda text: _read(shown, text), lambda text: _read_loosely(shown, text))
    index, why = asked.value or (None, "")
    chosen = state.references[index] if index is not None else first_whole(state.references)
    lost = f"the judge named no draft ({asked.how}); the first whole one is the answer" if index is None else None
    facts = {
        "for": spec.wanted,
        "chosen": chosen.seat.number,
        "why": why,
        "how": asked.how,
        "letters": shown.naming(state.numbers),
    }
    return verbatim(chosen, {"select": facts}, lost)


def _read(shown: Ballot, text: str) -> tuple[int, str] | None:
    reply = json_object(text, "choice")
    index = shown.index(str(reply["choice"])) if reply else None
    return (index, reason(reply)) if reply and index is not None else None


def _read_loosely(shown: Ballot, text: str) -> tuple[int, str] | None:
    index = shown.meant(text)
    return None if index is None else (index, "")
