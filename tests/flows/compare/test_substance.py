"""Refusals and very short drafts: what a comparison by words would always keep."""

from __future__ import annotations

import pytest

from moa_mcp.flows.compare.substance import is_refusal, with_substance
from moa_mcp.flows.panel import ask_panel
from moa_mcp.testing.playing import drive
from tests.flows.panel import TASK, a_panel

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "As an AI language model, I do not have opinions.",
    "Es tut mir leid, dabei kann ich nicht helfen.",
    "Leider kann ich dazu keine Auskunft geben, das geht nicht.",
    "Lo siento, no puedo ayudar con eso.",
    "Je suis désolé, je ne peux pas répondre.",
    "Desculpe, não posso ajudar.",
    "Извините, я не могу помочь с этим.",
    "抱歉，我无法回答这个问题。",
    "申し訳ありませんが、お答えできません。",
    "عذرًا، لا أستطيع المساعدة.",
]
ANSWERS = [
    "Sorites paradoxes concern vague predicates.",
    "I can show it in two steps.",
    "Ich kann es in zwei Schritten zeigen.",
    "The sky is blue because air scatters short waves more.",
    "I'm sorry to say that the proof fails. " * 20,
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_recognised_in_many_languages(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)


def test_short_is_short_beside_the_others() -> None:
    assert with_substance(["a long text of many words", "a long text of other words", "42"]) == [0, 1]
    assert with_substance(["Paris", "Lyon", "Nice"]) == [0, 1, 2]
    assert with_substance([]) == []


def test_a_screen_by_words_leaves_out_a_refusal_first() -> None:
    words = [
        f"the sky is blue because air scatters short waves {word} than long ones"
        for word in ("more", "better", "longer")
    ]
    said = [*words, REFUSALS[0], "42"]
    preset = a_panel(5, screen={"by": "diversity", "keep": 3})
    played = drive(ask_panel(TASK, preset), lambda call: said[call.slot - 1] if call.role == "proposer" else "merged")

    assert played.answer.method["screen"][0]["kept"] == [1, 2, 3]


def test_where_too_few_say_something_the_others_fill_up() -> None:
    said = ["the sky is blue because air scatters short waves more", *REFUSALS[:3]]
    preset = a_panel(4, screen={"by": "diversity", "keep": 2})
    played = drive(ask_panel(TASK, preset), lambda call: said[call.slot - 1] if call.role == "proposer" else "merged")

    kept = played.answer.method["screen"][0]["kept"]
    assert kept[0] == 1
    assert len(kept) == 2
