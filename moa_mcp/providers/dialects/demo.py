"""The demo dialect: no network and no model, only a fixed text, to try a client without a key."""

from __future__ import annotations

from moa_mcp.domain.endpoints import DIALECTS, Dialect
from moa_mcp.domain.model import AGGREGATOR, ChatCall, Draft, Usage
from moa_mcp.domain.text import one_line
from moa_mcp.providers.base import OnText

ECHO = 120
"""Characters of the question that the answer repeats."""


class DemoProvider:
    """Answers every call at once; the same call always gets the same answer."""

    async def complete(self, call: ChatCall, on_text: OnText) -> Draft:
        """Answer that no model was called, in a few pieces."""
        sentences = _sentences(call)
        for sentence in sentences:
            on_text(sentence)
        return Draft("".join(sentences), call.model, "stop", Usage(0, 0, 0.0))


def _sentences(call: ChatCall) -> tuple[str, ...]:
    kind = "answer" if call.role == AGGREGATOR else "draft"
    question = next((message.text for message in reversed(call.messages) if message.speaker == "user"), "")
    opening = f"Demo {kind} from {call.model}: no model was called. "
    echo = f"The question began: “{one_line(_first_line(question), ECHO)}” "
    if call.role != AGGREGATOR:
        return opening, echo, f"This is proposer {call.slot} of layer {call.layer}."
    return (
        opening,
        echo,
        "A real panel would have put its drafts together here. ",
        "To ask one, set the key variable of a provider, for one OPENROUTER_API_KEY, and start again.",
    )


def _first_line(question: str) -> str:
    """The first line only, because the drafts of the previous layer may follow the question."""
    return question.strip().partition("\n")[0]


DIALECTS.add("demo", Dialect(lambda endpoint, http: DemoProvider(), needs_base_url=False, calls_models=False))
