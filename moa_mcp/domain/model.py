"""The values of a run: messages, calls, drafts, failures, batches, answers and the run itself. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.message import Message as Message
from moa_mcp.domain.message import Speaker as Speaker
from moa_mcp.domain.preset import Limits, Preset
from moa_mcp.domain.results import CodeResult as CodeResult
from moa_mcp.domain.results import Draft as Draft
from moa_mcp.domain.results import Embeddings as Embeddings
from moa_mcp.domain.results import Failure as Failure
from moa_mcp.domain.results import Outcome as Outcome
from moa_mcp.domain.results import Result as Result
from moa_mcp.domain.sampling import Sampling
from moa_mcp.domain.shortfalls import NONE, LostDraft, PanelSummary, Shortfalls, merge_lost, summarize_panel
from moa_mcp.domain.task import Given as Given
from moa_mcp.domain.task import Output as Output
from moa_mcp.domain.task import Task as Task
from moa_mcp.domain.usage import Usage as Usage

CallStatus = Literal["ok", "failed", "cut", "cancelled", "refused"]
RunStatus = Literal["running", "completed", "failed", "cancelled", "interrupted"]

PROPOSER, AGGREGATOR, SAMPLER = "proposer", "aggregator", "sampler"


@dataclass(frozen=True, slots=True)
class DryRunReplies:
    """Two well-formed replies to the same call: one leads to the shortest run, the other to the longest run.

    A dry run answers with them, so that the flow itself gives the bounds on the number of calls. A text becomes a
    draft, an execution the result of a code call.
    """

    least: str | Execution
    most: str | Execution


@dataclass(frozen=True, slots=True)
class _CallFields:
    """The fields of all calls. `id` is the same in each replay of the same run: it is the key of the run's journal.

    `layer` and `slot` count from 1. `messages` are the input. `branches` holds the ids of the branches that
    contain the call, the outermost first. `repeat_of` is the id of the call that this call repeats because the reply
    had the wrong form.
    """

    id: str
    role: str
    layer: int
    slot: int
    model: str
    messages: tuple[Message, ...]
    timeout_seconds: float | None = field(default=None, kw_only=True)
    branches: tuple[str, ...] = field(default=(), kw_only=True)
    repeat_of: str | None = field(default=None, kw_only=True)

    @property
    def parent(self) -> str | None:
        """The id of the innermost branch that contains the call; None in the run's own flow."""
        return self.branches[-1] if self.branches else None

    @property
    def is_repeat(self) -> bool:
        """Whether the call repeats one whose reply had the wrong form. Plans do not count it; it is optional."""
        return self.repeat_of is not None


