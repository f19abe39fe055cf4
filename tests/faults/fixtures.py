"""The whole machinery over a fault server: registry, run wrappers, runner and desk, with nothing left out.

Only chance is set: retries wait for no longer than they were asked to. The limits are those that users have, so
no test fails because its machine is slow; tests in which one of them passes run on `tests.clock`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.model import CallRecord, Failure, Run, Task
from moa_mcp.domain.preset import Limits, Preset
from moa_mcp.providers.prices import FREE, Rates
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.run_provider import RunProviderFactory
from moa_mcp.runs.events import EventHandler
from moa_mcp.runs.scheduler import RunScheduler, open_scheduler
from moa_mcp.store.memory import MemoryStore
from tests.admission import started
from tests.upstream import Reply, Upstream, by_model, echo
from tests.upstream.scripts import Answer, Script

KEY = "sk-lab-secret+1/2"

LONG = "One sentence of the answer follows the other until all is said. " * 8
"""An answer of which a part is worth keeping."""


@dataclass
class Lab:
    """A desk whose models are all at one upstream."""

    scheduler: RunScheduler
    upstream: Upstream
    preset: Preset
    _asked: int = field(default=0)

    async def ask(
        self, question: str = "Why is the sky blue?", limits: Limits | None = None, handler: EventHandler | None = None
    ) -> Run:
        """Ask a panel and wait for the end of the run."""
        self._asked += 1
        run = Run(
            f"run{self._asked}",
            "panel",
            self.preset,
            Task(question, seed=self._asked),
            limits=limits or Limits(),
            planned_calls=planned(self.preset),
        )
        return await self.scheduler.wait(await started(self.scheduler, run), None, handler)

    def hits(self, model: str) -> int:
        """How many requests a model got."""
        return sum(request.model == model for request in self.upstream.requests)


def planned(preset: Preset) -> int:
    """The calls of a plain panel."""
    return len(preset.slots) * (preset.layers - 1) + 1


def panel(proposers: int = 3, layers: int = 2, fallbacks: int = 0, **given: object) -> Preset:
    """A preset of the models p1, p2, … and the aggregator `chief` with its `deputy1`, …"""
    return Preset.model_validate(
        {
            "proposers": [f"lab/p{number}" for number in range(1, proposers + 1)],
            "layers": layers,
            "aggregator": {
                "model": "lab/chief",
                "fallbacks": [f"lab/deputy{number}" for number in range(1, fallbacks + 1)],
            },
            "straggler_grace_seconds": None,
            **given,
        }
    )


@asynccontextmanager
async def open_lab(
    answers: Mapping[str, Answer | Script] | None = None,
    preset: Preset | None = None,
    *,
    otherwise: Answer | Script = echo,
    dialect: str = "openai",
    rates: Rates | None = FREE,
    draw: float = 0.0,
    base_url: str | None = None,
) -> AsyncGenerator[Lab]:
    """A lab whose upstream answers each model as `answers` says, and all others with `otherwise`."""
    async with Upstream(by_model(answers or {}, otherwise)) as upstream:
        endpoint = Endpoint("lab", base_url or upstream.base_url, dialect, "LAB_KEY", max_concurrency=64)
        registry = Registry({"lab": endpoint}, {"LAB_KEY": KEY})
        provider_for = RunProviderFactory(registry, lambda model: rates, lambda: draw)
        try:
            async with open_scheduler(provider_for, MemoryStore(), 64) as scheduler:
                yield Lab(scheduler, upstream, preset or panel())
        finally:
            await registry.aclose()


def record_of(run: Run, identity: str) -> CallRecord:
    """The record of the call with that id."""
    return next(record for record in run.calls if record.call.id == identity)


def failure_of(run: Run, identity: str) -> Failure:
    """What became of the call with that id, which failed."""
    outcome = record_of(run, identity).outcome
    assert isinstance(outcome, Failure)
    return outcome


def everything_in(run: Run) -> str:
    """All text that a run holds, as it would be stored."""
    return json.dumps([run.answer, run.error, run.notes, dict(run.method), repr(run.calls)], default=repr)


LONG_REPLY = Reply(LONG, pieces=16)
"""A good answer in many pieces."""
