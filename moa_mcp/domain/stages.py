"""The stages of a panel as a preset writes them down: data, checked for impossible numbers, without behaviour.

What each does is a file of the same name under `flows/`. A stage that asks a model of its own names it in
`model`; left out, it is the preset's aggregator.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from moa_mcp.domain.fields import (
    Count,
    ModelSettings,
    ModelSettingsOrId,
    Name,
    PromptText,
    Share,
    StrictModel,
    constraint_error,
)
from moa_mcp.domain.regex import compile_linear

# --- before the first layer ------------------------------------------------------------------------------


class Roles(StrictModel):
    """A persona per slot, written once for `task` by a model and kept for later runs (SMoA)."""

    task: PromptText
    model: ModelSettingsOrId | None = None


class Gate(StrictModel):
    """The question chooses the proposers: the shortest prefix whose probability reaches `share`.

    With `model` it scores the slots and writes each its instruction; without, the words of the question are
    compared with the slots' `skills`. Two drafts at least as alike as `near_copy` wake the next in line.
    """

    by: Literal["gate"]
    model: ModelSettingsOrId | None = None
    share: Share = 0.8
    at_least: Count = 1
    at_most: Count | None = None
    sharpness: Annotated[float, Field(gt=0, le=10)] = 1.0
    near_copy: Share = 0.95

    @model_validator(mode="after")
    def _check_constraints(self) -> Self:
        if self.at_most is not None and self.at_most < self.at_least:
            problem = f"at_most is {self.at_most}, below at_least, which is {self.at_least}"
            raise constraint_error(problem, f"at least {self.at_least}", "at_most")
        return self


class Difficulty(StrictModel):
    """Easy questions go to one model; from `hard_from` (of 1 to 5) on they go to the panel.

    With `model` that one rates the question; without, its length and form do.
    """

    by: Literal["difficulty"]
    easy: ModelSettingsOrId
    model: ModelSettingsOrId | None = None
    hard_from: Annotated[int, Field(ge=2, le=5)] = 3


class Agreement(StrictModel):
    """Samples of a small model answer first; only where they differ is the panel asked (a cascade)."""

    by: Literal["agreement"]
    easy: ModelSettingsOrId
    samples: Annotated[int, Field(ge=2, le=16)] = 3
    agree: Share = 0.8


Route = Annotated[Gate | Difficulty | Agreement, Field(discriminator="by")]

# --- after each proposer layer ---------------------------------------------------------------------------


class JudgedScreen(StrictModel):
    """A judge keeps the best `keep` drafts and, with `may_stop`, ends the layers on consensus (SMoA)."""

    by: Literal["judge"]
    model: ModelSettingsOrId | None = None
    keep: Count = 2
    may_stop: bool = True


class DiverseScreen(StrictModel):
    """The `keep` drafts that differ most, chosen greedily on embeddings (RMoA)."""

    by: Literal["diversity"]
    keep: Count = 3


class ClusterScreen(StrictModel):
    """The larger of two clusters, if the two stand further apart than `margin` (Cluster & Filter).

    Without `margin`: 0.15 for embeddings, 0.35 for lexical similarity.
    """

    by: Literal["cluster"]
    margin: Share | None = None


Screen = Annotated[JudgedScreen | DiverseScreen | ClusterScreen, Field(discriminator="by")]


class Residual(StrictModel):
    """From the second layer on, what changed since the layer before is extracted and passed on (RMoA)."""

    model: ModelSettingsOrId | None = None


class NoChangeStop(StrictModel):
    """The layers end once `layers` of them in a row brought no residual (RMoA)."""

    by: Literal["residual"]
    layers: Count = 1


class AgreementStop(StrictModel):
    """The layers end once every two drafts are at least as alike as `agree`."""

    by: Literal["agreement"]
    agree: Share = 0.9


Stop = Annotated[NoChangeStop | AgreementStop, Field(discriminator="by")]


def _check_pattern(pattern: str) -> str:
    """`pattern` itself, if it is one that can be searched for without ever hanging."""
    compile_linear(pattern)
    return pattern


# --- the end ---------------------------------------------------------------------------------------------


class Synthesize(StrictModel):
    """The aggregator writes the answer from the drafts: the paper's own end."""

    by: Literal["synthesize"] = "synthesize"


class Take(StrictModel):
    """The only draft is the answer: for presets whose one slot is a method."""

    by: Literal["take"]


