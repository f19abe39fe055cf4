"""Replies of model servers byte for byte, what is right for each, and what moa-mcp makes of it over a real socket.

`tests/data/wire.json` holds replies of real servers; `tests.wire_cases` makes more of each kind, in both dialects.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import ChatCall, Draft, Message
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.registry import Registry
from tests.results import as_draft
from tests.upstream import Fault, Upstream, in_turn
from tests.upstream.steps import End, Pause, Step

DATA = Path(__file__).parent / "data" / "wire.json"
ANSWER = "The sky is blue because of Rayleigh scattering."
USAGE = (11, 7)
MAX_SECONDS = 5
"""An answer that is complete is not held up for longer, whatever the server does with the connection."""


@dataclass(frozen=True, slots=True)
class Case:
    """A reply to one request: bytes to write and pauses in seconds, after which the connection is closed.

    `right` is the right outcome: "the answer" (and nothing else), "… and its usage", "cut", "degraded: …" for an
    answer that is known to be incomplete, or "failed" with the words behind the colon, else with the provider's words.
    """

    name: str
    dialect: str
    right: str
    reply: tuple[bytes | float, ...] = field(repr=False)

    @property
    def steps(self) -> Iterator[Step]:
        """The reply as the steps of an upstream."""
        for part in self.reply:
            yield part if isinstance(part, bytes) else Pause(part)
        yield End.CLOSE


def read_cases(path: Path) -> list[Case]:
    """The cases in a JSON file: `{"cases": [{"name", "dialect", "right", "reply": ["bytes as latin-1", seconds]}]}`."""
    return [_case(**case) for case in json.loads(path.read_text(encoding="utf-8"))["cases"]]


def _case(name: str, dialect: str, right: str, reply: Iterable[str | float], **_: Any) -> Case:
    parts = (part.encode("latin-1") if isinstance(part, str) else float(part) for part in reply)
    return Case(name, dialect, right, tuple(parts))


async def outcome_of(case: Case) -> Draft | ProviderError:
    """What a call makes of the reply. Raises TimeoutError, if it is held up."""
    call = ChatCall("1.1", "proposer", 1, 1, "lab/owl", (Message("user", "Why is the sky blue?"),), timeout_seconds=60)
    async with Upstream(in_turn(Fault(case.name, lambda _: case.steps))) as upstream:
        registry = Registry({"lab": Endpoint("lab", upstream.base_url, case.dialect, local=True)}, {})
        try:
            with anyio.fail_after(MAX_SECONDS):
                return as_draft(await registry.complete(call, ignore_text))
        except ProviderError as error:
            return error
        finally:
            await registry.aclose()


async def problem_with(case: Case) -> str:
    """What is wrong with the outcome of a case; empty if it is right."""
    try:
        outcome = await outcome_of(case)
    except TimeoutError:
        return f"it was held up for more than {MAX_SECONDS} s"
    return "" if is_right(case, outcome) else f"{case.right}, not {outcome!r}"


def is_right(case: Case, outcome: Draft | ProviderError) -> bool:
    """Whether the outcome is the right one of the case."""
    kind, _, words = case.right.partition(": ")
    if kind.startswith("failed"):
        return isinstance(outcome, ProviderError) and bool(outcome.detail) and _has_words(case, outcome.detail, words)
    if kind == "cut":
        return outcome.reason is Reason.CUT if isinstance(outcome, ProviderError) else outcome.cut
    if isinstance(outcome, ProviderError) or outcome.cut or outcome.text != ANSWER:
        return False
    return bool(outcome.unfinished) == ("degraded" in kind) and (
        "usage" not in kind or (outcome.usage.input_tokens, outcome.usage.output_tokens) == USAGE
    )


def _has_words(case: Case, detail: str, words: str) -> bool:
    if words:
        return words in detail
    body = b"".join(part for part in case.reply if isinstance(part, bytes)).partition(b"\r\n\r\n")[2]
    if body.startswith(b"\x1f\x8b"):
        body = zlib.decompressobj(31).decompress(body)
    return detail in body.decode("utf-8", "replace")


def head(status: str = "200 OK", content_type: str = "text/event-stream", **headers: str) -> bytes:
    """The head of a reply whose body ends with the connection. Underscores in names of headers become hyphens."""
    given: Mapping[str, str] = {"content-type": content_type, "connection": "close", **headers}
    lines = (f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value)
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode()
