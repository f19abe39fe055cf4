"""Builds a reply piece by piece: the part of reading that all dialects share.

It turns the pieces into a draft, or raises the reason why there is none. Each dialect interprets its own events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Draft
from moa_mcp.domain.text import fix_surrogates, split_thinking, strip_invisible
from moa_mcp.domain.usage import Usage
from moa_mcp.providers.dialects.json_access import name
from moa_mcp.providers.dialects.repetition import RepetitionDetector
from moa_mcp.providers.dialects.thinking import ThinkingFilter
from moa_mcp.providers.dialects.usage import merged, price_in_headers

MAX_TEXT = 2 * 1024 * 1024
"""The most characters of a reply, with its thoughts; no valid draft is that long."""

HIDDEN_CHARS_PER_TOKEN = 4
"""The usual length of a token, used to count thoughts as they arrive."""

OUT_OF_WINDOW = "model_context_window_exceeded"

MAX_REASON_CHARS = 40
"""The most characters of a finish reason; a longer one is ignored."""

_FINISH = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    OUT_OF_WINDOW: "length",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "sensitive": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "guardrail_intervened": "content_filter",
    "aborted": "abort",
    "cancelled": "abort",
    "null": None,
    "none": None,
}
"""Maps the providers' finish reasons to those of the openai dialect. Some servers send the word null until the end."""


@dataclass(slots=True)
class ReplyBuilder:
    """A reply as it grows. `ended`: its end marker arrived. `has_text`: it has visible text."""

    served_model: str | None = None
    finish_reason: str | None = None
    refusal: str = ""
    ended: bool = False
    has_text: bool = False
    _half: str = ""
    _text: list[str] = field(default_factory=list[str])
    _thinking: list[str] = field(default_factory=list[str])
    _usage_report: dict[str, Any] = field(default_factory=dict[str, Any])
    _read_usage: Callable[[Mapping[str, Any]], Usage] | None = None
    _price_in_headers: float | None = None
    _size: int = 0
    _shown: int = 0
    _hidden_tokens: int = 0
    _repetition: RepetitionDetector = field(default_factory=RepetitionDetector)
    _filter: ThinkingFilter = field(default_factory=ThinkingFilter)

    def add_text(self, piece: str) -> str:
        """Take a piece of the answer and return the text that can be shown now."""
        self._grow(piece)
        whole = piece if piece.isascii() and not self._half else self._join_surrogates(piece)
        self._text.append(whole)
        self._repetition.feed(whole)
        return self._show(self._filter.feed(whole))

    def add_thinking(self, piece: str) -> None:
        """Take a piece of the model's thoughts."""
        self._grow(piece)
        self._thinking.append(piece)

    def end(self) -> str:
        """Take the end marker and return the text that was held back."""
        self.ended = True
        rest, self._half = fix_surrogates(self._half), ""
        self._text.append(rest)
        return self._show(self._filter.feed(rest) + self._filter.close())

    def add_usage(self, report: object, read: Callable[[Mapping[str, Any]], Usage]) -> None:
        """Take a report of the usage so far; `read` understands the reports of the dialect."""
        self._usage_report = merged(self._usage_report, report)
        self._read_usage = read  # it is read at the end: some servers report the usage in every event

    def note_headers(self, headers: Mapping[str, str]) -> None:
        """Take the headers of the response: they may name the price."""
        self._price_in_headers = price_in_headers(headers)

    def report(self, shown: str, on_text: Callable[[str], None]) -> None:
        """Pass on the text to show, then an empty piece for each token of the hidden text before it, as estimated.

        If there is neither, one empty piece is passed on as a sign of life.
        """
        hidden = (self._size - self._shown) // HIDDEN_CHARS_PER_TOKEN - self._hidden_tokens
        if shown or hidden <= 0:
            on_text(shown)
        for _ in range(hidden):
            on_text("")
        self._hidden_tokens += max(0, hidden)

    @property
    def usage(self) -> Usage:
        """The usage that the provider reported so far. A price in the usage is newer than one in the headers."""
        usage = self._read_usage(self._usage_report) if self._read_usage else Usage()
        if self._price_in_headers is None or usage.cost_usd is not None:
            return usage
        return replace(usage, cost_usd=self._price_in_headers)

    def close(self) -> str:
        """Take the end of the body, and return the text that was held back if the reply is complete.

        A finish reason is enough, because no text follows it; many servers send no end marker. So a body that broke
        off after it is complete, too: only its usage can be missing.
        """
        return self.end() if self.finish and not self.ended else ""

    def draft(self) -> Draft:
        """The reply as a draft; `cut` if it has neither an end marker nor a finish reason.

        Raises:
            ProviderError: CUT, REFUSED, TOO_LONG, REASONING_ONLY or EMPTY, if there is no text; DEGENERATE if the
                text ends in a loop.
        """
        text, inline_thought = split_thinking("".join(self._text) + fix_surrogates(self._half))
        thought = fix_surrogates("".join(self._thinking)).strip()
        thinking = "\n\n".join(part for part in (thought, inline_thought) if part)
        self._repetition.check(text)
        if not text or not (self.has_text or strip_invisible(text).strip()):
            raise self._error_if_empty(thinking)
        return Draft(
            text=text,
            served_model=self.served_model,
            finish_reason=self.finish,
            usage=self.usage,
            thinking=thinking,
            cut=not self.ended,
        )

    @property
    def finish(self) -> str | None:
        """The finish reason, mapped to the openai dialect; an unknown one stays unchanged."""
        word = name(self.finish_reason, MAX_REASON_CHARS)
        return _FINISH.get(word.lower(), word) if word else None

    def _error_if_empty(self, thinking: str) -> ProviderError:
        if not self.ended:
            return ProviderError(Reason.CUT)
        if self.refusal or self.finish == "content_filter":
            return ProviderError(Reason.REFUSED, self.refusal)
        if self.finish_reason == OUT_OF_WINDOW:
            return ProviderError(Reason.TOO_LONG)
        reason = Reason.REASONING_ONLY if thinking else Reason.EMPTY
        return ProviderError(reason, f"finish reason: {self.finish or 'none'}")

    def _grow(self, piece: str) -> None:
        self._size += len(piece)
        if self._size > MAX_TEXT:
            raise ProviderError(Reason.TOO_LARGE, f"more than {MAX_TEXT:,} characters")

    def _join_surrogates(self, piece: str) -> str:
        """Prepend the held-back half of a surrogate pair to `piece`, and hold back a half pair at its end."""
        text = self._half + piece
        self._half = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return fix_surrogates(text[:-1] if self._half else text)

    def _show(self, text: str) -> str:
        self._shown += len(text)
        if self.has_text:
            return text
        self.has_text = bool(strip_invisible(text).strip())
        return text.lstrip()
