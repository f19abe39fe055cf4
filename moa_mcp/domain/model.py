"""The values of a run: messages, calls, drafts, failures, batches, answers and the run itself. No I/O."""

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
    """The input of a panel: the question, the conversation before it, and the seed of the run's randomness.

    `context` is background text for the question. A model reads both as one turn (`user_turn` in prompts/panel.py);
    runs of earlier versions store both in `question`, already joined.
    `output` is the requested result: an answer, or guidance (the drafts, for a caller that is itself the
    aggregator). `nonce` marks the fences around drafts. It is random per run, so that a draft cannot guess it.
    `known` holds texts by key that earlier flows of the same owner made and that can be reused.
    `embeddings` is the model that compares texts; without it, texts are compared by their words.
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
    """Two well-formed replies to the same call: one leads to the shortest run, the other to the longest run.

    A dry run answers with them, so that the flow itself gives the bounds on the number of calls.
    """

    least: str
    most: str


@dataclass(frozen=True, slots=True)
class _CallFields:
    """The fields of all calls. `id` is the same in each replay of the same run: it is the key of the run's journal.

    `layer` and `slot` count from 1. A setting that is None is not sent; `json_reply` asks for JSON mode. `branches` has
    the ids of the branches around the call, the outermost first. `repeat_of`: the call whose reply had the wrong form.
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
    json_reply: Literal[True] | None = field(default=None, kw_only=True)

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
    """A request for a chat completion."""

    kind: Literal["chat"] = field(default="chat", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class EmbedCall(_CallFields):
    """A request for the embeddings of the messages' texts; the draft's text is a JSON array of their vectors."""

    kind: Literal["embedding"] = field(default="embedding", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class CodeCall(_CallFields):
    """The execution of code in the sandbox. Its message and the draft's text are JSON objects. No model is called."""

    kind: Literal["code"] = field(default="code", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class PanelCall(_CallFields):
    """Represents a branch in records. Its model is `panel/NAME`, it has no messages, and it sends no request."""

    kind: Literal["panel"] = field(default="panel", kw_only=True, repr=False)


Call: TypeAlias = ChatCall | EmbedCall | CodeCall | PanelCall
"""One request. `kind` represents the type in a store; code checks the type itself."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and price of a call. None means unknown, never zero. `estimated`: not the provider's own count.

    `attempts` is the number of requests sent for the call. The numbers include all of them. 0: none was sent.
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
    """The text that a model wrote. `served_model` is the model that answered, as the provider named it.

    `cut` marks a stream that ended before its end marker: the text is incomplete and is shown as incomplete.
    If a flow wrote the draft, not one call, `method` and `learned` come from the answer of that flow.
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
        """Whether the text is incomplete: the model ran out of tokens, or the stream was cut off."""
        return self.cut or self.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that gave no draft. It is a value, not an exception, so that one call cannot cancel its siblings."""

    reason: Reason
    detail: str = ""
    served_model: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()

    @classmethod
    def of(cls, error: ProviderError) -> Failure:
        """Convert a provider's error into the value that a flow gets."""
        booked = error.input_tokens is not None
        usage = Usage(error.input_tokens, error.output_tokens, error.cost_usd, booked, error.attempts)
        return cls(error.reason, error.detail, error.served_model, usage=usage)

    def __str__(self) -> str:
        words = describe_reason(self.reason)
        return f"{words} ({self.detail})" if self.detail else words


Outcome: TypeAlias = Draft | Failure


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
    """The result of a flow: the text, whether it is degraded (less than requested), and notes with the reasons.

    `learned` holds texts by key. Later tasks of the same owner may get them as `known`.
    """

    text: str
    degraded: bool = False
    notes: tuple[str, ...] = ()
    method: Mapping[str, Any] = field(default_factory=dict[str, Any])
    learned: Mapping[str, str] = field(default_factory=dict[str, str])


Flow: TypeAlias = Generator["Batch", Sequence["Outcome"], "Answer"]
"""A method as a generator without I/O. It yields batches, receives their outcomes in the order of the calls,
and returns the answer. It raises `RunFailed` if no answer is possible."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A finished call: one entry of a run's journal."""

    call: Annotated[Call, Field(discriminator="kind")]
    outcome: Outcome
    seconds: float

    @property
    def attempts(self) -> int:
        """The number of requests sent to a model. It is 0 for a refused call, a code call and a panel call."""
        return 0 if isinstance(self.call, CodeCall | PanelCall) else self.outcome.usage.attempts

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
    their requests are paid for, and a resumed run sends them again.
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
        costs = [record.outcome.usage.cost_usd for record in self.sent if _is_billed(record)]
        return None if not costs or None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def drafts(self) -> tuple[CallRecord, ...]:
        """The drafts of the run's own proposers, in the order of layer and slot."""
        own = (record for record in (*self.calls, *self.panels) if record.call.role == PROPOSER)
        top = (record for record in own if record.call.parent is None)
        return tuple(sorted(top, key=lambda record: (record.call.layer, record.call.slot)))

    def with_records(self, records: Iterable[CallRecord]) -> Run:
        """Return this run with more finished calls and branches."""
        calls, panels = list(self.calls), list(self.panels)
        for record in records:
            (panels if isinstance(record.call, PanelCall) else calls).append(record)
        return replace(self, calls=tuple(calls), panels=tuple(panels))

    def interrupted(self, why: str) -> Run:
        """Return this run as interrupted, so that it can be resumed. Cut-off calls move to `abandoned`."""
        # A cut-off call must leave `calls`: a resumed run replays these and would not send the call again. It stays
        # in `abandoned`, so that its cost still counts.
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
