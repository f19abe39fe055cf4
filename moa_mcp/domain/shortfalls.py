"""What an answer lacks: drafts that are missing (it is partial), and shortfalls of the method (it is degraded).

A table in ARCHITECTURE.md says what counts as which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import TypeAlias

from moa_mcp.domain.errors import Reason, describe_reason


class Shortfall(StrEnum):
    """Why an answer is degraded. The values are stored with runs."""

    TOO_FEW_DRAFTS = "too_few_drafts"
    FALLBACK = "fallback"
    CUT = "cut"
    FILTERED = "filtered"
    TIE = "tie"
    MINORITY = "minority"
    FLIP = "flip"
    UNREAD_JUDGE = "unread_judge"
    UNFINISHED = "unfinished"

    @property
    def description(self) -> str:
        """What happened, as a clause for the reader of the answer."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: Mapping[Shortfall, str] = {
    Shortfall.TOO_FEW_DRAFTS: "a layer had fewer drafts than min_drafts",
    Shortfall.FALLBACK: "a step of the method failed, and its fallback took its place",
    Shortfall.CUT: "the text was cut before its end",
    Shortfall.FILTERED: "a filter of the provider stopped the text",
    Shortfall.TIE: "the drafts are tied between different answers",
    Shortfall.MINORITY: "fewer than half of the drafts support the answer",
    Shortfall.FLIP: "without one of the drafts the answer would be another",
    Shortfall.UNREAD_JUDGE: "a judge gave no usable reply, so the method's fallback decided",
    Shortfall.UNFINISHED: "a search or a program did not finish",
}

Shortfalls: TypeAlias = frozenset[Shortfall]

NONE: Shortfalls = frozenset()


@dataclass(frozen=True, slots=True)
class LostDraft:
    """A draft that the method called for and that is missing: the slot and model that were asked, and the reason."""

    slot: int
    model: str
    reason: Reason

    @property
    def cause(self) -> str:
        """The reason in a few words, without advice."""
        return describe_reason(self.reason).partition(";")[0]

    def __str__(self) -> str:
        return f"slot {self.slot} ({self.model}): {self.cause}"


def merge_lost(lost: Iterable[LostDraft], more: Iterable[LostDraft]) -> tuple[LostDraft, ...]:
    """Combine lost drafts, in the order of their slots. A model of a slot counts once for all layers."""
    first: dict[tuple[int, str], LostDraft] = {}
    for one in (*lost, *more):
        first.setdefault((one.slot, one.model), one)
    return tuple(sorted(first.values(), key=lambda one: one.slot))


_SLOW = frozenset({Reason.TIMEOUT, Reason.STALLED, Reason.DEADLINE, Reason.STRAGGLER})


@dataclass(frozen=True, slots=True)
class PanelSummary:
    """How many slots were asked and answered, and which drafts are lost.

    A slot that was asked in several layers counts once, and answered if it did in each. A slot that holds a panel
    answered if its panel did; the drafts that its panel lost are in `lost` with the number of the slot.

    `skewed`: the lost drafts are the slower or the stronger ones. A draft is slower if time ran out for it; the lost
    are stronger if their models cost more per output token, on average, than those that answered. Unknown prices
    count on neither side.
    """

    asked: int
    answered: int
    lost: tuple[LostDraft, ...] = ()
    skewed: bool = False


def summarize_panel(
    answered: Mapping[int, str], lost: Sequence[LostDraft], prices: Mapping[str, float]
) -> PanelSummary:
    """Summarize a panel: `answered` maps each slot that answered to its model; `prices` are USD per output token."""
    asked = answered.keys() | {one.slot for one in lost}
    stronger = _mean_price((one.model for one in lost), prices) > _mean_price(answered.values(), prices, float("inf"))
    return PanelSummary(
        len(asked), len(answered), tuple(lost), skewed=stronger or any(one.reason in _SLOW for one in lost)
    )


def _mean_price(models: Iterable[str], prices: Mapping[str, float], unknown: float = 0.0) -> float:
    known = [prices[model] for model in models if model in prices]
    return fmean(known) if known else unknown