@dataclass(frozen=True, slots=True)
class ChatCall(_CallFields):
    """A request for a chat completion. A setting that is None is not sent.

    `cache_prefix` asks the provider to store the shared beginning of the messages in its prompt cache, or to read it
    there.
    """

    temperature: float | None = None
    max_tokens: int | None = None
    effort: str | None = None
    sampling: Sampling | None = field(default=None, kw_only=True)
    cache_prefix: bool = field(default=False, kw_only=True)
    kind: Literal["chat"] = field(default="chat", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class EmbedCall(_CallFields):
    """A request for the embeddings of the messages' texts. Its result is `Embeddings`."""

    kind: Literal["embedding"] = field(default="embedding", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class CodeCall(_CallFields):
    """A program for the sandbox, as JSON in its message. Its result is a `CodeResult`. No model is called."""

    kind: Literal["code"] = field(default="code", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class PanelCall(_CallFields):
    """Represents a branch in records. Its model is `panel/NAME`, it has no messages, and it sends no request."""

    kind: Literal["panel"] = field(default="panel", kw_only=True, repr=False)


Call: TypeAlias = ChatCall | EmbedCall | CodeCall | PanelCall
"""One request. `kind` represents the type in a store; code checks the type itself."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A flow that runs in the place of a call, in parallel with the rest of its batch.

    `call` represents the branch in records. The answer of the flow is the draft.
    `flow` makes the generator. Its calls have the branch's id in their `branches`.
    """

    call: PanelCall
    flow: Callable[[], Flow] = field(compare=False)

    @property
    def id(self) -> str:
        return self.call.id


@dataclass(frozen=True, slots=True)
class Batch:
    """Calls that may run in parallel, and how long to wait for the slowest of them.

    `enough` is the number of drafts that the flow needs to continue. Once these and all but the slowest fifth have
    arrived, the rest have `grace_seconds` (None: wait for all). `until` is the share of the run's time (0 to 1) by
    which the batch must end, so that time is left for later calls. `dry_run_replies` are the replies that a dry run
    gives to each call, if the calls need replies of a fixed form. Outcomes come in the order of the calls, followed
    by the outcomes of the branches.
    """

    layer: int
    calls: tuple[Call, ...]
    branches: tuple[Branch, ...] = ()
    enough: int = 1
    grace_seconds: float | None = None
    until: float = 1.0
    dry_run_replies: DryRunReplies | None = field(default=None, compare=False, repr=False)

    @property
    def all_calls(self) -> tuple[Call, ...]:
        """All calls in the order of the outcomes: each call, then the call that represents each branch."""
        return (*self.calls, *(branch.call for branch in self.branches))


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a flow: the text, its shortfalls, the drafts that were lost, and notes with the details.

    `learned` holds texts by key. Later tasks of the same owner may get them as `known`.
    """

    text: str
    shortfalls: Shortfalls = NONE
    notes: tuple[str, ...] = ()
    method: Mapping[str, Any] = field(default_factory=dict[str, Any])
    learned: Mapping[str, str] = field(default_factory=dict[str, str])
    lost: tuple[LostDraft, ...] = ()

    @property
    def degraded(self) -> bool:
        return bool(self.shortfalls)

    @property
    def partial(self) -> bool:
        return bool(self.lost)


Flow: TypeAlias = Generator["Batch", Sequence["Outcome"], "Answer"]
"""A method as a generator without I/O. It yields batches, receives their outcomes in the order of the calls,
and returns the answer. It raises `RunFailed` if no answer is possible."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A finished call: one entry of a run's journal."""

    call: Annotated[Call, Field(discriminator="kind")]
    outcome: Annotated[Outcome, Field(discriminator="kind")]
    seconds: float

    @property
    def attempts(self) -> int:
        """The number of requests sent to a model: 0 for a refused call, a code call and a panel call."""
        return 0 if isinstance(self.call, CodeCall | PanelCall) else self.outcome.usage.attempts

    @property
    def is_billed(self) -> bool:
        """Whether a model answered or may have worked on the call, so that it has a price, known or not."""
        return isinstance(self.outcome, Draft) or self.outcome.usage.is_billed

    @property
    def status(self) -> CallStatus:
        """How the call ended. `refused`: it was never sent, because a limit was reached."""
        match self.outcome:
            case Draft(cut=cut):
                return "cut" if cut else "ok"
            case Failure(reason=Reason.BUDGET, usage=Usage(attempts=0)):
                return "refused"
            case Failure(reason=Reason.CANCELLED | Reason.STRAGGLER):
                return "cancelled"
            case Failure():
                return "failed"
            case Embeddings() | CodeResult():
                return "ok"

    @property
    def error(self) -> str | None:
        """The text of a failure, or None for a draft."""
        return str(self.outcome) if isinstance(self.outcome, Failure) else None


@dataclass(frozen=True, slots=True)
class Run:
    """One run with its calls, answer and cost. `created_at` is in Unix seconds; `seconds` is the duration.

    `limits` apply to this run. `planned_calls` is the number of calls if nothing fails. `key` is the same for the
    same question, preset and parameters of the same owner: the same request finds this run again and marks it
    `cached`. `calls` holds calls to models, sent or not, and code calls. `panels` holds the outcomes of flows that
    ran in the place of a call; their own calls are in `calls`. `abandoned` holds calls that an interruption cut off:
    they are paid for, and a resumed run sends them again. `plugins` are the versions of the plug-ins that it began
    with, by name (None: not recorded). `prices` are the known prices of its models in US dollars per output token.
    `lost` are the missing drafts by the word of the flow (None: it gave no answer, or an earlier version ran it).
    """

    run_id: str
    preset: str
    plan: Preset
    task: Task
    status: RunStatus = "running"
    answer: str | None = None
    degraded: bool = False
    shortfalls: Shortfalls = NONE
    lost: tuple[LostDraft, ...] | None = None
    notes: tuple[str, ...] = ()
    method: Mapping[str, Any] = field(default_factory=dict[str, Any])
    calls: tuple[CallRecord, ...] = ()
    panels: tuple[CallRecord, ...] = ()
    abandoned: tuple[CallRecord, ...] = ()
    error: str | None = None
    created_at: float = 0.0
    seconds: float = 0.0
    owner: str = "local"
    key: str = ""
    limits: Limits = Limits()
    planned_calls: int = 0
    cached: bool = False
    plugins: Mapping[str, str] | None = None
    prices: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def partial(self) -> bool:
        """Whether a draft that the method called for is missing."""
        return bool(self.panel.lost)

    @property
    def panel(self) -> PanelSummary:
        """How many slots were asked and answered, and which drafts are lost; without a panel, a route's samples."""
        return panel_of(self.drafts or self._drafts_by(SAMPLER), self.lost, self.prices)

    @property
    def layers(self) -> int:
        return self.plan.layers

    @property
    def sent(self) -> tuple[CallRecord, ...]:
        """All calls, including the abandoned ones that a resumed run sends again."""
        return (*self.calls, *self.abandoned)

    @property
    def calls_made(self) -> int:
        """The number of calls sent to models. A call counts once, even if it took several requests."""
        return sum(record.attempts > 0 for record in self.sent)

    @property
    def calls_left(self) -> int:
        """The number of planned calls that are still to be made, including those that were cut off."""
        return max(0, self.planned_calls - sum(record.attempts > 0 for record in self.calls))

    @property
    def cached_tokens(self) -> int:
        """The input tokens of all calls that providers read from their prompt caches, as far as they report it."""
        return sum(record.outcome.usage.cached_tokens for record in self.sent)

    @property
    def input_tokens(self) -> int | None:
        """Input tokens of all calls, or None if no call reported any."""
        return _total(record.outcome.usage.input_tokens for record in self.sent)

    @property
    def output_tokens(self) -> int | None:
        """Output tokens of all calls, or None if no call reported any."""
        return _total(record.outcome.usage.output_tokens for record in self.sent)

    @property
    def cost_usd(self) -> float | None:
        """The price of all billed calls in US dollars, or None if any of these prices is unknown."""
        return self.known_cost_usd if self._costs and not self.unpriced_calls else None

    @property
    def known_cost_usd(self) -> float:
        """The sum of the known prices in US dollars: the run cost at least this."""
        return sum(cost for cost in self._costs if cost is not None)

    @property
    def unpriced_calls(self) -> int:
        """The number of billed calls whose price is unknown."""
        return self._costs.count(None)

    @property
    def _costs(self) -> list[float | None]:
        return [record.outcome.usage.cost_usd for record in self.sent if record.is_billed]

    @property
    def drafts(self) -> tuple[CallRecord, ...]:
        """The drafts of the run's own proposers, in the order of layer and slot."""
        return self._drafts_by(PROPOSER)

    def _drafts_by(self, role: str) -> tuple[CallRecord, ...]:
        own = (record for record in (*self.calls, *self.panels) if record.call.role == role)
        top = (record for record in own if record.call.parent is None)
        return tuple(sorted(top, key=lambda record: (record.call.layer, record.call.slot)))

    def with_records(self, records: Iterable[CallRecord]) -> Run:
        """Return this run with more finished calls and branches."""
        calls, panels = list(self.calls), list(self.panels)
        for record in records:
            (panels if isinstance(record.call, PanelCall) else calls).append(record)
        return replace(self, calls=tuple(calls), panels=tuple(panels))


def panel_of(
    drafts: Iterable[CallRecord],
    lost: tuple[LostDraft, ...] | None = None,
    prices: Mapping[str, float] = MappingProxyType({}),
) -> PanelSummary:
    """Summarize a panel by the records of its drafts. `lost` are the missing drafts; None: all that failed."""
    drafts = tuple(drafts)
    failures = tuple(
        LostDraft(one.call.slot, one.call.model, one.outcome.reason)
        for one in drafts
        if isinstance(one.outcome, Failure)
    )
    failed = {one.slot for one in failures}
    answered = {one.call.slot: one.call.model for one in drafts if one.call.slot not in failed}
    if lost is None:
        lost = merge_lost((), (one for one in failures if one.reason is not Reason.CANCELLED))
    return summarize_panel(answered, lost, prices)


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
