"""The service: what a caller can ask of moa-mcp, whoever carries the request here.

It checks a request, plans it, and hands it to the scheduler. No MCP, no terminal, no files.
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

from moa_mcp.config.settings import LimitSettings, LiveSettings, Settings
from moa_mcp.domain.errors import InvalidRequest, MissingKey
from moa_mcp.domain.model import CodeCall, Message, Output, Run, Task
from moa_mcp.domain.preset import Limits, Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.domain.text import fix_surrogates, strip_invisible
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import DryRun, dry_run
from moa_mcp.prompts.panel import user_turn
from moa_mcp.providers.budget import Drawn, Reservation
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.wrappers.retrying import RetryBudget
from moa_mcp.runs.events import EventHandler
from moa_mcp.runs.live_run import LiveRun
from moa_mcp.runs.scheduler import RunScheduler
from moa_mcp.service.catalog import Catalog
from moa_mcp.service.ceilings import check_plan
from moa_mcp.service.configure.editor import Change, ChangeRequest, ChangeResult, ConfigEditor
from moa_mcp.store.base import RunStore
from moa_mcp.store.daily_budget import ReservationRequest

LOCAL = "local"
"""The owner of everything where there is only one person: the terminal, stdio, Python."""

RUNS_LISTED = 50
"""How many runs a list of them shows unless more are asked for."""

MAX_QUESTION_BYTES = 1024 * 1024
"""Bytes of UTF-8 that a question with its context may have."""

REUSE_ANSWER_SECONDS = 600.0
"""How long the same question gets the same answer without being paid for again."""

MAX_WAITED_DEADLINES = 8
"""A run's reservation holds for as many of its deadlines: it may have to wait for its turn first."""

POLL_SECONDS = 0.5
"""How often a run of another server is looked at while somebody waits for it."""


