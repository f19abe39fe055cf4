"""A judge keeps the best drafts of a layer and may end the layers: SMoA's judge and moderator in one call."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from moa_mcp.domain.model import Likely, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import JudgedScreen
from moa_mcp.flows.calls import until
from moa_mcp.flows.candidates import Ballot, ballot
from moa_mcp.flows.state import Stage, State
from moa_mcp.flows.structured_reply import Asked, ask, json_object, judge_call, reason
from moa_mcp.prompts.judge import moderator

MODERATORS_SHARE = 0.05
"""How much of a run's time the moderator has behind its layer's own; less than the next layer has."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which drafts go on, by their indices, and whether the layers end here."""

    kept: frozenset[int]
    ends: bool = False
    reason: str = ""


def judged(task: Task, preset: Preset, state: State, spec: JudgedScreen) -> Stage:
    """Keep the drafts that the moderator names, end the layers if it says so; an unusable verdict keeps all.

    It is not asked where nothing depends on it: all are kept anyway, and there is no later layer to spare.
    """
    keep = min(spec.keep, len(state.references))
    may_stop = spec.may_stop and state.layer < preset.layers - 1
    if keep == len(state.references) and not may_stop:
        return state.logging("screen", {"layer": state.layer, "kept": state.numbers, "how": "none to drop"})
    shown = ballot(task, f"screen/{state.layer}", state.texts)
    messages = moderator(task, shown.shown(), keep, may_stop=may_stop)
    call = judge_call(
        preset, spec.model, messages, "moderator", layer=state.layer, likely=_likely(shown.letters[:keep])
    )
    asked = yield from ask(
        call,
        lambda text: _read(shown, keep, text),
        lambda text: _read_loosely(shown, keep, text),
        until=until(state.layer, preset.layers - 1) + MODERATORS_SHARE,
    )
    return _obeyed(state, shown, asked, may_stop=may_stop)


def _obeyed(state: State, shown: Ballot, asked: Asked[Verdict], *, may_stop: bool) -> State:
    verdict = asked.value or Verdict(frozenset(shown.order))
    kept = tuple(one for index, one in enumerate(state.references) if index in verdict.kept)
    ends = may_stop and verdict.ends
    entry = {
        "layer": state.layer,
        "kept": [one.seat.number for one in kept],
        "dropped": [number for index, number in enumerate(state.numbers) if index not in verdict.kept],
        "ended": ends,
        "why": verdict.reason,
        "how": asked.how,
        "letters": shown.naming(state.numbers),
    }
    if asked.value is None:
        state = state.noting(f"the moderator of layer {state.layer} kept all drafts: {asked.how}")
    if ends:
        state = replace(state, ended=f"the moderator saw consensus in layer {state.layer}")
    return replace(state, references=kept).logging("screen", entry)


def _read(shown: Ballot, keep: int, text: str) -> Verdict | None:
    """Of too many letters the first count; too few, or one that means no draft, are no verdict."""
    reply = json_object(text, "keep")
    kept = shown.listed(reply["keep"]) if reply else None
    if reply is None or kept is None or len(kept) < keep:
        return None
    ends = str(reply.get("end", False)).strip().lower() in ("true", "yes")
    return Verdict(frozenset(kept[:keep]), ends, reason(reply))


def _read_loosely(shown: Ballot, keep: int, text: str) -> Verdict | None:
    kept = frozenset(shown.mentioned(text))
    return Verdict(kept) if len(kept) == keep else None


def _likely(letters: tuple[str, ...]) -> Likely:
    ends, goes_on = (json.dumps({"keep": letters, "end": end}) for end in (True, False))
    return Likely(least=ends, most=goes_on)
