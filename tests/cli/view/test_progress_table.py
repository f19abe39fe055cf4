"""The board keeps a row for each call of a run, from events alone."""

from moa_mcp.cli.view.progress_table import ProgressTable, Row, drafts
from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import (
    AGGREGATOR,
    PROPOSER,
    Answer,
    Batch,
    Branch,
    Call,
    CallRecord,
    ChatCall,
    Draft,
    Failure,
    PanelCall,
    Usage,
)
from moa_mcp.runs.events import BatchStarted, BranchEnded, CallEnded, CallStarted, TextArrived


def a_call(identity: str, role: str = PROPOSER, layer: int = 1, slot: int = 1, branches: tuple[str, ...] = ()) -> Call:
    return ChatCall(identity, role, layer, slot, f"lab/model-{slot}", (), branches=branches)


def a_board(*times: float) -> ProgressTable:
    """A board whose clock tells `times`, one at each look."""
    left = list(times)
    return ProgressTable(lambda: left.pop(0))


def only(board: ProgressTable) -> Row:
    (row,) = board.rows
    return row


def test_a_planned_call_waits_until_it_is_sent() -> None:
    board = a_board(3.0)
    board.on_event(BatchStarted(Batch(1, (a_call("1.1"),))))

    before = only(board).state, only(board).seconds(4.0)
    board.on_event(CallStarted(a_call("1.1")))

    assert before == ("waiting", None)
    assert (only(board).state, only(board).seconds(4.5)) == ("asked", 1.5)


def test_arriving_text_is_counted_as_about_a_token_for_four_letters() -> None:
    board = a_board(0.0)
    board.on_event(CallStarted(a_call("1.1")))
    board.on_event(TextArrived(a_call("1.1"), "12345678"))
    board.on_event(TextArrived(a_call("1.1"), "9abc"))

    assert only(board).state == "writing"
    assert only(board).tokens == (3, False)


def test_the_providers_own_count_replaces_the_estimate_at_the_end() -> None:
    board = a_board(0.0)
    call = a_call("1.1")
    board.on_event(CallStarted(call))
    board.on_event(TextArrived(call, "x" * 400))
    draft = Draft("x" * 400, usage=Usage(10, 77, 0.002))
    board.on_event(CallEnded(CallRecord(call, draft, 2.5)))

    row = only(board)
    assert (row.state, row.tokens, row.cost_usd, row.seconds(99.0)) == ("ok", (77, True), 0.002, 2.5)


def test_an_estimate_stays_marked_where_the_provider_counted_nothing() -> None:
    board = a_board(0.0)
    call = a_call("1.1")
    board.on_event(CallStarted(call))
    board.on_event(TextArrived(call, "x" * 40))
    board.on_event(CallEnded(CallRecord(call, Draft("x" * 40), 1.0)))

    assert only(board).tokens == (10, False)


def test_a_call_out_of_the_journal_is_on_the_board_though_it_never_started() -> None:
    board = a_board()
    board.on_event(CallEnded(CallRecord(a_call("1.1"), Failure(Reason.AUTH), 0.5), replayed=True))

    assert only(board).state == "failed"


def test_layers_are_in_the_order_in_which_they_began() -> None:
    board = a_board()
    board.on_event(BatchStarted(Batch(1, (a_call("1.1"), a_call("1.2", slot=2)))))
    board.on_event(BatchStarted(Batch(2, (a_call("2.1", AGGREGATOR, layer=2),))))

    layers = [(layer, [row.call.id for row in rows]) for layer, rows in board.layers]
    assert layers == [(1, ["1.1", "1.2"]), (2, ["2.1"])]


def a_branch() -> Branch:
    def nothing() -> Answer:
        raise AssertionError("the board does not run flows")

    return Branch(PanelCall("1.1", PROPOSER, 1, 1, "panel/inner", ()), nothing)  # type: ignore[arg-type]  # never driven here


def test_the_calls_of_a_panel_in_a_slot_follow_their_slot() -> None:
    board = a_board(0.0)
    board.on_event(BatchStarted(Batch(1, (a_call("1.2", slot=2),), (a_branch(),))))
    board.on_event(BatchStarted(Batch(1, (a_call("1.1/1.1", branches=("1.1",)), a_call("1.1/1.2", branches=("1.1",))))))
    board.on_event(BranchEnded(CallRecord(a_call("1.1"), Draft("done"), 4.0)))

    assert [row.call.id for row in board.rows] == ["1.2", "1.1", "1.1/1.1", "1.1/1.2"]
    assert [row.state for row in board.rows] == ["waiting", "ok", "waiting", "waiting"]


def test_only_calls_that_ended_with_a_text_count_as_drafts() -> None:
    board = a_board()
    board.on_event(CallEnded(CallRecord(a_call("1.1"), Draft("yes"), 1.0)))
    board.on_event(CallEnded(CallRecord(a_call("1.2"), Draft("part", cut=True), 1.0)))
    board.on_event(CallEnded(CallRecord(a_call("1.3"), Failure(Reason.TIMEOUT), 1.0)))
    board.on_event(BatchStarted(Batch(1, (a_call("1.4"),))))

    assert drafts(board.rows) == 2
