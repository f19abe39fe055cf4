"""Presets of any mixture, for the property tests: every stage, method and slot, with any of the keys it has.

What a stage may say is a table by its class. `undrawn` lists what is registered and no table draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, get_args

from hypothesis import strategies as st

from moa_mcp.domain import stages as registries
from moa_mcp.domain.fields import StrictModel
from moa_mcp.domain.model import Message, Task
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.domain.variants import Variants
from moa_mcp.flows.conclude.advise import Advise
from moa_mcp.flows.conclude.analysis import Analysis
from moa_mcp.flows.conclude.council import Council
from moa_mcp.flows.conclude.critique import Critique
from moa_mcp.flows.conclude.pairs import Pairs
from moa_mcp.flows.conclude.rate import Rate
from moa_mcp.flows.conclude.select import Select
from moa_mcp.flows.conclude.subsets import Subsets
from moa_mcp.flows.conclude.synthesize import Synthesize
from moa_mcp.flows.conclude.take import Take
from moa_mcp.flows.conclude.vote import Vote
from moa_mcp.flows.conclude.windows import Windows
from moa_mcp.flows.route.agreement import Agreement
from moa_mcp.flows.route.difficulty import Difficulty
from moa_mcp.flows.route.gate import Gate
from moa_mcp.flows.screen.cluster import ClusterScreen
from moa_mcp.flows.screen.diversity import DiverseScreen
from moa_mcp.flows.screen.judge import JudgedScreen
from moa_mcp.flows.slot.chain_of_code import ChainOfCode
from moa_mcp.flows.slot.tree_search import TreeSearch
from moa_mcp.flows.stages.residual import Residual
from moa_mcp.flows.stages.roles import Roles
from moa_mcp.flows.stages.stop import AgreementStop, NoChangeStop

Keys: TypeAlias = Mapping[str, st.SearchStrategy[Any]]
Stages: TypeAlias = Mapping[type[StrictModel], Callable[[int], Keys]]
"""From a stage to what its keys may be in a panel of so many slots."""

_models = st.sampled_from(["lab/a", "lab/b", "lab/c", "lab/d"])
_judges: st.SearchStrategy[Any] = st.sampled_from(["lab/judge", {"model": "lab/judge", "role": "You are strict."}])
_few = st.integers(1, 3)
_shares = st.sampled_from([0.0, 0.3, 0.9, 1.0])
_yes = st.booleans()

ROUTES: Stages = {
    Gate: lambda slots: {
        "model": _judges,
        "share": _shares,
        "at_least": st.integers(1, -(-slots // 2)),
        "at_most": st.integers(-(-slots // 2), slots),
        "sharpness": st.sampled_from([0.2, 5.0]),
        "near_copy": _shares,
    },
    Difficulty: lambda slots: {"easy": _judges, "model": _judges, "hard_from": st.integers(2, 5)},
    Agreement: lambda slots: {"easy": _judges, "samples": st.integers(2, 4), "agree": _shares, "model": _judges},
}
SCREENS: Stages = {
    JudgedScreen: lambda slots: {"model": _judges, "keep": st.integers(1, slots), "may_stop": _yes},
    DiverseScreen: lambda slots: {"keep": st.integers(1, slots)},
    ClusterScreen: lambda slots: {"margin": _shares, "model": _judges},
}
STOPS: Stages = {
    NoChangeStop: lambda slots: {"layers": _few},
    AgreementStop: lambda slots: {"agree": _shares},
}
ENDS: Stages = {
    Synthesize: lambda slots: {},
    Take: lambda slots: {},
    Windows: lambda slots: {"window": st.integers(4, 6), "reserved": _few},
    Select: lambda slots: {
        "orders": st.integers(1, 2),
        "for": st.sampled_from(["best", "consistent"]),
        "model": _judges,
    },
    Rate: lambda slots: {"model": _judges},
    Vote: lambda slots: {"pattern": st.sampled_from([r"answer: (\w+)", r"(\d+)$"]), "model": _judges},
    Pairs: lambda slots: {"model": _judges, "top": _few, "bubble": _yes},
    Critique: lambda slots: {"model": _judges},
    Council: lambda slots: {},
    Analysis: lambda slots: {"model": _judges},
    Subsets: lambda slots: {
        "mode": st.sampled_from(["leave-one-out", "vote", "cluster"]),
        "most": st.integers(1, 8),
        "reads": _few,
        "model": _judges,
    },
    Advise: lambda slots: {"unavailable": st.sampled_from(["loud", "silent"])},
}
ALONE: Stages = {
    Roles: lambda slots: {"task": st.just("hard questions"), "model": _judges},
    Residual: lambda slots: {"model": _judges},
}
_SAMPLING: Keys = {
    "model": _models,
    "temperature": st.sampled_from([0.0, 0.7]),
    "max_tokens": st.just(500),
    "effort": st.just("low"),
    "timeout_seconds": st.just(30.0),
    "role": st.just("You are brief."),
    "top_p": st.just(0.9),
    "top_k": st.just(40),
    "seed": st.just(7),
    "stop": st.just(["END"]),
    "thinking": st.sampled_from([True, False, 1024]),
    "response_format": st.just({"type": "json_object"}),
    "extra_body": st.just({"provider": {"sort": "price"}}),
}
SLOTS: Stages = {
    Proposer: lambda slots: {**_SAMPLING, "samples": _few, "skills": st.just(["right", "reasons"])},
    TreeSearch: lambda slots: {
        **_SAMPLING,
        "simulations": _few,
        "width": _few,
        "depth": _few,
        "exploration": st.sampled_from([0.0, 1.0]),
        "judge": _judges,
    },
    ChainOfCode: lambda slots: {
        **_SAMPLING,
        "mode": st.sampled_from(["interweave", "whole"]),
        "steps": st.integers(1, 20),
        "emulations": st.integers(1, 4),
    },
}
_TABLES: tuple[tuple[Variants[Any], Stages], ...] = (
    (registries.ROUTES, ROUTES),
    (registries.SCREENS, SCREENS),
    (registries.STOPS, STOPS),
    (registries.CONCLUDES, ENDS),
    (registries.SLOT_METHODS, SLOTS),
    (registries.ROLES, ALONE),
    (registries.RESIDUALS, ALONE),
)
_WORDS = {"name", "title", "description", "limits"}
"""The keys of a preset that no flow reads."""

tasks = st.builds(
    Task,
    question=st.sampled_from(["Which of the two is right?", "Derive it step by step: what is 2 + 2? And 3 + 3?"]),
    system=st.sampled_from([None, "Be brief."]),
    history=st.sampled_from([(), (Message("user", "Hello"), Message("assistant", "Hello, what is it?"))]),
    output=st.sampled_from(["answer", "answer", "guidance"]),
    seed=st.integers(0, 99),
    embeddings=st.sampled_from([None, "lab/embedder"]),
)


@st.composite
def presets(draw: st.DrawFn, nesting: int = 1) -> Preset:
    """A preset as a file may have it; up to `nesting` panels are nested."""
    end = draw(st.sampled_from(list(ENDS)))
    layers = 2 if end is Windows else draw(st.integers(1, 4))
    proposers = [draw(_slot(nesting, alone=end is Take)) for _ in range(1 if end is Take else draw(_few))]
    slots = sum(slot.get("samples", 1) for slot in proposers)
    reply = draw(_stages(slots, layers))
    return Preset.model_validate(
        {
            "proposers": proposers,
            "layers": layers,
            "aggregator": draw(st.sampled_from(["lab/agg", {"model": "lab/agg", "fallbacks": ["lab/f", "lab/g"]}])),
            "min_drafts": draw(st.integers(1, slots)),
            "require_drafts": draw(st.integers(1, slots)),
            "on_partial": draw(st.sampled_from(["answer", "answer", "refuse"])),
            "straggler_grace_seconds": draw(st.sampled_from([None, 20])),
            "prompt_style": draw(st.sampled_from(["fenced", "paper"])),
            "conclude": _possible(draw(_entry(end, ENDS, slots)), slots),
            **{name: entry for name, entry in reply.items() if entry is not None},
        }
    )


def undrawn() -> Iterator[str]:
    """The stages of a preset, and the keys of each, that no strategy here draws."""
    known = {"proposers", "layers", "aggregator", "min_drafts", "require_drafts", "on_partial", "conclude"}
    known |= {"straggler_grace_seconds", "prompt_style"}
    yield from sorted(set(Preset.model_fields) - _WORDS - known - {"route", "screen", "stop", "roles", "residual"})
    for registered, table in _TABLES:
        yield from (stage.__name__ for stage in registered.all().values() if stage not in table)
    for stage, keys in (pair for _, table in _TABLES for pair in table.items()):
        yield from (f"{stage.__name__}.{key}" for key in _fields(stage) if key not in {**_named(stage), **keys(1)})


@st.composite
def _stages(draw: st.DrawFn, slots: int, layers: int) -> dict[str, Any]:
    """The stages between question and end; None where there is none."""
    residual = draw(st.none() | _entry(Residual, ALONE, slots))
    routes = [stage for stage in ROUTES if stage is not Gate or layers > 1]
    stops = [stage for stage in STOPS if stage is not NoChangeStop or residual is not None]
    return {
        "roles": draw(st.none() | _entry(Roles, ALONE, slots)),
        "route": draw(st.none() | _any_of(routes, ROUTES, slots)),
        "screen": draw(st.none() | _any_of(list(SCREENS), SCREENS, slots)),
        "residual": residual,
        "stop": draw(st.none() | _any_of(stops, STOPS, slots)),
    }


def _slot(nesting: int, *, alone: bool) -> st.SearchStrategy[Any]:
    """A model, a method or a panel; `alone` there are no samples of it."""
    kinds = [_entry(stage, SLOTS, 1) for stage in SLOTS]
    if nesting:
        kinds.append(presets(nesting - 1).map(lambda plan: {"preset": "inner", "plan": plan}))
    slots = st.one_of(kinds)
    return slots.map(lambda slot: {**slot, "samples": 1} if "samples" in slot else slot) if alone else slots


def _possible(end: dict[str, Any], slots: int) -> dict[str, Any]:
    """An ending without a key that its others rule out."""
    rotates = end.get("mode") in ("vote", "cluster") and end.get("reads", 0) < slots
    return end if rotates else {key: value for key, value in end.items() if key != "reads"}


def _any_of(kinds: list[type[StrictModel]], table: Stages, slots: int) -> st.SearchStrategy[Any]:
    return st.sampled_from(kinds).flatmap(lambda stage: _entry(stage, table, slots))


def _entry(stage: type[StrictModel], table: Stages, slots: int) -> st.SearchStrategy[dict[str, Any]]:
    """What a file may say of `stage`: the keys it has to have, and any of the others."""
    keys = table[stage](slots)
    # What is kept unless a preset says otherwise may be more than its few slots.
    required = {key for key, field in _fields(stage).items() if field.is_required() or key == "keep"}
    must = {key: drawn for key, drawn in keys.items() if key in required}
    return st.fixed_dictionaries(
        {**_named(stage), **must}, optional={key: drawn for key, drawn in keys.items() if key not in must}
    )


def _named(stage: type[StrictModel]) -> Keys:
    """The key that names the variant of a stage, with its one value."""
    words = {key: get_args(field.annotation) for key, field in _fields(stage).items() if key in ("by", "method")}
    return {key: st.just(word) for key, (word,) in words.items()}


def _fields(stage: type[StrictModel]) -> Mapping[str, Any]:
    return {field.alias or name: field for name, field in stage.model_fields.items()}
