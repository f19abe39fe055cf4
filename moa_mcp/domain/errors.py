"""The error tree. Its first level separates errors by their origin. Every message ends with the next step.

MoAError
├── UserError               the request cannot be carried out as given
│   ├── InvalidRequest          the question or an argument
│   ├── InvalidPreset           a preset file: file, line, key, expected value
│   ├── InvalidConfig           config.yaml: the same
│   ├── UnknownPreset           no preset has that name
│   ├── UnknownRun              no run with that id is visible to the caller
│   ├── MissingKey              a provider's key variable is not set
│   ├── PlanRefused             the plan exceeds its limits
│   │   └── OverBudget              the plan exceeds what is left of the day's budget (store)
│   └── NotAllowed              the caller may not make this change
│       └── EditedByHand            a file was edited after the change to be undone (service)
├── ProviderError           one model call failed (a value, `Failure`, once it reaches a flow)
├── RunFailed               a run ended without an answer; lists each cause
├── RunTakenOver            another process has resumed the run, so this process stops working on it (runs)
└── Busy                    this server cannot start another run now

An error that only one package raises and handles is defined in that package, named in brackets. Programming errors
are not in the tree. They keep their types, and the server's edge masks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING

from moa_mcp.domain.usage import Usage

if TYPE_CHECKING:
    from moa_mcp.domain.model import Run


class Reason(StrEnum):
    """Why a model call gave no draft: the class of the failure, not its text."""

    AUTH = "auth"
    FORBIDDEN = "forbidden"
    BILLING = "billing"
    UNKNOWN_MODEL = "unknown_model"
    WRONG_URL = "wrong_url"
    OTHER_API = "other_api"
    MISSING_KEY = "missing_key"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    LOADING = "loading"
    UNAVAILABLE = "unavailable"
    CONNECTION = "connection"
    TLS = "tls"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    DEADLINE = "deadline"
    STRAGGLER = "straggler"
    CANCELLED = "cancelled"
    CUT = "cut"
    MALFORMED = "malformed"
    EMPTY = "empty"
    REASONING_ONLY = "reasoning_only"
    REFUSED = "refused"
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"
    BAD_REQUEST = "bad_request"
    REDIRECT = "redirect"
    DEGENERATE = "degenerate"
    COOLING = "cooling"
    BUDGET = "budget"
    PANEL = "panel"
    INTERNAL = "internal"


_DESCRIPTIONS: dict[Reason, str] = {
    Reason.AUTH: "the provider refused the key; check the value of its key variable",
    Reason.FORBIDDEN: "the provider forbids this request (region, moderation or access); try another model",
    Reason.BILLING: "the account has no credit, or used up its quota or limit; top it up or raise it with the provider",
    Reason.UNKNOWN_MODEL: "the provider does not know this model; correct the id in the preset",
    Reason.WRONG_URL: "the provider has nothing at this address; correct base_url, which usually ends in /v1",
    Reason.OTHER_API: "the provider does not offer this model as a chat completion; choose another model",
    Reason.MISSING_KEY: "no key is set for the provider; set its key variable",
    Reason.RATE_LIMITED: "rate limited; wait, or lower the provider's max_concurrency",
    Reason.OVERLOADED: "the provider is overloaded; try again later",
    Reason.LOADING: "the server is still loading the model; wait, or try again once it is loaded",
    Reason.UNAVAILABLE: "the provider answered with a server error; try again later",
    Reason.CONNECTION: "the provider could not be reached; check the network and base_url",
    Reason.TLS: "no secure connection to the provider, so nothing was sent",
    Reason.TIMEOUT: "no answer in time; raise timeout_seconds or choose a faster model",
    Reason.STALLED: "the answer stopped arriving; try again or choose another model",
    Reason.DEADLINE: "the run's deadline came first; raise deadline_seconds or use a smaller preset",
    Reason.STRAGGLER: "left behind as the slowest of its layer; raise straggler_grace_seconds to wait for it",
    Reason.CANCELLED: "cancelled",
    Reason.CUT: "the stream ended before the answer did; try again",
    Reason.MALFORMED: "the reply was not the format of the dialect; check base_url and dialect",
    Reason.EMPTY: "the model answered with nothing; try again or choose another model",
    Reason.REASONING_ONLY: "the model only thought and never answered; raise max_tokens or lower effort",
    Reason.REFUSED: "the model or its filter refused to answer; rephrase or choose another model",
    Reason.TOO_LONG: "the messages exceed the context of the model or a limit of the account; shorten them",
    Reason.TOO_LARGE: "the reply was larger than a draft may be; lower max_tokens",
    Reason.BAD_REQUEST: "the provider refused the request's form; check the proposer's settings",
    Reason.REDIRECT: "the provider redirected elsewhere, which is never followed; correct base_url",
    Reason.DEGENERATE: "the model repeated itself without end; lower max_tokens or choose another model",
    Reason.COOLING: "the route failed before and is resting; it is tried again later",
    Reason.BUDGET: "the run's budget was used up; raise the limit in the configuration file",
    Reason.PANEL: "the panel in this slot gave no answer; see its own calls",
    Reason.INTERNAL: "an unexpected fault in moa-mcp; please report it",
}


def describe_reason(reason: Reason) -> str:
    """Describe a reason and what to do about it, in one line."""
    return _DESCRIPTIONS[reason]


def sort_by_closeness(name: str, known: Iterable[str]) -> list[str]:
    """Sort `known` by similarity to `name`, the most similar first."""
    names = sorted(known)
    close = get_close_matches(name, names, n=len(names) or 1, cutoff=0.5)
    return close + [other for other in names if other not in close]


class MoAError(Exception):
    """Base of every error that this package raises on purpose. Its `str()` may be shown to anyone."""


class UserError(MoAError):
    """The request cannot be carried out as given."""


class InvalidRequest(UserError):
    """The question or an argument is invalid; the message names it."""


@dataclass(eq=False)
class _FileError(UserError):
    """A file that the user wrote is invalid."""

    file: str
    problem: str
    line: int | None = None
    key: str | None = None
    expected: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        key = f": {self.key}" if self.key else ""
        expected = f". Expected {self.expected}" if self.expected else ""
        return f"{place}{key}: {self.problem}{expected}."


class InvalidPreset(_FileError):
    """A preset is invalid."""


class InvalidConfig(_FileError):
    """The configuration file is invalid."""


class UnknownPreset(UserError):
    """No preset has that name."""

    def __init__(self, name: str, known: Iterable[str], *, named_by: str = "") -> None:
        self.name = name
        self.known = sort_by_closeness(name, known)
        where = f", which {named_by} names" if named_by else ""
        super().__init__(f"There is no preset {name!r}{where}. Known, nearest first: {', '.join(self.known)}.")


class UnknownRun(UserError):
    """No run with that id is visible to the caller. Another owner's run gives the same error as a missing run."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"There is no run {run_id!r}. Runs are listed in moa://runs; ask again without run_id.")


