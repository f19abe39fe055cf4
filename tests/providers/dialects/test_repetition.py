"""A text that goes round in a circle is noticed; one that only looks like it is not."""

from __future__ import annotations

import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.providers.dialects.repetition import RepetitionDetector


def feed(watch: RepetitionDetector, text: str, size: int) -> None:
    """Give a text in pieces of that size."""
    for start in range(0, len(text), size):
        watch.feed(text[start : start + size])


ROUND = "So I will think it over once more, and then again. "


@pytest.mark.parametrize("size", [1, 7, 999, 100_000])
def test_a_loop_is_noticed_while_it_goes_on_whatever_its_pieces(size: int) -> None:
    with pytest.raises(ProviderError) as caught:
        feed(RepetitionDetector(), "Well. " + ROUND * 400, size)

    assert caught.value.reason is Reason.DEGENERATE


def test_a_short_loop_is_noticed_at_the_end() -> None:
    with pytest.raises(ProviderError):
        RepetitionDetector().check(ROUND * 25)


@pytest.mark.parametrize(
    "text",
    [
        ROUND * 20,
        "\n".join(f"{number}. The same words in line {number} of this list, but for one." for number in range(400)),
        "-" * 5000,
        "0, 0, 0, 0, " * 1000,
        "\n" * 3000,
        "| --- | --- |\n" * 300,
        "",
    ],
)
def test_lists_tables_and_rulers_are_no_loops(text: str) -> None:
    watch = RepetitionDetector()
    watch.feed(text)
    watch.check(text)
