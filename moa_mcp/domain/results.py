"""The results of calls: drafts, embeddings, executions and failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from moa_mcp.domain.errors import ProviderError, Reason, describe_reason
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.finish import UNFINISHED
from moa_mcp.domain.shortfalls import NONE, LostDraft, Shortfall, Shortfalls
from moa_mcp.domain.usage import Usage


@dataclass(frozen=True, slots=True)
class Draft:
    """The text that a model wrote. `served_model` is the model that answered, as the provider named it.

    `cut`: its stream broke off. A draft that a flow wrote has the `method`, the `learned` texts, the `shortfalls` and
    the `lost` drafts of its answer.
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
    shortfalls: Shortfalls = NONE
    lost: tuple[LostDraft, ...] = ()
    kind: Literal["draft"] = field(default="draft", kw_only=True, repr=False)

    @property
    def unfinished(self) -> str:
        """Why the text is incomplete, as the end of a sentence about the call; empty if it is whole."""
        return "was cut off before its end" if self.cut else UNFINISHED.get(self.finish_reason or "", "")

    @property
    def shortfalls_as_answer(self) -> Shortfalls:
        """The shortfalls of an answer that is this draft: its own, and that its text is incomplete, if it is."""
        if not self.unfinished:
            return self.shortfalls
        is_filtered = not self.cut and self.finish_reason == "content_filter"
        return self.shortfalls | {Shortfall.FILTERED if is_filtered else Shortfall.CUT}

    @property
    def degraded(self) -> bool:
        return bool(self.shortfalls)

    @property
    def partial(self) -> bool:
        return bool(self.lost)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The result of an `EmbedCall`: one vector for each text, in the order of the texts, all of one length."""

    vectors: tuple[tuple[float, ...], ...]
    served_model: str | None = None
    finish_reason: str | None = "stop"
    usage: Usage = Usage()
    kind: Literal["embeddings"] = field(default="embeddings", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class CodeResult:
    """The result of a `CodeCall`: how far its program ran."""

    execution: Execution
    served_model: str | None = None
    finish_reason: str | None = "stop"
    usage: Usage = Usage(0, 0, 0.0)
    kind: Literal["code"] = field(default="code", kw_only=True, repr=False)


Result: TypeAlias = Draft | Embeddings | CodeResult
"""What a call gives if it succeeds."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that gave no result. It is a value, not an exception, so that one call cannot cancel its siblings."""

    reason: Reason
    detail: str = ""
    served_model: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    kind: Literal["failure"] = field(default="failure", kw_only=True, repr=False)

    @classmethod
    def of(cls, error: ProviderError) -> Failure:
        """Convert a provider's error into the value that a flow gets."""
        usage = replace(error.usage, estimated=error.usage.is_billed)
        return cls(error.reason, error.full_detail, error.served_model, usage=usage)

    def __str__(self) -> str:
        words = describe_reason(self.reason)
        return f"{words} ({self.detail})" if self.detail else words


Outcome: TypeAlias = Result | Failure
