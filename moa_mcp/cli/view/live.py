"""The live view: a table of the run's calls, drawn on a terminal's stderr during the run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from moa_mcp.cli.view.progress_table import ProgressTable, Row, State, drafts
from moa_mcp.domain.model import PROPOSER
from moa_mcp.domain.text import one_line
from moa_mcp.runs.background import background_tasks
from moa_mcp.runs.events import Event

REDRAW_SECONDS = 0.1
"""Seconds between two drawings: short enough that the tenths of a second count smoothly."""

_WORDS: dict[State, tuple[str, str]] = {
    "waiting": ("waiting", "dim"),
    "asked": ("asked", "yellow"),
    "writing": ("writing", "cyan"),
    "ok": ("done", "green"),
    "cut": ("cut off", "magenta"),
    "failed": ("failed", "red"),
    "cancelled": ("cancelled", "magenta"),
    "refused": ("not sent", "magenta"),
}


class LiveView:
    """Shows and updates the table until `yields_to` returns true for an event; then the table stays as it is."""

    def __init__(self, title: str, console: Console, yields_to: Callable[[Event], bool]) -> None:
        self._title = title
        self._yields_to = yields_to
        self._console = console
        self._table = ProgressTable(anyio.current_time)
        self._started = anyio.current_time()
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False)

    def on_event(self, event: Event) -> None:
        """Record an event. The next drawing shows it."""
        self._table.on_event(event)
        if self._yields_to(event):
            self.freeze()

    def redraw(self) -> None:
        if self._live.is_started:
            now, room = anyio.current_time(), self._console.height - 1
            picture = drawing(self._table, self._title, now - self._started, now, room)
            self._live.update(picture, refresh=True)

    def freeze(self) -> None:
        """Draw once more and release the screen. A second call does nothing."""
        self.redraw()
        self._live.stop()

    async def run(self) -> None:
        """Keep the view up to date until cancelled."""
        self._live.start()
        while True:
            self.redraw()
            await anyio.sleep(REDRAW_SECONDS)


@asynccontextmanager
async def live_view(title: str, yields_to: Callable[[Event], bool]) -> AsyncGenerator[LiveView]:
    """Show a view on stderr while the block runs, until `yields_to` returns true for an event."""
    view = LiveView(title, Console(stderr=True), yields_to)
    try:
        async with background_tasks() as tasks:
            tasks.start_soon(view.run, name="live view")
            yield view
    finally:
        view.freeze()


def drawing(progress: ProgressTable, title: str, seconds: float, now: float, room: int) -> RenderableType:
    """The table at the time `now`, which is `seconds` after the start of the run.

    If the table has more than `room` lines, each finished layer is drawn as one line.
    """
    table = _grid()
    table.add_row("", _shrinkable(one_line(title), "bold"), "", *_figures(progress.rows, seconds))
    crowded = 1 + len(progress.rows) + len(progress.layers) > room
    for layer, rows in progress.layers:
        table.add_row(Text(f"layer {layer}", "bold"), _shrinkable(_purpose(rows), "bold"))
        if not (crowded and all(row.record for row in rows)):
            for row in rows:
                table.add_row(*_line(row, now, progress.waits.of(row.call.id, now)))
    return table


def _grid() -> Table:
    """A table with columns for call id, model, state, seconds, tokens, price and error.

    On a narrow terminal rich shrinks the columns that may wrap first: model and error. Their texts are cut instead.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(max_width=44)
    table.add_column(no_wrap=True)
    for _ in ("seconds", "tokens", "price"):
        table.add_column(no_wrap=True, justify="right")
    table.add_column()
    return table


def _shrinkable(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _purpose(rows: Sequence[Row]) -> str:
    proposals = [row for row in rows if row.call.role == PROPOSER and row.call.parent is None]
    return f"{drafts(proposals)} of {len(proposals)} drafts" if proposals else "the answer"


def _line(row: Row, now: float, wait: str) -> tuple[Text, ...]:
    word, style = _WORDS[row.state]
    fault = one_line(row.record.error, 120) if row.record and row.record.error else ""
    seconds = row.seconds(now)
    return (
        Text(f"  {one_line(row.call.id)}", "dim"),
        _shrinkable(one_line(row.call.model)),
        Text(word, style),
        *_figures((row,), seconds),
        _shrinkable(fault or wait, "red" if fault else "yellow"),
    )


def _figures(rows: Sequence[Row], seconds: float | None) -> tuple[Text, Text, Text]:
    """Seconds, tokens and price of one or many rows. Estimated token counts begin with a tilde.

    `≥` marks a sum that lacks an unknown price.
    """
    written = [row.tokens for row in rows]
    total = sum(count for count, _ in written)
    mark = "" if all(exact for count, exact in written if count) else "~"
    prices = [row.cost_usd for row in rows if row.cost_usd is not None]
    least = "≥ " if any(row.record and row.record.is_billed and row.cost_usd is None for row in rows) else ""
    return (
        Text("" if seconds is None else f"{seconds:.1f} s"),
        Text(f"{mark}{total:,} tokens" if total else ""),
        Text(f"{least}${sum(prices):.4f}" if prices else ""),
    )
