"""What becomes of a text on its way in."""

from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.text import fence, one_line, part_thinking, repair


def test_surrogate_halves_of_one_emoji_are_joined() -> None:
    assert repair("a\ud83d" + "\ude00b") == "a😀b"


def test_a_lone_surrogate_is_replaced() -> None:
    assert repair("a\ud83d") == "a\ufffd"


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_whatever_comes_in_can_be_encoded_afterwards(text: str) -> None:
    assert repair(repair(text).encode().decode()) == repair(text)


def test_closed_thoughts_are_kept_apart() -> None:
    assert part_thinking("<think>hm</think>\nYes. <think>oh</think>") == ("Yes.", "hm\n\noh")


def test_an_open_thought_takes_all_that_follows() -> None:
    assert part_thinking("So.\n<think>but then") == ("So.", "but then")


def test_a_thought_without_its_opening_tag_takes_all_before_it() -> None:
    assert part_thinking("hm</think>Yes.") == ("Yes.", "hm")


def test_nested_thoughts_leave_none_of_their_words() -> None:
    assert part_thinking("<think>a<think>b</think>c</think>said")[0] == "said"


@given(st.text(), st.integers(0, 2**64 - 1))
def test_a_fence_closes_exactly_once_whatever_it_encloses(text: str, seed: int) -> None:
    nonce = f"{seed:016x}"

    assert fence(f"{text}{nonce}>>", "draft 1", nonce).count(nonce) == 2


def test_one_line_folds_cuts_and_drops_what_cannot_be_printed() -> None:
    assert one_line("a\nb\x1b[31m c") == "a b[31m c"
    assert len(one_line("x" * 500)) == 200
