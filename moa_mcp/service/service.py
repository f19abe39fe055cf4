"""The service: the operations of moa-mcp, independent of the transport.

It checks a request, plans it, and passes it to the scheduler. It knows no MCP, no terminal and no files.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from math import ceil

import anyio
import anyio.to_thread

from moa_mcp.config.plugins import version_changes, versions_used
from moa_mcp.config.settings import LimitSettings, LiveSettings, Settings
from moa_mcp.domain.errors import InvalidRequest, MissingKey
from moa_mcp.domain.model import CodeCall, Message, Run, Task
from moa_mcp.domain.preset import Limits, Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.domain.text import fix_surrogates, strip_invisible
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import DryRun, dry_run
from moa_mcp.prompts.panel import user_turn
from moa_mcp.providers.budget import Outlay, Reservation
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.wrappers.retrying import RetryBudget
from moa_mcp.runs.events import EventHandler
from moa_mcp.runs.live_run import LiveRun
from moa_mcp.runs.scheduler import RunScheduler
from moa_mcp.service.ask_request import AskRequest as AskRequest
from moa_mcp.service.ask_request import request_key
from moa_mcp.service.catalog import Catalog
from moa_mcp.service.ceilings import check_plan, daily_limit, unknown_price_note
from moa_mcp.service.configure.editor import Change, ChangeRequest, ChangeResult, ConfigEditor
from moa_mcp.store.base import RunStore
from moa_mcp.store.daily_budget import ReservationRequest

LOCAL = "local"
"""The owner of all runs where there is only one user: the terminal, stdio and the Python API."""

RUNS_LISTED = 50
"""The default length of a list of runs."""

MAX_QUESTION_BYTES = 1024 * 1024
"""The maximum size of a question with its context, in bytes of UTF-8."""

REUSE_ANSWER_SECONDS = 600.0
"""How long, in seconds, a repeated question gets the stored answer instead of a new, paid run."""

MAX_WAITED_DEADLINES = 8
"""A reservation is valid for this many deadlines of its run, because the run may first wait for other runs."""

POLL_SECONDS = 0.5
"""The interval, in seconds, at which the store is read while a caller waits for a run of another server."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The calls, rounds and price (if known) of a request, computed before anything is sent.

    `ceilings` are the limits of the settings at planning time. `missing` is set if a required key is not set, so
    the request cannot be sent.
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
        """Check a request and plan its calls. It sends nothing, so it needs no key.

        Raises:
            InvalidRequest: the question is empty or too long, or `continue_from` has no answer.
            UnknownPreset, InvalidPreset: the preset does not exist, or is broken.
            UnknownRun: the owner has no run with the id `continue_from`.
            PlanRefused: the plan exceeds a limit.
        """
        settings = self.settings()
        preset, notes = await self._preset(request.preset, settings)
        if request.on_partial is not None:
            preset = preset.model_copy(update={"on_partial": request.on_partial})
        task = await self._task(request, owner, settings)
        missing = self._missing_key(preset)
        ceilings = (settings.limits.per_run, preset.limits, request.limits)
        planned = dry_run(ask_panel(task, preset))
        cost = self.catalog.estimated_cost(planned)
        unpriced = self.catalog.unpriced(call.model for call in planned.planned_calls)
        check_plan(preset, planned, cost, unpriced, ceilings)
        limits = reduce(Limits.lowered_by, ceilings)
        notes = (*self._warnings(), *notes, *([unknown_price_note(unpriced, limits)] if unpriced else ()))
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
        """Ask, and wait until the run ends or `wait_seconds` have passed. In the second case the run continues.

        A repeated question of the same owner is not paid for again: the caller joins a running run, resumes an
        interrupted one, or gets a recent answer marked `cached`. Raises the errors of `plan`, and MissingKey,
        OverBudget and Busy.
        """
        plan = await self.plan(request, owner)
        if plan.missing is not None:
            raise plan.missing
        run = self._new_run(request, plan, owner)
        found = await self._find_or_start(run, plan, fresh=request.fresh)
        if isinstance(found, LiveRun):
            return await self.scheduler.wait(found, wait_seconds, handler)
        if found.status == "completed":
            return replace(await self.scheduler.hand_over(found), cached=True)
        return await self.collect(found.run_id, owner=owner, wait_seconds=wait_seconds, handler=handler)

    def _new_run(self, request: AskRequest, plan: Plan, owner: str) -> Run:
        rates = ((model, self.registry.rates(model)) for model in plan.preset.models)
        return Run(
            run_id=secrets.token_hex(16),
            preset=plan.preset.name,
            plan=plan.preset,
            task=plan.task,
            notes=plan.notes,
            created_at=time.time(),
            owner=owner,
            key=request_key(request, plan.task, plan.preset),
            limits=plan.limits,
            planned_calls=plan.dry_run.calls,
            plugins=self._plugins(plan.preset, plan.task),
            prices={model: known.output_per_token for model, known in rates if known is not None},
        )

    async def _find_or_start(self, run: Run, plan: Plan, *, fresh: bool) -> Run | LiveRun:
        """Start the run, or (unless `fresh`) return a run with the same key, also one of another server."""
        needs = _spend_of(plan.dry_run, plan.cost_usd, plan.dry_run.calls)
        request = self._reservation_request(
            run, needs, self._first_draw(plan), plan.ceilings, is_free=plan.cost_usd == 0
        )
        # One start per key at a time: a second caller with the same question must find and join the first run.
        async with self._start_lock(run.key):
            if fresh:
                return await self.scheduler.start(run, request)
            live = await self.scheduler.find_by_key(run.owner, run.key)
            return live or await self.scheduler.start(run, request, run.created_at - REUSE_ANSWER_SECONDS)

    @asynccontextmanager
    async def _start_lock(self, key: str) -> AsyncGenerator[None]:
        lock = self.starting.setdefault(key, anyio.Lock(fast_acquire=True))
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self.starting.pop(key, None)

    def _first_draw(self, plan: Plan) -> Outlay:
        """What the first calls of a plan, which are sent at once, draw from the daily budget."""
        outlay = Outlay(plan.dry_run.calls)
        first = (call for call in plan.dry_run.first if not isinstance(call, CodeCall))
        outlay.announce(Reservation.for_call(call, self.registry.rates(call.model)) for call in first)
        return outlay

    def _reservation_request(
        self, run: Run, needs: Spend, first: Outlay, ceilings: LimitSettings, *, is_free: bool = False
    ) -> ReservationRequest:
        """What a run reserves from the daily budget: its planned calls and a factor for retries.

        Where the plan gives no number, it reserves up to the limit. A run can reserve more later.
        """
        limits = run.limits
        maximum = Spend(
            limits.max_calls or ceilings.max_calls,
            limits.max_tokens or ceilings.max_tokens,
            0.0 if is_free else limits.max_cost_usd or ceilings.max_cost_usd,
        )
        maximum = maximum.beyond(Spend.on(run.sent))
        planned = max(1, needs.calls)
        factor = 1 + RetryBudget.for_plan(planned).left / planned
        tokens, usd = ceil(needs.tokens * factor), needs.usd * factor
        likely = Spend(ceil(planned * factor), tokens or maximum.tokens, usd or maximum.usd)
        at_most = likely.at_least(first.wanted()).at_most(maximum)
        # A run may first have to wait for other runs, each of which can take its full deadline.
        valid_until = time.time() + MAX_WAITED_DEADLINES * (limits.deadline_seconds or ceilings.deadline_seconds)
        return ReservationRequest(run.owner, run.run_id, needs, at_most, daily_limit(ceilings), valid_until, first.sent)

    async def collect(
        self,
        run_id: str,
        *,
        owner: str = LOCAL,
        wait_seconds: float | None = None,
        handler: EventHandler | None = None,
    ) -> Run:
        """Return the run with that id. Waits for it as `ask` does, and resumes it if it was interrupted.

        Each resume starts a new deadline, because the remaining calls need their full time.

        Raises:
            UnknownRun: the owner has no run with that id.
            Busy, OverBudget: the run was interrupted, and there is no free place or no budget to resume it.
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
            if run.status != "running":  # still interrupted: the store did not let us resume it
                return await self.scheduler.hand_over(run)
            run = await self._wait_elsewhere(run_id, owner, left)
            if run.status != "interrupted" or left == 0:
                return await self.scheduler.hand_over(run)

    async def _resume(self, owner: str, run_id: str) -> LiveRun | None:
        """Resume the run if it was interrupted and unclaimed. None if this server does not execute it."""
        async with self._start_lock(run_id):
            run = await self.scheduler.get_run(owner, run_id)
            if run.status != "interrupted":
                return self.scheduler.find(owner, run_id)
            planned = dry_run(ask_panel(run.task, run.plan))
            cost = self.catalog.estimated_cost(planned)
            left = max(1, planned.calls - replace(run, abandoned=()).calls_made)
            needs = _spend_of(planned, cost, left)
            return await self.scheduler.resume(
                owner,
                run_id,
                self._reservation_request(run, needs, Outlay(left), self.settings().limits, is_free=cost == 0),
                version_changes(run.plugins, self._plugins(run.plan, run.task)),
            )

    def _plugins(self, preset: Preset, task: Task) -> dict[str, str]:
        models = preset.models if task.embeddings is None else (*preset.models, task.embeddings)
        return versions_used(preset, self.registry.dialects_of(models))

    async def _wait_elsewhere(self, run_id: str, owner: str, wait_seconds: float | None) -> Run:
        """Poll the store until a run of another server on the same store ends, or the wait is over."""
        with anyio.move_on_after(wait_seconds):
            # Another process sends us no events.
            while (run := await self.scheduler.get_run(owner, run_id)).status == "running":  # noqa: ASYNC110
                await anyio.sleep(POLL_SECONDS)
            return run
        return await self.scheduler.get_run(owner, run_id)

    async def cancel(self, run_id: str, *, owner: str = LOCAL) -> Run:
        """Stop a run with all its calls. A run that has ended is not changed.

        Raises:
            UnknownRun: the owner has no run with that id.
            InvalidRequest: another server executes the run.
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
        """The owner's newest runs, newest first. `store.count` gives the total number."""
        return [self._with_live_state(run) for run in await self.store.list(owner, limit)]

    async def latest(self, *, owner: str = LOCAL) -> Run | None:
        """The run that the owner started, resumed or received last. None if there is no run."""
        run = await self.store.latest(owner)
        return None if run is None else self._with_live_state(run)

    async def remove(self, run_id: str, *, owner: str = LOCAL) -> None:
        """Delete a run with its drafts. Raises UnknownRun, and InvalidRequest while it is running."""
        if (await self.scheduler.get_run(owner, run_id)).status == "running":
            raise InvalidRequest(f"Run {run_id} is going on. Cancel it first, or wait for its end.")
        await self.store.remove(owner, run_id)

    def add_preset_handler(self, handler: Callable[[], None]) -> None:
        """Call `handler` after each change to presets or settings that this service makes."""
        self.preset_handlers.append(handler)

    async def propose(self, request: ChangeRequest) -> Change:
        """Run `ConfigEditor.propose` in a thread: it may wait for another server's lock, and must not block runs."""
        return await anyio.to_thread.run_sync(self.editor.propose, request)

    async def apply(self, change: Change) -> ChangeResult:
        """Run `ConfigEditor.apply` in a thread, as `propose` does, then call the preset handlers."""
        result = await anyio.to_thread.run_sync(self.editor.apply, change)
        for handler in self.preset_handlers:
            handler()
        return result

    def _with_live_state(self, run: Run) -> Run:
        live = self.scheduler.find(run.owner, run.run_id)
        return live.snapshot() if live else run

    def _warnings(self) -> tuple[str, ...]:
        problem = self.settings.problem
        return (f"{problem} Until it is mended, what the file said before (or the defaults) hold.",) if problem else ()

    async def _preset(self, preset: str | Preset | None, settings: Settings) -> tuple[Preset, Sequence[str]]:
        return (preset, ()) if isinstance(preset, Preset) else await self.catalog.resolve(preset, settings)

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
        earlier = await self.scheduler.get_run(owner, run_id)
        if earlier.answer is None:
            raise InvalidRequest(f"Run {run_id} has no answer to continue from (it is {earlier.status}).")
        turns = (Message("user", user_turn(earlier.task)), Message("assistant", strip_invisible(earlier.answer)))
        return (*earlier.task.history, *turns)


def _spend_of(planned: DryRun, cost_usd: float | None, calls: int) -> Spend:
    """The spend of `calls` of the planned calls, in proportion. USD is 0 if the price is unknown."""
    share = calls / max(1, planned.calls)
    tokens = ceil((planned.input_tokens + planned.output_tokens) * share)
    return Spend(calls, tokens, (cost_usd or 0.0) * share)