@dataclass(frozen=True, slots=True)
class AskRequest:
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

    `ceilings` are the limits of the settings that it was planned under. `missing` is why it cannot be sent as
    things are: keys that are not set.
    """

    preset: Preset
    task: Task
    limits: Limits
    notes: tuple[str, ...]
    dry_run: DryRun
    cost_usd: float | None
    ceilings: LimitSettings
    missing: MissingKey | None = None


@dataclass(slots=True)
class Service:
    """Ask, collect, cancel, list presets, configure."""

    settings: LiveSettings
    catalog: Catalog
    editor: ConfigEditor
    registry: Registry
    store: RunStore
    scheduler: RunScheduler
    starting: dict[str, anyio.Lock] = field(default_factory=dict[str, anyio.Lock])
    preset_handlers: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    async def plan(self, request: AskRequest, owner: str = LOCAL) -> Plan:
        """Check a request and lay out its calls; nothing is sent, so no key is needed.

        Raises:
            InvalidRequest, UnknownPreset, InvalidPreset, UnknownRun, PlanRefused: as named.
        """
        settings = self.settings()
        preset, notes = await self._preset(request.preset, settings)
        task = await self._task(request, owner, settings)
        missing = self._missing_key(preset)
        ceilings = (settings.limits.per_run, preset.limits, request.limits)
        planned = dry_run(ask_panel(task, preset))
        cost = self.catalog.estimated_cost(planned)
        check_plan(preset, planned, cost, ceilings)
        limits = reduce(Limits.lowered_by, ceilings)
        notes = (*self._warnings(), *notes)
        return Plan(preset, task, limits, notes, planned, cost, settings.limits, missing)

    def _missing_key(self, preset: Preset) -> MissingKey | None:
        try:
            self.registry.check_usable(preset.required_models)
        except MissingKey as error:
            return error
        return None

    async def ask(
        self,
        request: AskRequest,
        *,
        owner: str = LOCAL,
        wait_seconds: float | None = None,
        handler: EventHandler | None = None,
    ) -> Run:
        """Ask and wait for the end, or for `wait_seconds`: then the run comes back as it is and goes on.

        What the owner asked before in the same words is not paid for again: a run that is going on is joined,
        an interrupted one resumed, and a young answer comes back as it is, marked `cached`. Raises what `plan`
        raises, and MissingKey, OverBudget and Busy.
        """
        plan = await self.plan(request, owner)
        if plan.missing is not None:
            raise plan.missing
        found = await self._find_or_start(_run_of(plan, owner), plan, fresh=request.fresh)
        if isinstance(found, LiveRun):
            return await self.scheduler.wait(found, wait_seconds, handler)
        if found.status == "completed":
            return replace(await self.scheduler.hand_over(found), cached=True)
        return await self.collect(found.run_id, owner=owner, wait_seconds=wait_seconds, handler=handler)

    async def _find_or_start(self, run: Run, plan: Plan, *, fresh: bool) -> Run | LiveRun:
        """The run, started, or (unless it is to be `fresh`) the one that stands for it, wherever that goes on."""
        needs = _needed(plan.dry_run, plan.cost_usd, plan.dry_run.calls)
        wanted = self._reservation_request(run, needs, self._first(plan), plan.ceilings, is_free=plan.cost_usd == 0)
        # One of a kind at a time: whoever asks the same a moment later joins the run of the first.
        async with self._start_lock(run.key):
            if fresh:
                return await self.scheduler.start(run, wanted)
            live = await self.scheduler.find_by_key(run.owner, run.key)
            return live or await self.scheduler.start(run, wanted, run.created_at - REUSE_ANSWER_SECONDS)

    @asynccontextmanager
    async def _start_lock(self, key: str) -> AsyncGenerator[None]:
        lock = self.starting.setdefault(key, anyio.Lock(fast_acquire=True))
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self.starting.pop(key, None)

    def _first(self, plan: Plan) -> Drawn:
        """What the calls of a plan draw on the day that are sent at once."""
        drawn = Drawn(plan.dry_run.calls)
        first = (call for call in plan.dry_run.first if not isinstance(call, CodeCall))
        drawn.announce(Reservation.for_call(call, self.registry.rates(call.model)) for call in first)
        return drawn

    def _reservation_request(
        self, run: Run, needs: Spend, first: Drawn, ceilings: LimitSettings, *, is_free: bool = False
    ) -> ReservationRequest:
        """What a run asks of the day: its plan, with what may be asked again; it asks for more when it needs that.

        Of what its plan does not tell, it asks for as much as its ceiling is.
        """
        limits = run.limits
        most = Spend(
            limits.max_calls or ceilings.max_calls,
            limits.max_tokens or ceilings.max_tokens,
            0.0 if is_free else limits.max_cost_usd or ceilings.max_cost_usd,
        )
        most = most.beyond(Spend.on(run.sent))
        planned = max(1, needs.calls)
        share = 1 + RetryBudget.for_plan(planned).left / planned
        tokens, usd = ceil(needs.tokens * share), needs.usd * share
        likely = Spend(ceil(planned * share), tokens or most.tokens, usd or most.usd)
        at_most = likely.at_least(first.wanted()).at_most(most)
        cap = Spend(ceilings.max_calls_per_day, ceilings.max_tokens_per_day, ceilings.max_cost_usd_per_day)
        # A run may have to wait for its turn behind all the others, each of which has its deadline.
        until = time.time() + MAX_WAITED_DEADLINES * (limits.deadline_seconds or ceilings.deadline_seconds)
        return ReservationRequest(run.owner, run.run_id, needs, at_most, cap, until, first.sent)

    async def collect(
        self,
        run_id: str,
        *,
        owner: str = LOCAL,
        wait_seconds: float | None = None,
        handler: EventHandler | None = None,
    ) -> Run:
        """The run of that id: waited on as in `ask` while it goes on, resumed if it was interrupted.

        Each time it is resumed it has its deadline anew: what it lacks takes as long as it takes.

        Raises:
            UnknownRun: the owner has none of that id.
            Busy, OverBudget: it was interrupted, and there is no room or no money for it now.
        """
        end = None if wait_seconds is None else anyio.current_time() + wait_seconds
        while True:
            live = self.scheduler.find(owner, run_id)
            if live is None or not await live.goes_on():
                live = await self._resume(owner, run_id)
            left = None if end is None else max(0.0, end - anyio.current_time())
            if live is not None:
                return await self.scheduler.wait(live, left, handler)
            run = await self.scheduler.get_run(owner, run_id)
            if run.status != "running":  # if it is interrupted, the store would not give it to us
                return await self.scheduler.hand_over(run)
            run = await self._wait_elsewhere(run_id, owner, left)
            if run.status != "interrupted" or left == 0:
                return await self.scheduler.hand_over(run)

    async def _resume(self, owner: str, run_id: str) -> LiveRun | None:
        """The run, going on again, if it was interrupted and nobody else has taken it over."""
        async with self._start_lock(run_id):
            run = await self.scheduler.get_run(owner, run_id)
            if run.status != "interrupted":
                return self.scheduler.find(owner, run_id)
            planned = dry_run(ask_panel(run.task, run.plan))
            cost = self.catalog.estimated_cost(planned)
            left = max(1, planned.calls - replace(run, abandoned=()).calls_made)
            needs = _needed(planned, cost, left)
            return await self.scheduler.resume(
                owner,
                run_id,
                self._reservation_request(run, needs, Drawn(left), self.settings().limits, is_free=cost == 0),
            )

    async def _wait_elsewhere(self, run_id: str, owner: str, wait_seconds: float | None) -> Run:
        """A run that is ended, or goes on in another server on the same store: there it can only be looked at."""
        with anyio.move_on_after(wait_seconds):
            # No event reaches us from another process.
            while (run := await self.scheduler.get_run(owner, run_id)).status == "running":  # noqa: ASYNC110
                await anyio.sleep(POLL_SECONDS)
            return run
        return await self.scheduler.get_run(owner, run_id)

    async def cancel(self, run_id: str, *, owner: str = LOCAL) -> Run:
        """Stop a run with all its calls; one that has ended stays as it is.

        Raises:
            UnknownRun: the owner has none of that id.
            InvalidRequest: it goes on in another server.
        """
        live = self.scheduler.find(owner, run_id)
        run = await self.scheduler.stop(live) if live else await self.scheduler.get_run(owner, run_id)
        if run.status == "running":
            raise InvalidRequest(
                f"Run {run_id} goes on in another server on this machine, and only that one can stop it. "
                "Cancel it there, or wait for its end."
            )
        if run.status != "interrupted":
            return run
        await self.store.cancel(owner, run_id)
        return await self.scheduler.get_run(owner, run_id)

    async def runs(self, *, owner: str = LOCAL, limit: int = RUNS_LISTED) -> Sequence[Run]:
        """The owner's newest runs, the newest first; how many there are in all, `store.count` tells."""
        return [self._current(run) for run in await self.store.list(owner, limit)]

    async def latest(self, *, owner: str = LOCAL) -> Run | None:
        """The run that the owner began, resumed or was given last, or None before there is one."""
        run = await self.store.latest(owner)
        return None if run is None else self._current(run)

    async def remove(self, run_id: str, *, owner: str = LOCAL) -> None:
        """Forget a run with its drafts. Raises UnknownRun, and InvalidRequest while it goes on."""
        if (await self.scheduler.get_run(owner, run_id)).status == "running":
            raise InvalidRequest(f"Run {run_id} is going on. Cancel it first, or wait for its end.")
        await self.store.remove(owner, run_id)

    def add_preset_handler(self, handler: Callable[[], None]) -> None:
        """Let `handler` hear of every change that is made from here to presets or settings."""
        self.preset_handlers.append(handler)

    async def propose(self, request: ChangeRequest) -> Change:
        """`ConfigEditor.propose` in a thread: other servers may have to be waited for, and runs must not wait with
        us.
        """
        return await anyio.to_thread.run_sync(self.editor.propose, request)

    async def apply(self, change: Change) -> ChangeResult:
        """`ConfigEditor.apply` in a thread, for the same reason; then whoever watches is told."""
        result = await anyio.to_thread.run_sync(self.editor.apply, change)
        for handler in self.preset_handlers:
            handler()
        return result

    def _current(self, run: Run) -> Run:
        live = self.scheduler.find(run.owner, run.run_id)
        return live.snapshot() if live else run

    def _warnings(self) -> tuple[str, ...]:
        problem = self.settings.problem
        return (f"{problem} Until it is mended, what the file said before (or the defaults) hold.",) if problem else ()

    async def _preset(self, wanted: str | Preset | None, settings: Settings) -> tuple[Preset, Sequence[str]]:
        return (wanted, ()) if isinstance(wanted, Preset) else await self.catalog.resolve(wanted, settings)

    async def _task(self, request: AskRequest, owner: str, settings: Settings) -> Task:
        if not request.question.strip():
            raise InvalidRequest("The question is empty. Say what the panel should answer.")
        question = fix_surrogates(request.question)
        context = fix_surrogates(request.context) if request.context else None
        if len(f"{context or ''}{question}".encode("utf-8", "replace")) > MAX_QUESTION_BYTES:
            raise InvalidRequest(
                f"The question with its context is longer than {MAX_QUESTION_BYTES:,} bytes. "
                "Shorten it, or ask about one part at a time."
            )
        own = (Message(turn.speaker, fix_surrogates(turn.text)) for turn in request.history)
        history = (*await self._earlier_turns(request.continue_from, owner), *own)
        seed = secrets.randbits(64)
        system = fix_surrogates(request.system) if request.system else None
        known = self.scheduler.learned.known_to(owner)
        return Task(question, system, history, request.output, seed, known, settings.embeddings, context)

    async def _earlier_turns(self, run_id: str | None, owner: str) -> tuple[Message, ...]:
        if run_id is None:
            return ()
        before = await self.scheduler.get_run(owner, run_id)
        if before.answer is None:
            raise InvalidRequest(f"Run {run_id} has no answer to continue from (it is {before.status}).")
        turns = (Message("user", user_turn(before.task)), Message("assistant", strip_invisible(before.answer)))
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
        planned_calls=plan.dry_run.calls,
    )


def _needed(planned: DryRun, cost_usd: float | None, calls: int) -> Spend:
    """What so many of the planned calls come to; no dollars where their price is not known."""
    share = calls / max(1, planned.calls)
    tokens = ceil((planned.input_tokens + planned.output_tokens) * share)
    return Spend(calls, tokens, (cost_usd or 0.0) * share)


def _key(plan: Plan) -> str:
    """What is the same for the same question, preset and parameters; the run's seed is not among them."""
    task = plan.task
    asked = [user_turn(task), task.system, [(turn.speaker, turn.text) for turn in task.history], task.output]
    text = json.dumps([*asked, plan.preset.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
