"""Layers end once the drafts agree. That they end without a residual is in test_residual."""

from dataclasses import replace

import pytest

from moa_mcp.domain.model import Call
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply
from tests.flows.panel import TASK, a_panel, is_plain, with_role
from tests.results import embeddings

PANEL = a_panel(slots=3, layers=4, stop={"by": "agreement", "agree": 0.9})


def agreeing_in(layer: int, preset: Preset = PANEL) -> Played:
    def reply(call: Call) -> FakeReply:
        return "all the same" if call.layer >= layer else f"opinion {call.id.replace('.', '')}"

    return drive(ask_panel(TASK, preset), reply)


@pytest.mark.parametrize("layer", [1, 2])
def test_layers_end_with_the_first_whose_drafts_agree(layer: int) -> None:
    played = agreeing_in(layer)

    assert len(with_role(played.calls, "proposer")) == 3 * layer
    assert played.answer.method["stopped"] == {"layer": layer, "why": "its drafts agree"}
    assert is_plain(played.answer.method)


def test_drafts_that_never_agree_take_all_layers() -> None:
    played = agreeing_in(9)

    assert len(with_role(played.calls, "proposer")) == 9
    assert "stopped" not in played.answer.method
    assert [entry["layer"] for entry in played.answer.method["agreement"]] == [1, 2]


def test_one_draft_that_differs_keeps_the_layers_going() -> None:
    played = drive(ask_panel(TASK, PANEL), lambda call: "something else" if call.slot == 3 else "the same words")

    assert len(with_role(played.calls, "proposer")) == 9


def test_after_the_last_proposer_layer_there_is_nothing_to_stop() -> None:
    played = agreeing_in(1, PANEL.model_copy(update={"layers": 2}))

    assert "stopped" not in played.answer.method
    assert "agreement" not in played.answer.method


def test_a_single_draft_does_not_stop_the_layers() -> None:
    preset = a_panel(slots=1, layers=3, stop={"by": "agreement"})

    assert len(with_role(agreeing_in(1, preset).calls, "proposer")) == 2


def test_embeddings_decide_where_there_are_some() -> None:
    def reply(call: Call) -> FakeReply:
        return embeddings([1, 0], [1, 0.1], [1, 0.2]) if call.role == "embedder" else f"words {call.id}"

    played = drive(ask_panel(replace(TASK, embeddings="lab/embed"), PANEL), reply)

    assert played.answer.method["stopped"]["layer"] == 1
    assert [call.id for call in with_role(played.calls, "embedder")] == ["1.embedder.stop"]
