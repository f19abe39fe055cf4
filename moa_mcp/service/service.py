"""The service: what a caller can ask of moa-mcp, whoever carries the request here.

It checks a request, plans it, and hands it to the desk. No MCP, no terminal, no files.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from math import ceil

import anyio
import anyio.to_thread

from moa_mcp.config.settings import LiveSettings
from moa_mcp.domain.errors import InvalidRequest, MissingKey, PlanRefused
from moa_mcp.domain.model import Message, Output, Run, Task
from moa_mcp.domain.preset import Limits, Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.domain.text import clean, repair
from moa_mcp.flows.mixture import mixture
from moa_mcp.flows.planning.dry_run import Rehearsal, rehearse
from moa_mcp.prompts.panel import with_context
from moa_mcp.providers.budget import Drawn, Reservation
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.wrappers.retrying import Allowance
from moa_mcp.runs.live_run import LiveRun
from moa_mcp.runs.runner import Listener
from moa_mcp.runs.scheduler import Desk
from moa_mcp.service.catalog import Catalog
from moa_mcp.service.configure.editor import Change, ChangeRequest, ChangeResult, Changes
from moa_mcp.store.base import RunStore
from moa_mcp.store.daily_budget import Wanted

LOCAL = "local"
"""The owner of everything where there is only one person: the terminal, stdio, Python."""

LONGEST_QUESTION = 1024 * 1024
"""Bytes of UTF-8 that a question with its context may have."""

REMEMBERED_SECONDS = 600.0
"""How long the same question gets the same answer without being paid for again."""

WAITED_DEADLINES = 8
"""A run's reservation holds for as many of its deadlines: it may have to wait for its turn first."""

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
    """What a request would do, before anything is sent: the calls, their rounds, the price if it is known.

    `missing` is why it cannot be sent as things are: keys that are not set.
    """

    preset: Preset
    task: Task
    limits: Limits
    notes: tuple[str, ...]
    rehearsal: Rehearsal
    cost_usd: float | None
    missing: MissingKey | None = None


