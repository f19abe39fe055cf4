"""What is kept of an answer that broke off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft, EmbedCall, Usage
from moa_mcp.providers.base import OnText, ignore_text
from moa_mcp.providers.wrappers.keep_partial import MIN_PARTIAL_CHARS, KeepPartial
from tests.results import as_draft

ENOUGH = "a" * MIN_PARTIAL_CHARS


class Breaking:
    """Says `text` in two pieces, then fails."""

    def __init__(self, text: str, reason: Reason) -> None:
        self._text = text
        self._reason = reason

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        on_text(self._text[:7])
        on_text(self._text[7:])
        raise ProviderError(self._reason, served_model="owl-1", usage=Usage(9, 8, 0.5))


class Cut:
    """Answers with a part of a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        return Draft(self._text, cut=True, usage=Usage(9, 8))


@pytest.mark.parametrize("reason", [Reason.STALLED, Reason.TIMEOUT, Reason.BUDGET, Reason.CUT])
async def test_a_long_part_is_a_cut_draft_with_what_is_known_of_it(
    make_call: Callable[..., Call], reason: Reason
) -> None:
    draft = as_draft(await KeepPartial(Breaking(ENOUGH, reason)).complete(make_call(), ignore_text))

    assert (draft.text, draft.cut, draft.served_model) == (ENOUGH, True, "owl-1")
    assert draft.usage == Usage(9, 8, 0.5, estimated=True)
    assert len(draft.notes) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ENOUGH[1:], Reason.STALLED),
        (f"{ENOUGH[1:]}   ", Reason.CUT),
        (ENOUGH, Reason.DEGENERATE),
        (ENOUGH, Reason.OVERLOADED),
    ],
)
async def test_a_short_part_and_any_other_fault_stay_a_failure(
    make_call: Callable[..., Call], text: str, reason: Reason
) -> None:
    with pytest.raises(ProviderError) as caught:
        await KeepPartial(Breaking(text, reason)).complete(make_call(), ignore_text)

    assert caught.value.reason is reason


async def test_the_same_rule_holds_for_a_stream_that_was_cut(make_call: Callable[..., Call]) -> None:
    kept = as_draft(await KeepPartial(Cut(ENOUGH)).complete(make_call(), ignore_text))
    with pytest.raises(ProviderError) as caught:
        await KeepPartial(Cut(ENOUGH[1:])).complete(make_call(), ignore_text)

    assert kept.text == ENOUGH
    assert (caught.value.reason, caught.value.sent_text, caught.value.usage.input_tokens) == (Reason.CUT, True, 9)


async def test_half_of_what_is_no_text_is_never_kept(make_call: Callable[..., Call]) -> None:
    with pytest.raises(ProviderError):
        await KeepPartial(Breaking(ENOUGH, Reason.STALLED)).complete(make_call(EmbedCall), ignore_text)
