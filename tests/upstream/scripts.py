"""Scripts decide how the upstream answers: functions from a request to a reply or a fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from tests.upstream.faults import Fault
from tests.upstream.reply import Reply
from tests.upstream.request import Request

Answer = Reply | Fault

Script = Callable[[Request], Answer | Awaitable[Answer]]
"""May be asynchronous, to hold an answer until a test lets it go."""

_ECHOED_CHARACTERS = 200


def echo(request: Request) -> Reply:
    """Answer with the name of the model and the beginning of the question."""
    return Reply(f"{request.model} was asked: {request.question[:_ECHOED_CHARACTERS]}")


def in_turn(*answers: Answer) -> Script:
    """Give the answers one after another, and the last of them again and again."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def by_model(scripts: Mapping[str, Answer | Script], otherwise: Answer | Script = echo) -> Script:
    """Answer each model as its own entry says."""

    def script(request: Request) -> Answer | Awaitable[Answer]:
        chosen = scripts.get(request.model, otherwise)
        return chosen if isinstance(chosen, Reply | Fault) else chosen(request)

    return script
