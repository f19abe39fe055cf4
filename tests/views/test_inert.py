"""What MCP clients get of a run: its texts, whole, with links that lead nowhere."""

from __future__ import annotations

from moa_mcp.domain.model import CallRecord, ChatCall, Draft, PanelCall, Run, Task
from moa_mcp.views.inert import inert
from tests.flows.panel import a_panel

LINK = '<a href="https://example.com/x">x</a> and [y](https://docs.example/y)'
INERT = '< a href="`https://example.com/x`">x< /a> and [y](https://docs.example/y)'


def a_run() -> Run:
    calls = (
        CallRecord(ChatCall("1.1", "proposer", 1, 1, "lab/p1", ()), Draft(LINK), 1.0),
        CallRecord(ChatCall("2.1", "aggregator", 2, 1, "lab/agg", ()), Draft(LINK), 1.0),
    )
    panels = (CallRecord(PanelCall("1.2", "proposer", 1, 2, "panel/inner", ()), Draft(LINK), 1.0),)
    task = Task("Why?", context="See docs.example.")
    return Run("r", "panel", a_panel(2), task, status="completed", answer=LINK, calls=calls, panels=panels)


def test_links_in_answer_and_drafts_are_inert_but_for_hosts_that_the_caller_named() -> None:
    shown = inert(a_run())

    assert shown.answer == INERT
    assert [record.outcome.text for record in shown.drafts if isinstance(record.outcome, Draft)] == [INERT, INERT]


def test_the_run_itself_keeps_the_texts_as_they_were_sent() -> None:
    run = a_run()
    inert(run)

    assert run == a_run()


def test_without_drafts_only_the_answer_is_changed() -> None:
    shown = inert(a_run(), drafts=False)

    assert (shown.answer, shown.drafts) == (INERT, a_run().drafts)
