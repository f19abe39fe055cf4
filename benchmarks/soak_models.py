"""The models of the soak, healthy and faulty, the presets that use them, and the preset of each ask.

The name of a model decides how it answers: `well-…` answers at once, `held` answers after all clients have left, and
`NAME-…` answers every call with the fault of that name.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Literal

from tests.upstream import Fault, Reply, Request
from tests.upstream.scripts import Answer

FAULTY_SHARE = 0.2
DROPPED_SHARE = 0.1
SEED = 20_261_201

GENERATIONS = 4
"""The number of models for each fault and place, because a circuit breaker pauses a model that fails repeatedly."""

CALL_SECONDS = 1.0
"""The timeout of a faulty call, in seconds. Healthy calls have no timeout but the deadline of the run."""

GOOD = Reply("A draft that says what there is to say, sentence by sentence, to its very end. " * 4, pieces=8)
HELD = Reply("Too late.", delay=60)

NO_DRAFT: Mapping[str, Answer] = {
    "rate-limited": Fault.status(429, headers={"retry-after-ms": "20"}),
    "error-500": Fault.status(500),
    "error-503": Fault.status(503),
    "overloaded": Fault.status(529),
    "reset": Fault.reset(),
    "close": Fault.close(),
    "html": Fault.html(),
    "half-json": Fault.half_json(),
    "empty": Fault.empty_body(),
    "no-choices": Fault.no_choices(),
    "silent": Fault.hang(),
    "comments-only": Fault.drip_comments(0.05),
}
"""Faults before the first word of a draft. A run fails if all its proposers have one."""

PART_OF_A_DRAFT: Mapping[str, Answer] = {
    "reset-late": Fault.reset(3, GOOD),
    "cut": Fault.cut(3, GOOD),
    "cut-in-chunk": Fault.close_mid_chunk(3, GOOD),
    "malformed": Fault.malformed_event(2, GOOD),
    "error-event": Fault.error_event(3, reply=GOOD),
    "stalled": Fault.hang(3, GOOD),
    "endless": Fault.endless_tokens(every=0.01, text="and so on, "),
}
"""Faults in the middle of a draft."""

FAULTS: Mapping[str, Answer] = {**NO_DRAFT, **PART_OF_A_DRAFT}

Expected = Literal["completed", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class Plan:
    """One ask: its preset, its expected result, and, if the client cancels it, after how many seconds."""

    preset: str
    expected: Expected
    leaves_after: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the ask has no fault and is not cancelled, so that its latency is the server's own."""
        return self == WELL


WELL = Plan("well", "completed")


def answer(request: Request) -> Answer:
    """The reply of a model; the upstream calls this for each request."""
    if request.model == "held":
        return HELD
    return fault_of(request.model) or GOOD


def fault_of(model: str) -> Answer | None:
    """The fault that a model answers with; None if the model is healthy."""
    return FAULTS.get(model.rsplit("-", 2)[0])


def write_home(home: Path, base_url: str) -> None:
    """Write the presets, and a configuration with all models at `base_url` and limits that are never reached."""
    config = {
        "default_preset": "well",
        "providers": {"lab": {"base_url": base_url, "max_concurrency": 1000}},
        "limits": {
            "max_concurrent_runs": 1000,
            "max_calls_per_day": 1_000_000_000,
            "max_tokens_per_day": 1_000_000_000_000,
            "max_cost_usd_per_day": 1_000_000.0,
        },
        "store": {"max_mb": 10_000},
    }
    (home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    (home / "presets").mkdir()
    for name, preset in _presets():
        (home / "presets" / f"{name}.yaml").write_text(json.dumps(preset), encoding="utf-8")


def _presets() -> Iterator[tuple[str, object]]:
    well, chief = ["lab/well-a", "lab/well-b", "lab/well-c"], "lab/well-chief"
    yield "well", {"proposers": well, "layers": 2, "aggregator": chief}
    yield "held", {"proposers": [*well[1:], "lab/held"], "layers": 2, "aggregator": chief}
    for fault, generation in itertools.product(FAULTS, range(GENERATIONS)):

        def faulty(place: str, fault: str = fault, generation: int = generation) -> dict[str, object]:
            return {"model": f"lab/{fault}-{place}-{generation}", "timeout_seconds": CALL_SECONDS}

        one = [faulty("one"), *well[1:]]
        yield f"{fault}-one-{generation}", {"proposers": one, "layers": 2, "aggregator": chief}
        writer = {**faulty("chief"), "fallbacks": ["lab/well-deputy"]}
        yield f"{fault}-chief-{generation}", {"proposers": well, "layers": 2, "aggregator": writer}
        every = [faulty(place) for place in ("a", "b", "c")]
        yield f"{fault}-all-{generation}", {"proposers": every, "layers": 2, "aggregator": chief}


def plans(asks: int) -> list[Plan]:
    """`asks` plans in a fixed random order, with the shares above of faulty and dropped asks (at least one of each)."""
    dice = random.Random(SEED)
    faulty, dropped = ceil(asks * FAULTY_SHARE), ceil(asks * DROPPED_SHARE)
    found = [*itertools.islice(_faulty_plans(dice), faulty)]
    found += [Plan("held", "dropped", dice.uniform(0.0, 0.3)) for _ in range(dropped)]
    found += [WELL] * (asks - faulty - dropped)
    dice.shuffle(found)
    return found


def _faulty_plans(dice: random.Random) -> Iterator[Plan]:
    """Endless faulty asks: at one proposer, at the aggregator, and at all proposers, which makes the run fail."""
    one, chief = [[(fault, generation) for fault in FAULTS for generation in range(GENERATIONS)] for _ in range(2)]
    every = [(fault, generation) for fault in NO_DRAFT for generation in range(GENERATIONS)]
    for chosen in (one, chief, every):
        dice.shuffle(chosen)
    for at_one, at_chief, at_all in zip(*map(itertools.cycle, (one, chief, every)), strict=True):
        yield Plan("{}-one-{}".format(*at_one), "completed")
        yield Plan("{}-chief-{}".format(*at_chief), "completed")
        yield Plan("{}-all-{}".format(*at_all), "failed")