class MissingKey(UserError):
    """A provider has no key but needs one. `placeholders` maps variables to a placeholder that they hold, not a key."""

    def __init__(
        self, variables: Sequence[str], *, wanted_by: str, placeholders: Mapping[str, str] | None = None
    ) -> None:
        self.variables = tuple(variables)
        held = (f"{name} holds {unexpanded(text)}. " for name, text in (placeholders or {}).items())
        super().__init__(
            f"{wanted_by} needs {' and '.join(variables)}, which is not set. {''.join(held)}"
            "Set it in the environment that moa-mcp is started in (a server that runs has to be started again), "
            "or choose another preset."
        )


def unexpanded(placeholder: str) -> str:
    """Describe a placeholder in the place of a variable's value, and its likely cause."""
    return f"the placeholder {placeholder}: your client did not expand it, or nobody filled it in"


class PlanRefused(UserError):
    """The planned calls exceed their limits; nothing was sent."""


class NotAllowed(UserError):
    """The caller may not make this change."""


@dataclass(eq=False)
class ProviderError(MoAError):
    """One model call failed.

    `detail` is one redacted line from the provider, `advice` what to change in our configuration. `retry_after` is in
    seconds. `should_retry` is the provider's own advice. `parameter` is the key of the request that the provider
    rejects. `numbers` are the lengths and limits that the provider names, in their order. `sent_text` is True if a
    part of the answer had arrived. `reached` is True if a model may have worked on the call, so that it may be billed;
    `usage` is then what is booked for it.
    """

    reason: Reason
    detail: str = ""
    status: int | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    sent_text: bool = False
    served_model: str | None = None
    parameter: str | None = None
    reached: bool = False
    usage: Usage = Usage()
    numbers: tuple[int, ...] = ()
    advice: str = ""

    @property
    def full_detail(self) -> str:
        """The detail, followed by the advice."""
        return "; ".join(part for part in (self.detail, self.advice) if part)

    def __str__(self) -> str:
        words = describe_reason(self.reason)
        return f"{words} ({self.full_detail})" if self.full_detail else words


class RunFailed(MoAError):
    """A run ended without an answer.

    `run` is the ended run with its id, cost and drafts. `ask` and the similar public functions set it. It is not set
    while a flow raises this error inside a run.
    """

    run: Run

    def __init__(self, what: str, causes: Sequence[str] = (), *, run: Run | None = None) -> None:
        self.causes = tuple(causes)
        if run is not None:
            self.run = run
        super().__init__("\n".join((what, *(f"- {cause}" for cause in self.causes))))


class Busy(MoAError):
    """The server cannot start another run now."""
