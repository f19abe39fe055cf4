"""The service: what a caller can ask of moa-mcp, whoever carries the request here.

It checks a request, plans it, and hands it to the desk. No MCP, no terminal, no files.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from moa_mcp.errors import InvalidRequest, PlanRefused
from moa_mcp.flows.mixture import mixture
from moa_mcp.flows.rehearsal import Rehearsal, rehearse
from moa_mcp.model import Message, Output, Run, Task
from moa_mcp.preset import Limits, Preset
from moa_mcp.prompts import with_context
from moa_mcp.providers.registry import Registry
from moa_mcp.runner import Listener
from moa_mcp.service.catalog import Catalog
from moa_mcp.service.changes import Changes
from moa_mcp.service.desk import Desk, LiveRun
from moa_mcp.settings import Settings
from moa_mcp.store.base import RunStore

LOCAL = "local"
"""The owner of everything where there is only one person: the terminal, stdio, Python."""

LONGEST_QUESTION = 1024 * 1024
"""Bytes of UTF-8 that a question with its context may have."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    `preset` is a name, a Preset made by hand, or None for the default. Ceilings may only lower the settings'.
    """

    question: str
    preset: str | Preset | None = None
    context: str | None = None
    system: str | None = None
    history: tuple[Message, ...] = ()
    continue_from: str | None = None
    output: Output = "answer"
    max_cost_usd: float | None = None
    deadline_seconds: float | None = None

    @property
    def limits(self) -> Limits:
        return Limits(max_cost_usd=self.max_cost_usd, deadline_seconds=self.deadline_seconds)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request would do, before anything is sent: the calls, their rounds, the price if it is known."""

    preset: Preset
    task: Task
    limits: Limits
    notes: tuple[str, ...]
    rehearsal: Rehearsal
    cost_usd: float | None


@dataclass(slots=True)
class Service:
    """Ask, collect, cancel, list presets, configure."""

    settings: Settings
    catalog: Catalog
    changes: Changes
    registry: Registry
    store: RunStore
    desk: Desk

    async def plan(self, request: Request, owner: str = LOCAL) -> Plan:
        """Check a request and lay out its calls; nothing is sent.

        Raises:
            InvalidRequest, UnknownPreset, InvalidPreset, UnknownRun, MissingKey, PlanRefused: as named.
        """
        preset, notes = await self._preset(request.preset)
        task = await self._task(request, owner)
        self.registry.check(preset.required_models)
        limits = self.settings.limits.per_run.lowered_by(preset.limits).lowered_by(request.limits)
        rehearsal = rehearse(mixture(task, preset))
        _check_plan(preset, rehearsal, limits)
        cost = self.catalog.estimated_cost(rehearsal)
        return Plan(preset, task, limits, tuple(notes), rehearsal, cost)

    async def start(self, request: Request, owner: str = LOCAL) -> LiveRun:
        """Begin a run; it is the desk's from here on. Raises what `plan` raises, and Busy."""
        plan = await self.plan(request, owner)
        run = Run(
            run_id=secrets.token_hex(16),
            preset=plan.preset.name,
            plan=plan.preset,
            task=plan.task,
            notes=plan.notes,
            created_at=time.time(),
            owner=owner,
        )
        assert plan.limits.deadline_seconds is not None  # the settings always have a ceiling of their own
        return await self.desk.start(run, plan.limits.deadline_seconds)

    async def ask(
        self,
        request: Request,
        *,
        owner: str = LOCAL,
        wait_seconds: float | None = None,
        listener: Listener | None = None,
    ) -> Run:
        """Ask and wait for the end, or for `wait_seconds`: then the run comes back as it is and goes on."""
        live = await self.start(request, owner)
        return await self.desk.wait(live, wait_seconds, listener)

    async def collect(
        self,
        run_id: str,
        *,
        owner: str = LOCAL,
        wait_seconds: float | None = None,
        listener: Listener | None = None,
    ) -> Run:
        """The run of that id, waited on as in `ask` while it goes on. Raises UnknownRun."""
        if live := self.desk.find(owner, run_id):
            return await self.desk.wait(live, wait_seconds, listener)
        return await self.desk.collect(owner, run_id)

    async def cancel(self, run_id: str, *, owner: str = LOCAL) -> Run:
        """Stop a run with all its calls; one that has ended stays as it is. Raises UnknownRun."""
        if live := self.desk.find(owner, run_id):
            return await self.desk.stop(live)
        return await self.desk.collect(owner, run_id)

    async def runs(self, *, owner: str = LOCAL) -> Sequence[Run]:
        """The owner's runs, newest first."""
        return [await self.desk.collect(owner, run.run_id) for run in await self.store.list(owner)]

    async def latest(self, *, owner: str = LOCAL) -> Run | None:
        """The owner's newest run, or None before there is one."""
        return next(iter(await self.runs(owner=owner)), None)

    async def _preset(self, wanted: str | Preset | None) -> tuple[Preset, Sequence[str]]:
        return (wanted, ()) if isinstance(wanted, Preset) else await self.catalog.resolve(wanted)

    async def _task(self, request: Request, owner: str) -> Task:
        if not request.question.strip():
            raise InvalidRequest("The question is empty. Say what the panel should answer.")
        question = with_context(request.question, request.context)
        if len(question.encode("utf-8", "replace")) > LONGEST_QUESTION:
            raise InvalidRequest(
                f"The question with its context is longer than {LONGEST_QUESTION:,} bytes. "
                "Shorten it, or ask about one part at a time."
            )
        history = (*await self._continued(request.continue_from, owner), *request.history)
        seed = secrets.randbits(64)
        return Task(question, request.system, history, request.output, seed)

    async def _continued(self, run_id: str | None, owner: str) -> tuple[Message, ...]:
        if run_id is None:
            return ()
        before = await self.desk.collect(owner, run_id)
        if before.answer is None:
            raise InvalidRequest(f"Run {run_id} has no answer to continue from (it is {before.status}).")
        turns = (Message("user", before.task.question), Message("assistant", before.answer))
        return (*before.task.history, *turns)


def _check_plan(preset: Preset, rehearsal: Rehearsal, limits: Limits) -> None:
    if limits.max_calls is not None and rehearsal.calls > limits.max_calls:
        raise PlanRefused(
            f"Preset {preset.name} needs {rehearsal.calls} calls, and {limits.max_calls} is the limit. "
            "Choose a smaller preset, or raise limits.max_calls in the configuration file."
        )
