"""Counting a flow's calls without making them."""

import json
from collections.abc import Sequence

import pytest

from moa_mcp.errors import PlanRefused, RunFailed
from moa_mcp.flows.branching import branch
from moa_mcp.flows.mixture import mixture
from moa_mcp.flows.rehearsal import DRAFT_TOKENS, MOST_CALLS, rehearse
from moa_mcp.model import Answer, Batch, Call, Draft, Flow, Kind, Likely, Message, Outcome, Task
from moa_mcp.preset import Aggregator, Preset, Proposer

TASK = Task("Why is the sky blue?")


def a_panel(proposers: int = 6, layers: int = 3) -> Preset:
    slots = tuple(Proposer(model=f"lab/p{number}") for number in range(1, proposers + 1))
    return Preset(proposers=slots, layers=layers, aggregator=Aggregator(model="lab/agg", fallbacks=("lab/x",)))


def a_call(identity: str, *, kind: Kind = "chat", likely: Likely | None = None, texts: int = 1) -> Call:
    messages = tuple(Message("user", f"text {number}") for number in range(texts))
    return Call(identity, "judge", 1, 1, "lab/judge", messages, kind=kind, likely=likely)


def texts(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.text for outcome in outcomes if isinstance(outcome, Draft)]


@pytest.mark.parametrize(("proposers", "layers", "calls"), [(6, 3, 13), (6, 2, 7), (2, 2, 3), (3, 1, 1), (4, 4, 13)])
def test_a_plain_panel_makes_n_times_layers_less_one_calls_and_one_more(
    proposers: int, layers: int, calls: int
) -> None:
    rehearsal = rehearse(mixture(TASK, a_panel(proposers, layers)))

    assert (rehearsal.calls, rehearsal.rounds) == (calls, layers)


def test_later_calls_read_the_made_up_drafts() -> None:
    first, *_, last = rehearse(mixture(TASK, a_panel())).asked

    assert (first.model, last.model) == ("lab/p1", "lab/agg")
    assert last.input_tokens > 6 * DRAFT_TOKENS > first.input_tokens > 0


def test_a_call_writes_no_more_than_its_limit_allows() -> None:
    preset = Preset(layers=1, aggregator=Aggregator(model="lab/agg", max_tokens=50))
    (only,) = rehearse(mixture(TASK, preset)).asked

    assert only.output_tokens == 50


def test_no_two_drafts_are_alike() -> None:
    def flow() -> Flow:
        outcomes = yield Batch(1, (a_call("1"), a_call("2")))
        one, two = texts(outcomes)
        assert not set(one.split()) & set(two.split())
        return Answer("")

    assert rehearse(flow()).calls == 2


def test_a_reply_of_fixed_form_is_the_one_that_lets_the_flow_go_on_longest() -> None:
    def flow() -> Flow:
        (outcome,) = yield Batch(1, (a_call("1", likely=Likely("stop", "go on")),))
        if texts([outcome]) == ["go on"]:
            yield Batch(2, (a_call("2"),))
        return Answer("")

    assert rehearse(flow()).calls == 2


def test_embeddings_are_vectors_that_differ_and_nothing_is_written_for_them() -> None:
    def flow() -> Flow:
        (outcome,) = yield Batch(1, (a_call("1", kind="embedding", texts=3),))
        assert json.loads(texts([outcome])[0]) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
        return Answer("")

    (call,) = rehearse(flow()).asked
    assert call.output_tokens == 0


def test_calls_inside_a_slot_count_and_their_rounds_run_side_by_side() -> None:
    def flow() -> Flow:
        inner = branch("1.2", 1, 2, "deep", lambda: mixture(TASK, a_panel(2, 3)))
        yield Batch(1, (a_call("1.1"),), branches=(inner,))
        yield Batch(2, (a_call("2.1"),))
        return Answer("")

    rehearsal = rehearse(flow())

    assert (rehearsal.calls, rehearsal.rounds) == (1 + 5 + 1, 3 + 1)


def test_a_flow_that_fails_for_want_of_real_drafts_counts_up_to_there() -> None:
    def flow() -> Flow:
        yield Batch(1, (a_call("1"), a_call("2")))
        raise RunFailed("The drafts say nothing.")

    assert rehearse(flow()).calls == 2


def test_a_plan_of_very_many_calls_is_refused() -> None:
    def endless() -> Flow:
        while True:
            yield Batch(1, tuple(a_call(str(number)) for number in range(100)))

    with pytest.raises(PlanRefused, match=f"{MOST_CALLS:,}"):
        rehearse(endless())
