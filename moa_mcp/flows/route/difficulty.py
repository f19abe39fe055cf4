"""One model answers easy questions, the panel answers hard ones (as in RouteLLM and FrugalGPT).

A question of unknown difficulty counts as hard: an unneeded panel costs money, a missing one costs the answer. So,
without a model that rates it, only a question whose form is plain and whose words can be read here may be easy.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId
from moa_mcp.domain.model import Batch, Draft, DryRunReplies, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.domain.stages import ROUTES, RouteSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call
from moa_mcp.flows.route.short_circuit import answer_directly, messages_for_solo, reference_without_slot, solo_role
from moa_mcp.flows.state import Stage, State
from moa_mcp.flows.structured_reply import Form, ask_form, json_object, judge_call
from moa_mcp.prompts.panel import user_turn
from moa_mcp.prompts.router import difficulty as difficulty_prompt

MAX_DIFFICULTY = 5

_LEVEL = re.compile(
    r"\b(?:difficulty|level|rating)\b[^\d\n]{0,20}([1-5])\b(?![.,]\d)|^\W{0,9}([1-5])\b(?:\s?/\s?5)?\W{0,9}$",
    re.IGNORECASE,
)

_LONG, _VERY_LONG = 250, 1_000
_ITEM = r"^[ \t]{0,9}(?:[-*•]|\(?\d{1,2}[.)]|\(?[a-d]\))[ \t]"
# Each match raises the difficulty by 1. All repeats are bounded, because the text is untrusted.
_SIGNS = {
    "code": re.compile(
        r"```|\b(?:def|class|function|import|SELECT|traceback|stack trace|regex|compile[rs]?)\b"
        r"|[{};][ \t]{0,9}$|\w\(\)",
        re.MULTILINE,
    ),
    "mathematics": re.compile(
        r"\d\s?[-+*/^=<>×÷]\s?\(?[\da-z]|[a-z)]\s?[=<>≠]\s?[\da-z(]|\\[a-z]|[∑∫√≤≥≠∈∀∃]"
        r"|\b(?:equation|integral|probability|theorem|matrix|hypothesis|conjecture|lemma)\b",
        re.IGNORECASE,
    ),
    "reasoning": re.compile(
        r"\b(?:prove|proofs?|derive|design|compare|analy[sz]e|evaluate|optimi[sz]e|debug|refactor|critique|explain why|"
        r"step by step|trade-?offs?|pros and cons|strategy|architecture)\b",
        re.IGNORECASE,
    ),
    "several parts": re.compile(rf"\?[^?]{{1,2000}}\?|{_ITEM}.{{0,500}}\n{_ITEM}", re.MULTILINE),
}

# The beginnings of questions and requests that are mostly easy. "Is …?" is not one: "Is P = NP?"
_PLAIN = re.compile(
    r"\W{0,9}(?:what|which|who|whom|whose|when|where|why|how|name|list|define|spell|translate|convert|tell me|hello|hi"
    r"|thanks|thank you)(?:['\u2019]\w{1,3})?\b",
    re.IGNORECASE,
)
_READABLE_SHARE = 0.9


class Difficulty(RouteSpec):
    """Easy questions go to one model, hard ones to the panel."""

    by: Literal["difficulty"]
    easy: ModelSettingsOrId = Field(description="The model that answers easy questions alone.")
    model: ModelSettingsOrId | None = Field(
        default=None,
        description="The model that rates the question from 1 to 5. Unset: no call; its length and form are rated.",
    )
    hard_from: Annotated[int, Field(ge=2, le=5)] = Field(
        default=3, description="From this rating on, of 1 to 5, a question goes to the panel."
    )

    share_of_time: ClassVar[float | None] = schedule.EASY_END

    @property
    def reads_question(self) -> bool:
        return self.model is None


@ROUTES.register(Difficulty)
def difficulty(task: Task, preset: Preset, state: State, spec: Difficulty) -> Stage:
    """Answer with the easy model if the rating is below `hard_from`; else, or if it fails, the panel answers."""
    level, facts = yield from _rate(task, preset, spec)
    state = state.with_facts(route={"by": "difficulty", **facts, "to": "panel"})
    if level is None:
        state = state.with_shortfalls(Shortfall.UNREAD_JUDGE)
        return state.with_notes(f"the difficulty could not be determined ({facts['how']}): the panel answers")
    if level >= spec.hard_from:
        return state
    call = make_call(spec.easy, messages_for_solo(task, preset, spec.easy), "1.easy", solo_role(task), layer=1)
    (outcome,) = yield Batch(1, (call,), until=schedule.EASY_END)
    state = state.with_notes(*call_notes((call,), (outcome,)))
    if not isinstance(outcome, Draft) or outcome.unfinished:
        return state.with_notes("the question looked easy, but its model gave no whole answer: the panel answers")
    state = state.with_facts(route={"by": "difficulty", **facts, "to": spec.easy.model})
    return answer_directly(
        task, state, reference_without_slot(spec.easy, outcome), f"of difficulty {level}: one model answers"
    )


def signs_of_difficulty(question: str) -> list[str]:
    """The names of the signs in a question's length and form that make it harder; empty for the easiest."""
    length = [name for name, letters in (("long", _LONG), ("very long", _VERY_LONG)) if len(question) > letters]
    return [*length, *(name for name, sign in _SIGNS.items() if sign.search(question))]


def looks_plain(question: str) -> bool:
    """Whether a question begins as easy ones do, in the language that the signs are written for: English."""
    readable = sum(map(str.isascii, question))
    return _PLAIN.match(question) is not None and readable >= _READABLE_SHARE * len(question)


def _rate(
    task: Task, preset: Preset, spec: Difficulty
) -> Generator[Batch, Sequence[Outcome], tuple[int | None, dict[str, object]]]:
    if spec.model is None:
        signs = signs_of_difficulty(user_turn(task)[:20_000])
        level = min(MAX_DIFFICULTY, 1 + len(signs))
        if level < spec.hard_from and not looks_plain(task.question):
            return None, {"difficulty": None, "how": "its form does not show that it is easy", "signs": signs}
        return level, {"difficulty": level, "how": "by length and form", "signs": signs}
    call = judge_call(preset, spec.model, difficulty_prompt(task), "router", layer=1)
    reply = yield from ask_form(call, _FORM, until=schedule.DIFFICULTY_END)
    return reply.value, {"difficulty": reply.value, "how": reply.outcome}


def _read(text: str) -> int | None:
    reply = json_object(text, "difficulty")
    return _read_rating(str(reply["difficulty"]).strip()) if reply else None


def _read_loosely(text: str) -> int | None:
    found = _LEVEL.findall(text.strip())
    return _read_rating("".join(found[-1])) if found else None


def _read_rating(text: str) -> int | None:
    found = re.fullmatch(r"([1-5])(?:\.0)?(?:\s?/\s?5)?", text)
    return int(found[1]) if found else None


_FORM = Form(_read, _read_loosely, DryRunReplies('{"difficulty": 1}', '{"difficulty": 5}'))
