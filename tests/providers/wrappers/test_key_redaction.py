"""A key is taken out of a reply, however it is cut into pieces."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.model import Call, ChatCall, Draft, Message
from moa_mcp.domain.text import strip_invisible
from moa_mcp.providers.base import OnText
from moa_mcp.providers.wire.keys import key_forms
from moa_mcp.providers.wrappers.key_redaction import KeyRedaction
from tests.results import as_draft

KEY = "sk-a+b/c"
CALL = ChatCall("1.1", "proposer", 1, 1, "lab/owl", (Message("user", "Why?"),))


class Pieces:
    """Says these pieces."""

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        for piece in self._pieces:
            on_text(piece)
        return Draft("".join(self._pieces), thinking=KEY, served_model=f"owl {KEY}", finish_reason="stop")


def shown(pieces: list[str]) -> str:
    """What comes through of the pieces."""
    through: list[str] = []

    async def ask() -> None:
        as_draft(await KeyRedaction(Pieces(pieces), KEY).complete(CALL, through.append))

    anyio.run(ask)
    return "".join(through)


@given(st.lists(st.sampled_from(["a", "s", "sk-", "-a+", KEY, KEY[:5], KEY[5:], *key_forms(KEY)]), max_size=12))
def test_no_form_of_the_key_comes_through_whatever_the_pieces(pieces: list[str]) -> None:
    text = shown(pieces)

    assert not any(form in text for form in key_forms(KEY))


@given(st.lists(st.text("abcsk-", max_size=4), max_size=12))
def test_text_without_the_key_comes_through_whole(pieces: list[str]) -> None:
    assert shown(pieces) == "".join(pieces)


HIDDEN = ["\u200b", "\ufe0f", "\x1b[31m", "\x00", "\u3164"]


@given(st.lists(st.sampled_from([*KEY, *HIDDEN, "a", "\x1b", "[31m", KEY[:4], KEY[4:]]), max_size=24))
def test_no_key_comes_through_between_characters_that_cannot_be_seen(pieces: list[str]) -> None:
    through: list[str] = []

    async def ask() -> Draft:
        return as_draft(await KeyRedaction(Pieces(pieces), KEY).complete(CALL, through.append))

    draft = anyio.run(ask)
    assert KEY not in strip_invisible(draft.text)
    assert KEY not in strip_invisible("".join(through))


def test_a_draft_is_masked_in_all_its_texts(make_call: Callable[..., Call]) -> None:
    async def ask() -> Draft:
        return as_draft(await KeyRedaction(Pieces([f"It is {KEY}."]), KEY).complete(make_call(), lambda _: None))

    draft = anyio.run(ask)

    assert (draft.text, draft.thinking, draft.served_model) == ("It is [key].", "[key]", "owl [key]")
