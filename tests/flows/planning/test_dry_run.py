"""Counting a flow's calls without making them."""

from collections.abc import Sequence

import pytest

from moa_mcp.domain.errors import PlanRefused, RunFailed
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import (
    Answer,
    Batch,
    Call,
    ChatCall,
    CodeCall,
    Draft,
    DryRunReplies,
    EmbedCall,
    Flow,
    Message,
    Outcome,
    Task,
)
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import (
    DRAFT_TOKENS,
    MAX_CALLS,
    Bounds,
    always_malformed,
    bounds,
    dry_run,
    longest_run,
    malformed_once,
    shortest_run,
)
from moa_mcp.flows.slot import branch_in_slot
from moa_mcp.flows.structured_reply import Form, ask_form, json_object
from tests.results import embeddings

TASK = Task("Why is the sky blue?")


def a_panel(proposers: int = 6, layers: int = 3) -> Preset:
    slots = tuple(Proposer(model=f"lab/p{number}") for number in range(1, proposers + 1))
    return Preset(proposers=slots, layers=layers, aggregator=Aggregator(model="lab/agg", fallbacks=("lab/x",)))


def a_call(identity: str, of: type[Call] = ChatCall, *, texts: int = 1) -> Call:
    messages = tuple(Message("user", f"text {number}") for number in range(texts))
    return of(identity, "judge", 1, 1, "lab/judge", messages)


def texts(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.text for outcome in outcomes if isinstance(outcome, Draft)]


@pytest.mark.parametrize(("proposers", "layers", "calls"), [(6, 3, 13), (6, 2, 7), (2, 2, 3), (3, 1, 1), (4, 4, 13)])
def test_a_plain_panel_makes_n_times_layers_less_one_calls_and_one_more(
    proposers: int, layers: int, calls: int
) -> None:
    planned = dry_run(ask_panel(TASK, a_panel(proposers, layers)))

    assert (planned.calls, planned.rounds) == (calls, layers)


def test_later_calls_read_the_made_up_drafts() -> None:
    first, *_, last = dry_run(ask_panel(TASK, a_panel())).planned_calls

    assert (first.model, last.model) == ("lab/p1", "lab/agg")
    assert last.input_tokens > 6 * DRAFT_TOKENS > first.input_tokens > 0


def test_a_call_writes_no_more_than_its_limit_allows() -> None:
    preset = Preset(layers=1, aggregator=Aggregator(model="lab/agg", max_tokens=50))
    (only,) = dry_run(ask_panel(TASK, preset)).planned_calls

    assert only.output_tokens == 50


def test_no_two_drafts_are_alike() -> None:
    def flow() -> Flow:
        outcomes = yield Batch(1, (a_call("1"), a_call("2")))
        one, two = texts(outcomes)
        assert not set(one.split()) & set(two.split())
        return Answer("")

    assert dry_run(flow()).calls == 2


def test_a_reply_of_fixed_form_is_the_one_that_lets_the_flow_go_on_longest() -> None:
    def flow() -> Flow:
        (outcome,) = yield Batch(1, (a_call("1"),), dry_run_replies=DryRunReplies("stop", "go on"))
        if texts([outcome]) == ["go on"]:
            yield Batch(2, (a_call("2"),))
        return Answer("")

    assert dry_run(flow()).calls == 2


def test_embeddings_are_vectors_that_differ_and_nothing_is_written_for_them() -> None:
    def flow() -> Flow:
        (outcome,) = yield Batch(1, (a_call("1", EmbedCall, texts=3),))
        assert outcome == embeddings([1, 0, 0], [0, 1, 0], [0, 0, 1])
        return Answer("")

    (call,) = dry_run(flow()).planned_calls
    assert call.output_tokens == 0


def test_calls_inside_a_slot_count_and_their_rounds_run_side_by_side() -> None:
    def flow() -> Flow:
        inner = branch_in_slot("1.2", 1, 2, "deep", lambda: ask_panel(TASK, a_panel(2, 3)))
        yield Batch(1, (a_call("1.1"),), branches=(inner,))
        yield Batch(2, (a_call("2.1"),))
        return Answer("")

    planned = dry_run(flow())

    assert (planned.calls, planned.rounds) == (1 + 5 + 1, 3 + 1)


def test_a_flow_that_fails_for_want_of_real_drafts_counts_up_to_there() -> None:
    def flow() -> Flow:
        yield Batch(1, (a_call("1"), a_call("2")))
        raise RunFailed("The drafts say nothing.")

    assert dry_run(flow()).calls == 2


def test_a_plan_of_very_many_calls_is_refused() -> None:
    def endless() -> Flow:
        while True:
            yield Batch(1, tuple(a_call(str(number)) for number in range(100)))

    with pytest.raises(PlanRefused, match=f"{MAX_CALLS:,}"):
        dry_run(endless())


def test_the_least_the_planned_and_the_most_come_from_playing_the_flow_in_different_worlds() -> None:
    preset = a_panel(proposers=2, layers=2)
    found = bounds(lambda: ask_panel(TASK, preset))

    # Both the aggregator and its fallback may be asked once more, because they repeated their instructions.
    assert found == Bounds(least_calls=3, most_calls=6, least_rounds=2, most_rounds=5)


def test_in_the_least_world_every_reply_ends_the_flow_soonest() -> None:
    def flow() -> Flow:
        (outcome,) = yield Batch(1, (a_call("1"),), dry_run_replies=DryRunReplies("stop", "go on"))
        if texts([outcome]) == ["go on"]:
            yield Batch(2, (a_call("2"),))
        return Answer("")

    assert (dry_run(flow(), shortest_run).calls, dry_run(flow(), longest_run).calls) == (1, 2)
    assert (bounds(flow).least_calls, bounds(flow).most_calls) == (1, 2)


def test_in_the_least_world_all_drafts_agree() -> None:
    def flow() -> Flow:
        one, two, vectors = yield Batch(1, (a_call("1"), a_call("2"), a_call("3", EmbedCall, texts=2)))
        assert one == two
        assert vectors == embeddings([1], [1])
        return Answer("")

    assert dry_run(flow(), shortest_run).calls == 3


def test_where_judges_go_astray_they_are_asked_again_and_then_answer() -> None:
    seen: list[str] = []

    def flow() -> Flow:
        read = yield from ask_form(
            a_call("1"), Form(lambda text: json_object(text, "a"), dry_run=DryRunReplies('{"a": 1}', '{"a": 2}'))
        )
        seen.append(read.outcome)
        return Answer("")

    assert [
        dry_run(flow(), world).calls for world in (shortest_run, longest_run, malformed_once, always_malformed)
    ] == [1, 1, 2, 2]
    assert seen == ["first try", "first try", "second try", "out of form"]


def test_code_that_is_run_here_is_no_call_and_no_round() -> None:
    def flow() -> Flow:
        yield Batch(1, (a_call("1", CodeCall),), dry_run_replies=DryRunReplies(Execution(), Execution()))
        yield Batch(1, (a_call("2"),))
        return Answer("")

    assert (dry_run(flow()).calls, dry_run(flow()).rounds) == (1, 1)


def test_a_branch_that_fails_in_a_dry_run_may_answer_in_a_run_so_the_outer_flow_goes_on() -> None:
    def failing() -> Flow:
        yield Batch(1, (a_call("inner"),))
        raise RunFailed("No.")

    def flow() -> Flow:
        (outcome,) = yield Batch(1, (), branches=(branch_in_slot("1.1", 1, 1, "deep", failing),))
        assert isinstance(outcome, Draft)
        yield Batch(2, (a_call("2"),))
        return Answer("")

    assert dry_run(flow()).calls == 2