@dataclass(slots=True)
class Service:
    """Ask, collect, cancel, list presets, configure."""

    settings: LiveSettings
    catalog: Catalog
    changes: Changes
    registry: Registry
    store: RunStore
    desk: Desk
    starting: dict[str, anyio.Lock] = field(default_factory=dict[str, anyio.Lock])
    preset_watchers: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    async def plan(self, request: Request, owner: str = LOCAL) -> Plan:
        """Check a request and lay out its calls; nothing is sent, so no key is needed.

        Raises:
            InvalidRequest, UnknownPreset, InvalidPreset, UnknownRun, PlanRefused: as named.
        """
        preset, notes = await self._preset(request.preset)
        task = await self._task(request, owner)
        missing = self._missing_key(preset)
        ceilings = (self.settings().limits.per_run, preset.limits, request.limits)
        rehearsal = rehearse(mixture(task, preset))
        cost = self.catalog.estimated_cost(rehearsal)
        _check_plan(preset, rehearsal, cost, ceilings)
        limits = reduce(Limits.lowered_by, ceilings)
        return Plan(preset, task, limits, (*self._warnings(), *notes), rehearsal, cost, missing)

    def _missing_key(self, preset: Preset) -> MissingKey | None:
        try:
            self.registry.check(preset.required_models)
        except MissingKey as error:
            return error
        return None

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
        raises, and MissingKey, OverBudget and Busy.
        """
        plan = await self.plan(request, owner)
        if plan.missing is not None:
            raise plan.missing
        found = await self._found_or_started(_run_of(plan, owner), plan, fresh=request.fresh)
        if isinstance(found, LiveRun):
            return await self.desk.wait(found, wait_seconds, listener)
        if found.status == "completed":
            return replace(await self.desk.hand_over(found), cached=True)
        return await self.collect(found.run_id, owner=owner, wait_seconds=wait_seconds, listener=listener)

    async def _found_or_started(self, run: Run, plan: Plan, *, fresh: bool) -> Run | LiveRun:
        """The run, started, or (unless it is to be `fresh`) the one that stands for it, wherever that goes on."""
        needs = _needs(plan.rehearsal, plan.cost_usd, plan.rehearsal.calls)
        wanted = self._wanted(run, needs, self._first(plan), is_free=plan.cost_usd == 0)
        # One of a kind at a time: whoever asks the same a moment later joins the run of the first.
        async with self._turn_to_start(run.key):
            if fresh:
                return await self.desk.start(run, wanted)
            live = await self.desk.same(run.owner, run.key)
            return live or await self.desk.start(run, wanted, run.created_at - REMEMBERED_SECONDS)

    @asynccontextmanager
    async def _turn_to_start(self, key: str) -> AsyncGenerator[None]:
        lock = self.starting.setdefault(key, anyio.Lock(fast_acquire=True))
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self.starting.pop(key, None)

    def _first(self, plan: Plan) -> Drawn:
        """What the calls of a plan draw on the day that are sent at once."""
        drawn = Drawn(plan.rehearsal.calls)
        first = (call for call in plan.rehearsal.first if call.kind != "code")
        drawn.announce(Reservation.wanted_by(call, self.registry.rates(call.model)) for call in first)
        return drawn

    def _wanted(self, run: Run, needs: Spend, first: Drawn, *, is_free: bool = False) -> Wanted:
        """What a run asks of the day: its plan, with what may be asked again; it asks for more when it needs that.

        Of what its plan does not tell, it asks for as much as its ceiling is.
        """
        ceilings, limits = self.settings().limits, run.limits
        most = Spend(
            limits.max_calls or ceilings.max_calls,
            limits.max_tokens or ceilings.max_tokens,
            0.0 if is_free else limits.max_cost_usd or ceilings.max_cost_usd,
        )
        most = most.beyond(Spend.on(run.sent))
        planned = max(1, needs.calls)
        share = 1 + Allowance.of(planned).left / planned
        tokens, usd = ceil(needs.tokens * share), needs.usd * share
        likely = Spend(ceil(planned * share), tokens or most.tokens, usd or most.usd)
        at_most = likely.at_least(first.wanted()).at_most(most)
        cap = Spend(ceilings.max_calls_per_day, ceilings.max_tokens_per_day, ceilings.max_cost_usd_per_day)
        # A run may have to wait for its turn behind all the others, each of which has its deadline.
        until = time.time() + WAITED_DEADLINES * (limits.deadline_seconds or ceilings.deadline_seconds)
        return Wanted(run.owner, run.run_id, needs, at_most, cap, until, first.sent)

    async def collect(
        self,
        run_id: str,
        *,
        owner: str = LOCAL,
        wait_seconds: float | None = None,
        listener: Listener | None = None,
    ) -> Run:
        """The run of that id: waited on as in `ask` while it goes on, resumed if it was interrupted.

        Each time it is resumed it has its deadline anew: what it lacks takes as long as it takes.

        Raises:
            UnknownRun: the owner has none of that id.
            Busy, OverBudget: it was interrupted, and there is no room or no money for it now.
        """
        end = None if wait_seconds is None else anyio.current_time() + wait_seconds
        while True:
            live = self.desk.find(owner, run_id)
            if live is None or not await live.goes_on():
                live = await self._resumed(owner, run_id)
            left = None if end is None else max(0.0, end - anyio.current_time())
            if live is not None:
                return await self.desk.wait(live, left, listener)
            run = await self.desk.collect(owner, run_id)
            if run.status != "running":  # if it is interrupted, the store would not give it to us
                return await self.desk.hand_over(run)
            run = await self._of_a_sibling(run_id, owner, left)
            if run.status != "interrupted" or left == 0:
                return await self.desk.hand_over(run)

    async def _resumed(self, owner: str, run_id: str) -> LiveRun | None:
        """The run, going on again, if it was interrupted and nobody else has taken it over."""
        async with self._turn_to_start(run_id):
            run = await self.desk.collect(owner, run_id)
            if run.status != "interrupted":
                return self.desk.find(owner, run_id)
            rehearsal = rehearse(mixture(run.task, run.plan))
            cost = self.catalog.estimated_cost(rehearsal)
            left = max(1, rehearsal.calls - replace(run, abandoned=()).calls_made)
            needs = _needs(rehearsal, cost, left)
            return await self.desk.resume(owner, run_id, self._wanted(run, needs, Drawn(left), is_free=cost == 0))

    async def _of_a_sibling(self, run_id: str, owner: str, wait_seconds: float | None) -> Run:
        """A run that is ended, or goes on in another server on the same store: there it can only be looked at."""
        with anyio.move_on_after(wait_seconds):
            # No event reaches us from another process.
            while (run := await self.desk.collect(owner, run_id)).status == "running":  # noqa: ASYNC110
                await anyio.sleep(LOOK_SECONDS)
            return run
        return await self.desk.collect(owner, run_id)

    async def cancel(self, run_id: str, *, owner: str = LOCAL) -> Run:
        """Stop a run with all its calls; one that has ended stays as it is.

        Raises:
            UnknownRun: the owner has none of that id.
            InvalidRequest: it goes on in another server.
        """
        live = self.desk.find(owner, run_id)
        run = await self.desk.stop(live) if live else await self.desk.collect(owner, run_id)
        if run.status == "running":
            raise InvalidRequest(
                f"Run {run_id} goes on in another server on this machine, and only that one can stop it. "
                "Cancel it there, or wait for its end."
            )
        if run.status != "interrupted":
            return run
        await self.store.cancel(owner, run_id)
        return await self.desk.collect(owner, run_id)

    async def runs(self, *, owner: str = LOCAL) -> Sequence[Run]:
        """The owner's runs, newest first."""
        return [self._as_it_is(run) for run in await self.store.list(owner)]

    async def latest(self, *, owner: str = LOCAL) -> Run | None:
        """The run that the owner began, resumed or was given last, or None before there is one."""
        run = await self.store.latest(owner)
        return None if run is None else self._as_it_is(run)

    async def remove(self, run_id: str, *, owner: str = LOCAL) -> None:
        """Forget a run with its drafts. Raises UnknownRun, and InvalidRequest while it goes on."""
        if (await self.desk.collect(owner, run_id)).status == "running":
            raise InvalidRequest(f"Run {run_id} is going on. Cancel it first, or wait for its end.")
        await self.store.remove(owner, run_id)

    def watch_presets(self, watcher: Callable[[], None]) -> None:
        """Let `watcher` hear of every change that is made from here to presets or settings."""
        self.preset_watchers.append(watcher)

    async def propose(self, request: ChangeRequest) -> Change:
        """`Changes.propose` in a thread: other servers may have to be waited for, and runs must not wait with us."""
        return await anyio.to_thread.run_sync(self.changes.propose, request)

    async def apply(self, change: Change) -> ChangeResult:
        """`Changes.apply` in a thread, for the same reason; then whoever watches is told."""
        result = await anyio.to_thread.run_sync(self.changes.apply, change)
        for watcher in self.preset_watchers:
            watcher()
        return result

    def _as_it_is(self, run: Run) -> Run:
        live = self.desk.find(run.owner, run.run_id)
        return live.now() if live else run

    def _warnings(self) -> tuple[str, ...]:
        problem = self.settings.problem
        return (f"{problem} Until it is mended, what the file said before (or the defaults) hold.",) if problem else ()

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
        known = self.desk.memory.of(owner)
        return Task(question, system, history, request.output, seed, known, self.settings().embeddings)

    async def _continued(self, run_id: str | None, owner: str) -> tuple[Message, ...]:
        if run_id is None:
            return ()
        before = await self.desk.collect(owner, run_id)
        if before.answer is None:
            raise InvalidRequest(f"Run {run_id} has no answer to continue from (it is {before.status}).")
        turns = (Message("user", before.task.question), Message("assistant", clean(before.answer)))
        return (*before.task.history, *turns)


