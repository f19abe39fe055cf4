"""The service: what a caller can ask of moa-mcp, whoever carries the request here.

It checks a request, plans it, and hands it to the desk. No MCP, no terminal, no files.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio

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
from moa_mcp.service.desk import Desk
from moa_mcp.settings import LiveSettings
from moa_mcp.store.base import RunStore
from moa_mcp.text import repair

LOCAL = "local"
"""The owner of everything where there is only one person: the terminal, stdio, Python."""

LONGEST_QUESTION = 1024 * 1024
"""Bytes of UTF-8 that a question with its context may have."""

REMEMBERED_SECONDS = 600.0
"""How long the same question gets the same answer without being paid for again."""

LOOK_SECONDS = 0.5
"""How often a run of another server is looked at while somebody waits for it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    `preset` is a name, a Preset made by hand, or None for the default. Ceilings may only lower the settings'.
    `fresh` asks anew what was asked before.
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
    fresh: bool = False

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

    settings: LiveSettings
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
        limits = self.settings().limits.per_run.lowered_by(preset.limits).lowered_by(request.limits)
        rehearsal = rehearse(mixture(task, preset))
        _check_plan(preset, rehearsal, limits)
        cost = self.catalog.estimated_cost(rehearsal)
        return Plan(preset, task, limits, (*self._warnings(), *notes), rehearsal, cost)

    async def ask(
        self,
        request: Request,
        *,
        owner: str = LOCAL,
        wait_seconds: float | None = None,
        listener: Listener | None = None,
    ) -> Run:
        """Ask and wait for the end, or for `wait_seconds`: then the run comes back as it is and goes on.

        What the owner asked before in the same words is not paid for again: a run that is going on is joined,
        an interrupted one resumed, and a young answer comes back as it is, marked `cached`. Raises what `plan`
        raises, and Busy.
        """
        plan = await self.plan(request, owner)
        key = _key(plan)
        if not request.fresh:
            if live := self.desk.same(owner, key):
                return await self.desk.wait(live, wait_seconds, listener)
            before = await self.store.find(owner, key, time.time() - REMEMBERED_SECONDS)
            if before and before.status == "completed":
                return replace(before, cached=True)
            if before and before.status == "interrupted":
                return await self.collect(
                    before.run_id, owner=owner, wait_seconds=wait_seconds, listener=listener
                )
        live = await self.desk.start(_run_of(plan, owner, key))
        return await self.desk.wait(live, wait_seconds, listener)

    async def collect(
        self,
        run_id: str,
        *,
        owner: str = LOCAL,
        wait_seconds: float | None = None,
        listener: Listener | None = None,
    ) -> Run:
        """The run of that id: waited on as in `ask` while it goes on, resumed if it was interrupted.

        Raises:
            UnknownRun: the owner has none of that id.
            Busy: it was interrupted and there is no room for it now.
        """
        live = self.desk.find(owner, run_id)
        if live is None and (await self.desk.collect(owner, run_id)).status == "interrupted":
            live = await self.desk.resume(owner, run_id)
        if live is not None:
            return await self.desk.wait(live, wait_seconds, listener)
        return await self._of_a_sibling(run_id, owner, wait_seconds)

    async def _of_a_sibling(self, run_id: str, owner: str, wait_seconds: float | None) -> Run:
        """A run that is ended, or goes on in another server on the same store: there it can only be looked at."""
        with anyio.move_on_after(wait_seconds):
            while (run := await self.desk.collect(owner, run_id)).status == "running":
                await anyio.sleep(LOOK_SECONDS)
            return run
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

    def _warnings(self) -> tuple[str, ...]:
        problem = self.settings.problem
        return (
            (f"{problem} Until it is mended, what the file said before (or the defaults) hold.",)
            if problem
            else ()
        )

    async def _preset(self, wanted: str | Preset | None) -> tuple[Preset, Sequence[str]]:
        return (wanted, ()) if isinstance(wanted, Preset) else await self.catalog.resolve(wanted)

    async def _task(self, request: Request, owner: str) -> Task:
        if not request.question.strip():
            raise InvalidRequest("The question is empty. Say what the panel should answer.")
        question = repair(with_context(request.question, request.context))
        if len(question.encode("utf-8", "replace")) > LONGEST_QUESTION:
            raise InvalidRequest(
                f"The question with its context is longer than {LONGEST_QUESTION:,} bytes. "
                "Shorten it, or ask about one part at a time."
            )
        own = (Message(turn.speaker, repair(turn.text)) for turn in request.history)
        history = (*await self._continued(request.continue_from, owner), *own)
        seed = secrets.randbits(64)
        system = repair(request.system) if request.system else None
        return Task(question, system, history, request.output, seed, self.desk.memory.of(owner))

    async def _continued(self, run_id: str | None, owner: str) -> tuple[Message, ...]:
        if run_id is None:
            return ()
        before = await self.desk.collect(owner, run_id)
        if before.answer is None:
            raise InvalidRequest(f"Run {run_id} has no answer to continue from (it is {before.status}).")
        turns = (Message("user", before.task.question), Message("assistant", before.answer))
        return (*before.task.history, *turns)


def _run_of(plan: Plan, owner: str, key: str) -> Run:
    return Run(
        run_id=secrets.token_hex(16),
        preset=plan.preset.name,
        plan=plan.preset,
        task=plan.task,
        notes=plan.notes,
        created_at=time.time(),
        owner=owner,
        key=key,
        limits=plan.limits,
    )


def _key(plan: Plan) -> str:
    """What is the same for the same question, preset and parameters; the run's seed is not among them."""
    task = plan.task
    asked = [task.question, task.system, [(turn.speaker, turn.text) for turn in task.history], task.output]
    text = json.dumps([*asked, plan.preset.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_plan(preset: Preset, rehearsal: Rehearsal, limits: Limits) -> None:
    if limits.max_calls is not None and rehearsal.calls > limits.max_calls:
        raise PlanRefused(
            f"Preset {preset.name} needs {rehearsal.calls} calls, and {limits.max_calls} is the limit. "
            "Choose a smaller preset, or raise limits.max_calls in the configuration file."
        )
