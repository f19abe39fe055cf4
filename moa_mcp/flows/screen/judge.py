"""A judge keeps the best drafts of a layer and may end the layers: SMoA's judge and moderator in one call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import Count, ModelSettingsOrId
from moa_mcp.domain.model import DryRunReplies, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.domain.stages import SCREENS, ScreenSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import LabelledCandidates, label_candidates
from moa_mcp.flows.screen import too_many_kept
from moa_mcp.flows.state import Stage, State
from moa_mcp.flows.structured_reply import Form, FormReply, ask_form, json_object, judge_call, reason_of
from moa_mcp.prompts.judge import moderator


class JudgedScreen(ScreenSpec):
    """A judge keeps the best drafts, and may end the layers when they agree (SMoA)."""

    by: Literal["judge"]
    model: ModelSettingsOrId | None = Field(
        default=None, description="The model that judges. Unset: the aggregator's model."
    )
    keep: Count = Field(default=2, description="How many drafts the next layer reads.")
    may_stop: bool = Field(default=True, description="Whether the judge may end the layers when the drafts agree.")

    def problems(self, preset: Preset) -> Iterator[PydanticCustomError]:
        """This screen cannot keep more drafts than a layer has."""
        return too_many_kept(self.keep, preset)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The indices of the drafts to keep, and whether the layers end here."""

    kept: frozenset[int]
    ends: bool = False
    reason: str = ""


@SCREENS.register(JudgedScreen)
def keep_judged(task: Task, preset: Preset, state: State, spec: JudgedScreen) -> Stage:
    """Keep the drafts that the moderator names, and stop the layers if it decides so; an unusable verdict keeps all.

    The moderator is not asked if nothing depends on it: all drafts are kept anyway, and it cannot stop the layers.
    """
    keep = min(spec.keep, len(state.references))
    may_stop = spec.may_stop and state.layer < preset.layers - 1
    if keep == len(state.references) and not may_stop:
        return state.with_log_entry("screen", {"layer": state.layer, "kept": state.numbers, "how": "none to drop"})
    shown = label_candidates(task, f"screen/{state.layer}", state.texts)
    messages = moderator(task, shown.render(), keep, may_stop=may_stop)
    call = judge_call(preset, spec.model, messages, "moderator", layer=state.layer)
    ends, goes_on = (json.dumps({"keep": shown.letters[:keep], "end": end}) for end in (True, False))
    form = Form(partial(_read, shown, keep), partial(_read_loosely, shown, keep), DryRunReplies(ends, goes_on))
    reply = yield from ask_form(call, form, until=schedule.after_layer(state.layer, preset).screen)
    return _apply_verdict(state, shown, reply, may_stop=may_stop)


def _apply_verdict(state: State, shown: LabelledCandidates, reply: FormReply[Verdict], *, may_stop: bool) -> State:
    verdict = reply.value or Verdict(frozenset(shown.order))
    kept = tuple(one for index, one in enumerate(state.references) if index in verdict.kept)
    ends = may_stop and verdict.ends
    entry = {
        "layer": state.layer,
        "kept": [one.participant.number for one in kept],
        "dropped": [number for index, number in enumerate(state.numbers) if index not in verdict.kept],
        "ended": ends,
        "why": verdict.reason,
        "how": reply.outcome,
        "letters": shown.by_letter(state.numbers),
    }
    if reply.value is None:
        state = state.with_notes(f"the moderator of layer {state.layer} kept all drafts: {reply.outcome}")
        state = state.with_shortfalls(Shortfall.UNREAD_JUDGE)
    if ends:
        state = replace(state, stop_reason=f"the moderator saw consensus in layer {state.layer}")
    return replace(state, references=kept).with_log_entry("screen", entry)


def _read(shown: LabelledCandidates, keep: int, text: str) -> Verdict | None:
    """Read a verdict: extra letters are ignored; with too few letters, or an unknown one, it is None."""
    reply = json_object(text, "keep")
    kept = shown.indices(reply["keep"]) if reply else None
    if reply is None or kept is None or len(kept) < keep:
        return None
    ends = str(reply.get("end", False)).strip().lower() in ("true", "yes")
    return Verdict(frozenset(kept[:keep]), ends, reason_of(reply))


def _read_loosely(shown: LabelledCandidates, keep: int, text: str) -> Verdict | None:
    kept = frozenset(shown.find_mentions(text))
    return Verdict(kept) if len(kept) == keep else None
