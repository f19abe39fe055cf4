"""The values a run is made of: messages, calls, drafts, failures, batches, answers and the run itself. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from moa_mcp.domain.errors import ProviderError, Reason, describe_reason
from moa_mcp.domain.preset import Limits, Preset

Speaker = Literal["system", "user", "assistant"]
CallStatus = Literal["ok", "failed", "cut", "cancelled", "refused"]
RunStatus = Literal["running", "completed", "failed", "cancelled", "interrupted"]
Output = Literal["answer", "guidance"]

PROPOSER, AGGREGATOR = "proposer", "aggregator"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Task:
    """What a panel is asked: the question, what came before it, and the seed of the run's randomness.

    `context` is background text for the question. A model reads both as one turn (`user_turn` in prompts/panel.py);
    runs of earlier versions hold them in `question`, already joined.
    `output` tells what is wanted back: an answer, or guidance (the drafts, for a caller that is itself the
    aggregator). `nonce` marks the fences around drafts; it is random per run, so that no draft can have
    guessed it. `known` are texts, by key, that flows of the same owner made earlier and need not make again.
    `embeddings` is the model that texts are compared by; without one, by their words.
    """

    question: str
    system: str | None = None
    history: tuple[Message, ...] = ()
    output: Output = "answer"
    seed: int = 0
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    embeddings: str | None = None
    context: str | None = None

    @property
    def nonce(self) -> str:
        """The run's fence marker: 16 hexadecimal digits of its seed."""
        return f"{self.seed:016x}"[-16:]


@dataclass(frozen=True, slots=True)
class DryRunReplies:
    """Two well-formed replies of one form: one that ends a run soonest, one that lets it go on longest.

    A dry run answers with them, so that bounds on calls come from the flow itself.
    """

    least: str
    most: str


@dataclass(frozen=True, slots=True)
class _CallFields:
    """What all calls have. `id` is the same each time the same run is played: the key of its journal.

    `layer` and `slot` count from 1. A setting that is None is not sent. `branches` are the ids of the branches that
    it runs in, the outermost first; `repeat_of` is the id of the call that it repeats, because that one's reply came
    out of form.
    """

    id: str
    role: str
    layer: int
    slot: int
    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    effort: str | None = None
    timeout_seconds: float | None = None
    branches: tuple[str, ...] = field(default=(), kw_only=True)
    repeat_of: str | None = field(default=None, kw_only=True)

    @property
    def parent(self) -> str | None:
        """The id of the branch that it runs in; None in the run's own flow."""
        return self.branches[-1] if self.branches else None

    @property
    def is_repeat(self) -> bool:
        """Whether it asks again for a reply that came out of form: no plan counts it, and a run can do without it."""
        return self.repeat_of is not None


