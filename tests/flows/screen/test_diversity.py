"""RMoA's selection: the drafts that differ most go on, in the order of their slots."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Failure
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.screen.diversity import select_diverse
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, judged
from tests.flows.panel import TASK, a_panel, draft_of, is_plain, prompt_of
from tests.results import embeddings

EMBEDDED = replace(TASK, embeddings="lab/embed")
# Slots 1 and 2 are nearly one, 3 is between them and 4, which is like none.
VECTORS = embeddings([1, 0, 0], [0.99, 0.1, 0], [0.6, 0.8, 0], [0, 0, 1])


def screened(keep: int, reply: FakeReply = VECTORS) -> Played:
    preset = a_panel(screen={"by": "diversity", "keep": keep})
    return judged(lambda _: reply, preset, EMBEDDED)


def kept_by(played: Played) -> list[int]:
    text = prompt_of(played.calls[-1])
    return [number for number in range(1, 7) if draft_of(number) in text]


def test_greedy_takes_the_one_least_like_all_then_the_least_like_any_chosen() -> None:
    matrix = [[1, 0.9, 0.5, 0.1], [0.9, 1, 0.6, 0.2], [0.5, 0.6, 1, 0.3], [0.1, 0.2, 0.3, 1]]

    assert select_diverse(matrix, 1) == [3]
    assert select_diverse(matrix, 2) == [0, 3]
    assert select_diverse(matrix, 3) == [0, 2, 3]


def test_of_equal_ones_the_lowest_index_is_chosen() -> None:
    assert select_diverse([[1.0] * 5] * 5, 3) == [0, 1, 2]


@given(st.integers(1, 8), st.integers(1, 10), st.data())
def test_greedy_keeps_as_many_as_wanted_in_order(count: int, keep: int, data: st.DataObject) -> None:
    numbers = st.floats(-1, 1)
    matrix = data.draw(st.lists(st.lists(numbers, min_size=count, max_size=count), min_size=count, max_size=count))

    kept = select_diverse(matrix, keep)

    assert kept == sorted(set(kept))
    assert len(kept) == min(keep, count)


def test_only_the_kept_drafts_go_on_in_the_order_of_their_slots() -> None:
    played = screened(2)

    assert kept_by(played) == [1, 4]
    (entry,) = played.answer.method["screen"]
    assert (entry["kept"], entry["dropped"], entry["similarity"]) == ([1, 4], [2, 3], "embeddings")
    assert is_plain(played.answer.method)


def test_where_all_are_kept_nothing_is_compared() -> None:
    played = screened(4)

    assert {call.role for call in played.calls} == {"proposer", "aggregator"}
    assert played.answer.method["screen"] == [{"layer": 1, "kept": [1, 2, 3, 4], "how": "none to drop"}]


def test_a_failed_slot_is_no_candidate() -> None:
    preset = a_panel(screen={"by": "diversity", "keep": 3})

    def reply(call: Call) -> FakeReply:
        return Failure(Reason.AUTH) if call.id == "1.4" else draft_of(call.slot)

    assert kept_by(drive(ask_panel(TASK, preset), reply)) == [1, 2, 3]


def test_without_embeddings_words_are_compared_and_a_note_says_so() -> None:
    played = screened(2, Failure(Reason.TIMEOUT))

    assert len(kept_by(played)) == 2
    assert played.answer.method["screen"][0]["similarity"] == "lexical"
    assert any("the embeddings failed" in note for note in played.answer.notes)
