"""How alike texts are: by embeddings where there are some, else by words, and which of the two."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Answer, Batch, EmbedCall, Failure, Flow, Task
from moa_mcp.flows.compare.similarity import (
    MAX_EMBEDDED_CHARS,
    Similarities,
    compare_texts,
    lexical_similarity,
    unit_vectors,
    words_of,
)
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply
from tests.flows.panel import TASK
from tests.results import embeddings

EMBEDDED = replace(TASK, embeddings="lab/embed")
TEXTS = ("the sky is blue", "the sky looks blue", "cheese")


def compared(reply: FakeReply, texts: Sequence[str] = TEXTS, task: Task = EMBEDDED) -> tuple[Similarities, Played]:
    """What comes of comparing `texts` where the embeddings' model says `said`."""
    found: list[Similarities] = []

    def flow() -> Flow:
        found.append((yield from compare_texts(task, texts, layer=1, until=0.5, place="screen")))
        yield Batch(1, ())  # a flow that asks nothing cannot be played
        return Answer("")

    played = drive(flow(), lambda _: reply)
    return found[0], played


def test_without_a_model_texts_are_compared_by_their_words_and_nothing_is_asked() -> None:
    found, played = compared("never asked", task=TASK)

    assert (found.kind, found.failure, played.calls) == ("lexical", None, ())
    assert found.facts == {"similarity": "lexical"}


def test_one_call_embeds_all_texts_a_message_each() -> None:
    found, played = compared(embeddings([1, 0], [3, 4], [0, 2]))

    (call,) = played.calls
    assert isinstance(call, EmbedCall)
    assert (call.id, call.role, call.model) == ("1.embedder.screen", "embedder", "lab/embed")
    assert [message.text for message in call.messages] == list(TEXTS)
    assert found.kind == "embeddings"
    assert [round(value, 9) for value in found.matrix[1]] == [0.6, 1, 0.8]


@pytest.mark.parametrize(
    "reply",
    [
        Failure(Reason.TIMEOUT),
        "no vectors",
        embeddings(),
        embeddings([1, 0], [0, 1]),
        embeddings([1, 0], [0, 1], [1]),
        embeddings([1, 0], [0, 1], [0, 0]),
        embeddings([1, 0], [0, 1], [math.nan, 1]),
        embeddings([1, 0], [0, 1], [math.inf, 1]),
        embeddings([1, 0], [0, 1], []),
    ],
)
def test_embeddings_that_fail_or_cannot_be_used_are_replaced_by_words_and_that_is_told(reply: FakeReply) -> None:
    found, _ = compared(reply)

    assert found.kind == "lexical"
    assert found.matrix == lexical_similarity(TEXTS)
    assert found.failure is not None
    assert found.facts["embeddings_lost"] == found.failure
    assert found.failure in found.notes[0]


def test_a_very_long_text_is_embedded_in_part_for_models_refuse_more_than_they_can_read() -> None:
    _, played = compared(embeddings([1], [1]), ["x" * 100_000, "y"])

    assert [len(message.text) for message in played.calls[0].messages] == [MAX_EMBEDDED_CHARS, 1]


def test_one_text_alone_is_compared_with_nothing() -> None:
    found, played = compared("never asked", ["alone"])

    assert (found.matrix, played.calls) == ([[1.0]], ())


def test_texts_that_share_words_are_more_alike_than_texts_that_do_not() -> None:
    matrix = lexical_similarity(TEXTS)

    assert 0 < matrix[0][1] < 1
    assert matrix[0][2] == 0


def test_a_word_that_all_texts_have_counts_less_than_one_that_two_share() -> None:
    matrix = lexical_similarity(["same rare", "same rare", "same other", "same else"])

    assert matrix[0][1] == 1
    assert matrix[2][3] < 0.5


def test_order_and_case_of_words_make_no_difference() -> None:
    assert lexical_similarity(["Blue is the sky", "the sky is blue"])[0][1] == pytest.approx(1)


def test_characters_of_scripts_without_spaces_are_words() -> None:
    matrix = lexical_similarity(["天空是蓝色的", "天空为什么是蓝色", "奶酪"])

    assert matrix[0][1] > 0.3
    assert matrix[0][2] == 0


@given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
def test_likeness_is_even_and_lies_between_0_and_1(texts: list[str]) -> None:
    matrix = lexical_similarity(texts)

    for row, one in enumerate(texts):
        for column, other in enumerate(texts):
            assert matrix[row][column] == matrix[column][row]
            assert -1e-9 <= matrix[row][column] <= 1 + 1e-9
            assert one != other or matrix[row][column] == 1


@given(st.lists(st.lists(st.floats(), max_size=3), max_size=3))
def test_any_vectors_become_vectors_of_length_1_or_none(found: list[list[float]]) -> None:
    vectors = unit_vectors(found, 2)

    assert vectors is None or [sum(number**2 for number in vector) for vector in vectors] == pytest.approx([1, 1])


def likeness(one: str, other: str) -> float:
    return lexical_similarity([one, other])[0][1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("小明是小红的老师", "小红是小明的老师"),
        ("A是B的老师", "B是A的老师"),
        ("A 是 B 的老师", "B 是 A 的老师"),
        ("太郎は花子の先生だ", "花子は太郎の先生だ"),
    ],
)
def test_the_order_of_signs_counts_where_words_have_no_breaks(one: str, other: str) -> None:
    assert 0.3 < likeness(one, other) < 0.95


@pytest.mark.parametrize(
    ("one", "other", "unlike"),
    [
        ("ท้องฟ้าเป็นสีฟ้าเพราะอากาศกระเจิงแสง", "เพราะอากาศกระเจิงแสง ท้องฟ้าเป็นสีฟ้า", "เมืองหลวงของฝรั่งเศสคือปารีส"),
        ("ທ້ອງຟ້າເປັນສີຟ້າເພາະອາກາດ", "ເພາະອາກາດ ທ້ອງຟ້າເປັນສີຟ້າ", "ນະຄອນຫຼວງຂອງຝຣັ່ງແມ່ນປາຣີ"),
        ("មេឃមានពណ៌ខៀវដោយសារខ្យល់", "ដោយសារខ្យល់ មេឃមានពណ៌ខៀវ", "រដ្ឋធានីរបស់បារាំងគឺប៉ារីស"),
        ("天空是蓝色的，因为空气散射光线", "因为空气散射光线，天空是蓝色的", "法国的首都是巴黎"),
        ("आकाश नीला है क्योंकि हवा", "क्योंकि हवा से आकाश नीला है", "फ्रांस की राजधानी पेरिस"),
    ],
)
def test_the_same_in_another_order_is_alike_in_scripts_of_their_own(one: str, other: str, unlike: str) -> None:
    assert likeness(one, other) > 0.7
    assert likeness(one, unlike) < 0.3


def test_a_text_is_like_itself_in_any_script() -> None:
    for text in ("ท้องฟ้า", "天", "नीला", "мир", "ก"):
        assert likeness(text, f"{text} ") == pytest.approx(1)


@pytest.mark.parametrize("part", ["天空", "ท้องฟ้า", "नीला ", "небо "])
def test_the_groups_of_a_text_grow_no_faster_than_the_text(part: str) -> None:
    words = {size: len(words_of(part * size)) for size in (1_000, 2_000)}

    assert words[2_000] <= 2 * words[1_000] + 10