def _run_of(plan: Plan, owner: str) -> Run:
    return Run(
        run_id=secrets.token_hex(16),
        preset=plan.preset.name,
        plan=plan.preset,
        task=plan.task,
        notes=plan.notes,
        created_at=time.time(),
        owner=owner,
        key=_key(plan),
        limits=plan.limits,
        planned_calls=plan.rehearsal.calls,
    )


def _needs(rehearsal: Rehearsal, cost_usd: float | None, calls: int) -> Spend:
    """What so many of the rehearsed calls come to; no dollars where their price is not known."""
    share = calls / max(1, rehearsal.calls)
    tokens = ceil((rehearsal.input_tokens + rehearsal.output_tokens) * share)
    return Spend(calls, tokens, (cost_usd or 0.0) * share)


def _key(plan: Plan) -> str:
    """What is the same for the same question, preset and parameters; the run's seed is not among them."""
    task = plan.task
    asked = [task.question, task.system, [(turn.speaker, turn.text) for turn in task.history], task.output]
    text = json.dumps([*asked, plan.preset.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


_WHOSE = ("in the configuration file", "of the preset", "of the request")
"""Where the ceilings of a run come from, in the order in which they are combined."""


def _check_plan(preset: Preset, rehearsal: Rehearsal, cost_usd: float | None, ceilings: Sequence[Limits]) -> None:
    """Make sure that a plan fits all its ceilings. Raises PlanRefused, with the arithmetic."""
    read, written = rehearsal.input_tokens, rehearsal.output_tokens
    for limits, whose in zip(ceilings, _WHOSE, strict=True):
        if limits.max_calls is not None and rehearsal.calls > limits.max_calls:
            raise _refused(preset, f"{rehearsal.calls} calls", f"{limits.max_calls}", f"max_calls {whose}")
        if limits.max_tokens is not None and read + written > limits.max_tokens:
            needs = f"about {read:,} tokens in and {written:,} out over {rehearsal.calls} calls"
            raise _refused(preset, needs, f"{limits.max_tokens:,}", f"max_tokens {whose}")
        if limits.max_cost_usd is not None and cost_usd is not None and cost_usd > limits.max_cost_usd:
            needs = f"about ${cost_usd:.4f} ({rehearsal.calls} calls, {read:,} tokens in and {written:,} out)"
            raise _refused(preset, needs, f"${limits.max_cost_usd:g}", f"max_cost_usd {whose}")


def _refused(preset: Preset, needs: str, most: str, limit: str) -> PlanRefused:
    return PlanRefused(
        f"Preset {preset.name} needs {needs}, and {most} is the limit. Choose a smaller preset, or raise {limit}."
    )