@dataclass(frozen=True, slots=True)
class ChatCall(_CallFields):
    """A request for a chat completion."""

    kind: Literal["chat"] = field(default="chat", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class EmbedCall(_CallFields):
    """A request for the embeddings of the messages' texts; the draft's text is a JSON array of their vectors."""

    kind: Literal["embedding"] = field(default="embedding", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class CodeCall(_CallFields):
    """The execution of code in the sandbox: its message and the draft's text are JSON objects. No model is asked."""

    kind: Literal["code"] = field(default="code", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class PanelCall(_CallFields):
    """What a branch is in records: its model is `panel/NAME`, it has no messages, and nothing is sent for it."""

    kind: Literal["panel"] = field(default="panel", kw_only=True, repr=False)


Call: TypeAlias = ChatCall | EmbedCall | CodeCall | PanelCall
"""One request. `kind` is how its type is written in a store; code asks for the type."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and price of a call; None is unknown, never zero. `estimated`: not the provider's own count.

    `attempts` is how many requests were sent for it, all of which are in the numbers; 0: none was.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    estimated: bool = False
    attempts: int = 1

    @property
    def retries(self) -> int:
        """The requests after the first."""
        return max(0, self.attempts - 1)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a model wrote. `served_model` is the model that really answered, as the provider named it.

    `cut` marks a stream that ended before its end marker: what is here is a part, and is shown as a part.
    `method` and `learned` are those of the answer of the flow that wrote it, where it was not one call.
    """

    text: str
    served_model: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    thinking: str = ""
    cut: bool = False
    notes: tuple[str, ...] = ()
    method: Mapping[str, Any] = field(default_factory=dict[str, Any])
    learned: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def truncated(self) -> bool:
        """Whether the model stopped before it was done: out of tokens, or cut off."""
        return self.cut or self.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that gave no draft: an expected value in a fan-out, so that one call cannot cancel its siblings."""

    reason: Reason
    detail: str = ""
    served_model: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()

    @classmethod
    def of(cls, error: ProviderError) -> Failure:
        """The failure that a provider's error is to a flow."""
        booked = error.input_tokens is not None
        usage = Usage(error.input_tokens, error.output_tokens, error.cost_usd, booked, error.attempts)
        return cls(error.reason, error.detail, error.served_model, usage=usage)

    def __str__(self) -> str:
        words = describe_reason(self.reason)
        return f"{words} ({self.detail})" if self.detail else words


Outcome: TypeAlias = Draft | Failure


@dataclass(frozen=True, slots=True)
class Branch:
    """A flow that is run in the place of a call, side by side with the others of its batch.

    `call` stands for it in records; its answer is the draft.
    `flow` makes the generator; the calls in it have the branch's id among their `branches`.
    """

    call: PanelCall
    flow: Callable[[], Flow] = field(compare=False)

    @property
    def id(self) -> str:
        return self.call.id


@dataclass(frozen=True, slots=True)
class Batch:
    """Calls that may run side by side, and how long the slowest of them is waited for.

    `enough` is how many drafts let the flow go on; once these and all but the slowest fifth are in, the rest
    have `grace_seconds` (None: wait for all). `until` is the share of the run's time (0 to 1) by which the
    batch has to end, so that what must still follow has time left. `dry_run_replies` are what a dry run answers
    each of the calls with, where these ask for replies of a fixed form. Outcomes come in the order of the calls,
    those of the branches behind them.
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
        """What was asked, in the order of the outcomes: each call, then what stands for each branch."""
        return (*self.calls, *(branch.call for branch in self.branches))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a flow returns: the text, whether it is less than was asked for, and why.

    `learned` are texts, by key, that later tasks of the same owner may be told as `known`.
    """

    text: str
    degraded: bool = False
    notes: tuple[str, ...] = ()
    method: Mapping[str, Any] = field(default_factory=dict[str, Any])
    learned: Mapping[str, str] = field(default_factory=dict[str, str])


Flow: TypeAlias = Generator["Batch", Sequence["Outcome"], "Answer"]
"""A method as a generator without I/O: it yields batches, is sent their outcomes in the order of the calls,
and returns the answer. It raises `RunFailed` when there can be none."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A finished call as it is kept and shown: the entry of a run's journal."""

    call: Annotated[Call, Field(discriminator="kind")]
    outcome: Outcome
    seconds: float

    @property
    def attempts(self) -> int:
        """How many requests to a model it took: none if it was refused before, if it ran code here, or is a panel's."""
        return 0 if isinstance(self.call, CodeCall | PanelCall) else self.outcome.usage.attempts

    @property
    def status(self) -> CallStatus:
        """How it ended. `refused`: it was never sent, because a ceiling left no room for it."""
        match self.outcome:
            case Draft(cut=cut):
                return "cut" if cut else "ok"
            case Failure(reason=Reason.BUDGET, usage=Usage(attempts=0)):
                return "refused"
            case Failure(reason=Reason.CANCELLED | Reason.STRAGGLER):
                return "cancelled"
            case Failure():
                return "failed"

    @property
    def error(self) -> str | None:
        """The plain words of a failure, or None for a draft."""
        return str(self.outcome) if isinstance(self.outcome, Failure) else None


@dataclass(frozen=True, slots=True)
class Run:
    """One ask, with all it cost and made. Times are Unix seconds; `seconds` is how long it took.

    `limits` are the ceilings it runs under, `planned_calls` how many calls it makes if nothing fails. `key` is
    the same for the same question, preset and parameters of the same owner: asked again, it finds this run,
    which is then marked `cached`. `calls` are those to models, sent or not, and of code; `panels` are the outcomes
    of flows that ran in a call's place, whose own calls are among `calls`. `abandoned` are calls that an interruption
    cut off: what was sent of them is paid for, and they are sent again when the run goes on.
    """

    run_id: str
    preset: str
    plan: Preset
    task: Task
    status: RunStatus = "running"
    answer: str | None = None
    degraded: bool = False
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

    @property
    def layers(self) -> int:
        return self.plan.layers

    @property
    def sent(self) -> tuple[CallRecord, ...]:
        """Every request that was sent, those included that are sent again."""
        return (*self.calls, *self.abandoned)

    @property
    def calls_made(self) -> int:
        """How many calls were sent to models, each counted once, however many requests it took."""
        return sum(record.attempts > 0 for record in self.sent)

    @property
    def calls_left(self) -> int:
        """How many of the planned calls have not been made, or were cut off and are made again."""
        return max(0, self.planned_calls - sum(record.attempts > 0 for record in self.calls))

    @property
    def input_tokens(self) -> int | None:
        """Tokens read by all calls, or None if no call reported any."""
        return _total(record.outcome.usage.input_tokens for record in self.sent)

    @property
    def output_tokens(self) -> int | None:
        """Tokens written by all calls, or None if no call reported any."""
        return _total(record.outcome.usage.output_tokens for record in self.sent)

    @property
    def cost_usd(self) -> float | None:
        """The price of all calls, or None as soon as one that cost something has no known price."""
        costs = [record.outcome.usage.cost_usd for record in self.sent if _is_billed(record)]
        return None if not costs or None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def drafts(self) -> tuple[CallRecord, ...]:
        """The drafts of the run's own proposers, in the order of layer and slot."""
        own = (record for record in (*self.calls, *self.panels) if record.call.role == PROPOSER)
        top = (record for record in own if record.call.parent is None)
        return tuple(sorted(top, key=lambda record: (record.call.layer, record.call.slot)))

    def with_records(self, records: Iterable[CallRecord]) -> Run:
        """This run with more finished calls and branches."""
        calls, panels = list(self.calls), list(self.panels)
        for record in records:
            (panels if isinstance(record.call, PanelCall) else calls).append(record)
        return replace(self, calls=tuple(calls), panels=tuple(panels))

    def interrupted(self, why: str) -> Run:
        """This run as one that may go on later, with the calls that were cut off set apart as `abandoned`."""
        cut_off = (replace(record, call=replace(record.call, messages=())) for record in self.calls)
        return replace(
            self,
            status="interrupted",
            error=why,
            calls=tuple(record for record in self.calls if not _was_cut_off(record)),
            panels=tuple(record for record in self.panels if not _was_cut_off(record)),
            abandoned=(*self.abandoned, *filter(_was_cut_off, cut_off)),
        )


def _was_cut_off(record: CallRecord) -> bool:
    return isinstance(record.outcome, Failure) and record.outcome.reason is Reason.CANCELLED


def _is_billed(record: CallRecord) -> bool:
    usage = record.outcome.usage
    return isinstance(record.outcome, Draft) or usage.input_tokens is not None or usage.cost_usd is not None


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