class Windows(StrictModel):
    """Drafts are aggregated a window at a time, the best so far filling `reserved` places (Self-MoA-Seq)."""

    by: Literal["windows"]
    window: Annotated[int, Field(ge=2, le=64)] = 6
    reserved: Count = 3

    @model_validator(mode="after")
    def _check_constraints(self) -> Self:
        if self.reserved >= self.window:
            problem = f"a window of {self.window} has no room beside {self.reserved} reserved places"
            raise constraint_error(problem, f"at most {self.window - 1}", "reserved")
        return self


class Select(StrictModel):
    """A judge names one draft, which is the answer word for word.

    `for` "best" is the paper's LLM-ranker; "consistent" is universal self-consistency.
    """

    by: Literal["select"]
    wanted: Literal["best", "consistent"] = Field("best", alias="for")
    model: ModelSettingsOrId | None = None


class Rate(StrictModel):
    """A judge rates each draft alone from 0 to 10; the highest is the answer (best of N)."""

    by: Literal["rate"]
    model: ModelSettingsOrId | None = None


class Vote(StrictModel):
    """The answer that most drafts come to; open texts vote by similarity (self-consistency, More Agents).

    `pattern` is a regular expression, searched line by line from the end, whose first group is a draft's answer.
    """

    by: Literal["vote"]
    pattern: Annotated[PromptText, AfterValidator(_check_pattern)] | None = None


class Pairs(StrictModel):
    """A judge compares drafts in pairs, each in both orders; the `top` are fused (LLM-Blender).

    With `bubble`, neighbours only: one pass, and the winner is the answer word for word.
    """

    by: Literal["pairs"]
    model: ModelSettingsOrId | None = None
    top: Count = 3
    bubble: bool = False


class Critique(StrictModel):
    """A critic reviews all drafts in one reply, which the aggregator reads beside them."""

    by: Literal["critique"]
    model: ModelSettingsOrId | None = None


class Council(StrictModel):
    """Every member ranks the anonymous drafts; the aggregator, as chairman, reads drafts and ranks."""

    by: Literal["council"]


class Analysis(StrictModel):
    """An analyst writes down agreement, contradictions, partial coverage, unique points and blind spots first."""

    by: Literal["analysis"]
    model: ModelSettingsOrId | None = None


class Subsets(StrictModel):
    """Aggregations of several subsets of the drafts are compared (Dropout & Vote, Dropout & Cluster).

    `leave-one-out` aggregates all drafts and each set without one, and tells whether the answer flips.
    `most` bounds how many subsets are drawn.
    """

    by: Literal["subsets"]
    mode: Literal["leave-one-out", "vote", "cluster"] = "leave-one-out"
    most: Annotated[int, Field(ge=1, le=64)] = 15


class Advise(StrictModel):
    """Hermes Agent's form: the drafts stand as private guidance behind the question, for the aggregator alone.

    `loud` names the proposers that failed; `silent` does not.
    """

    by: Literal["advise"]
    unavailable: Literal["loud", "silent"] = "loud"


Conclude = Annotated[
    Synthesize | Take | Windows | Select | Rate | Vote | Pairs | Critique | Council | Analysis | Subsets | Advise,
    Field(discriminator="by"),
]

# --- in a slot -------------------------------------------------------------------------------------------


class TreeSearch(ModelSettings):
    """Answers are refined along a tree that a judge's values guide; the best by value is the draft."""

    method: Literal["tree-search"]
    simulations: Annotated[int, Field(ge=1, le=32)] = 6
    width: Annotated[int, Field(ge=1, le=8)] = 2
    depth: Annotated[int, Field(ge=1, le=8)] = 3
    exploration: Annotated[float, Field(ge=0, le=10)] = 1.0
    judge: ModelSettingsOrId | None = None


class ChainOfCode(ModelSettings):
    """The model writes a program; a sandbox runs it, and the model stands in for what it cannot run.

    `interweave` asks per line, as the paper does; `whole` runs the program at once and repairs it.
    """

    method: Literal["chain-of-code"]
    mode: Literal["interweave", "whole"] = "interweave"
    steps: Annotated[int, Field(ge=1, le=10_000)] = 200
    emulations: Annotated[int, Field(ge=1, le=100)] = 20


Method = Annotated[TreeSearch | ChainOfCode, Field(discriminator="method")]


class PanelSlot(StrictModel):
    """Another preset in a proposer's slot: its answer is the draft."""

    preset: Name
