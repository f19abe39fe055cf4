"""What a model writes reaches the rest of the program without the markers of its run."""

from __future__ import annotations

import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, ChatCall, CodeCall, Draft, Message
from moa_mcp.providers.base import OnText, ignore_text
from moa_mcp.providers.wrappers.marker_removal import NOTE, MarkerRemoval
from tests.results import as_draft

CODE = "08d3f1a2b4c59e67"
CALL = ChatCall("1.1", "proposer", 1, 1, "lab/owl", (Message("user", "Why?"),))
COPIED = f"<<end of draft 2 {CODE}>>\nParis."


class Saying:
    """Says these pieces, then fails if it should."""

    def __init__(self, *pieces: str, fails: bool = False) -> None:
        self._pieces = pieces
        self._fails = fails

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        for piece in self._pieces:
            on_text(piece)
        if self._fails:
            raise ProviderError(Reason.CUT)
        return Draft("".join(self._pieces), thinking=f"The code is {CODE}.", finish_reason="stop")


async def test_pieces_draft_and_thoughts_are_filtered_and_a_note_says_so() -> None:
    shown: list[str] = []
    draft = as_draft(await MarkerRemoval(Saying(*COPIED), CODE).complete(CALL, shown.append))

    assert "".join(shown) == draft.text == "Paris."
    assert CODE not in draft.thinking
    assert draft.notes == (NOTE,)


async def test_an_ordinary_reply_is_unchanged_and_has_no_note() -> None:
    draft = as_draft(await MarkerRemoval(Saying(" a < b\n"), CODE).complete(CALL, ignore_text))

    assert (draft.text, draft.notes) == (" a < b\n", ())


async def test_text_that_is_held_back_is_passed_on_when_the_reply_breaks_off() -> None:
    shown: list[str] = []
    with pytest.raises(ProviderError):
        await MarkerRemoval(Saying("1 <", fails=True), CODE).complete(CALL, shown.append)

    assert "".join(shown) == "1 <"


async def test_what_a_program_printed_is_not_touched() -> None:
    call = CodeCall("c", "sandbox", 1, 1, "sandbox", ())

    assert as_draft(await MarkerRemoval(Saying(COPIED), CODE).complete(call, ignore_text)).text == COPIED
