"""No marker and no code of the run comes through, however a reply is cut into pieces; all other text does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.markers import MarkerFilter, without_markers
from moa_mcp.domain.text import fence, strip_invisible, tag

CODE = "08d3f1a2b4c59e67"


def shown(pieces: list[str]) -> str:
    markers = MarkerFilter(CODE)
    return "".join([*map(markers.feed, pieces), markers.close()])


@pytest.mark.parametrize(
    ("reply", "left"),
    [
        (f"<<end of draft 4 {CODE}>> The answer to your question is Paris.", "The answer to your question is Paris."),
        (f"Paris.\n</response 3 {CODE}>\n\nJust that.", "Paris.\n\nJust that."),
        ("Paris.\n<<end of draft 4>>", "Paris."),
        ("<response 2>\nParis.\n</response 2>", "Paris."),
        (f"Paris.\n<<end of draft 4 {CODE[:5]}", "Paris."),
        ("Paris.\n<</end of draft 4 08d3>>", "Paris."),
        (f"Paris.<<candidate B {CODE.upper()}>>It is.", "Paris. It is."),
        (f"The answer is {CODE}.", "The answer is …."),
        (f"<<message {CODE}>>\nParis.", "Paris."),
        (f"Pa<remarks {CODE}>ris", "Pa ris"),
    ],
)
def test_markers_are_taken_out_with_their_code_without_it_and_cut_off(reply: str, left: str) -> None:
    assert without_markers(reply, CODE) == left


@pytest.mark.parametrize(
    "text",
    [
        "if a < b and b<c then <b>bold</b> <response> std::cout << draft 1 >> x; 1 <<2>> 3",
        "Draft 1 of the letter, candidate B, response 3: 08d3 and f1a2.",
        "<message>hello</message> <draft id='1'>",
        "  kept as it is\n\n",
    ],
)
def test_ordinary_text_comes_through_byte_for_byte(text: str) -> None:
    assert without_markers(text, CODE) == text
    assert shown(list(text)) == text


@given(
    st.lists(
        st.sampled_from(
            ["a", "<", "<<", ">", "/", "\n", " ", "draft 1 ", "response 2 ", CODE[:7], CODE[7:], CODE, "\u200b"]
        )
    )
)
def test_no_code_comes_through_whatever_the_pieces(pieces: list[str]) -> None:
    assert CODE not in strip_invisible(shown(pieces))
    assert CODE not in strip_invisible(without_markers("".join(pieces), CODE))


@given(st.integers(1, 30), st.sampled_from([fence, tag]))
def test_a_prompt_that_is_copied_piece_by_piece_leaves_only_its_drafts(size: int, enclose: object) -> None:
    assert callable(enclose)
    copied = f"{enclose('one', 'draft 1', CODE)}\n{enclose('two', 'draft 2', CODE)}"

    assert shown([copied[at : at + size] for at in range(0, len(copied), size)]).split() == ["one", "two"]


@given(st.lists(st.text("<>/draft 10\n", max_size=4), max_size=12))
def test_pieces_and_the_whole_come_out_alike(pieces: list[str]) -> None:
    whole = "".join(pieces)
    assert shown(pieces).split() == shown([whole]).split()
