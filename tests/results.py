"""Calls and results, for tests: of the kind that a test expects, or made by hand."""

from collections.abc import Iterable, Sequence

from moa_mcp.domain.model import Call, ChatCall, Draft, Embeddings, Result


def chats(calls: Iterable[Call]) -> list[ChatCall]:
    """The calls, each of which has to be a chat call."""
    found = list(calls)
    chat_calls = [call for call in found if isinstance(call, ChatCall)]
    assert len(chat_calls) == len(found)
    return chat_calls


def as_draft(result: Result) -> Draft:
    """The result, which has to be a draft."""
    assert isinstance(result, Draft)
    return result


def embeddings(*vectors: Sequence[float]) -> Embeddings:
    return Embeddings(tuple(map(tuple, vectors)))
