"""Writes the answer of a run to stdout: streamed to a terminal, whole to a pipe, or as part of the run as JSON."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod

import click

from moa_mcp.domain.model import AGGREGATOR, PROPOSER, Call, CallRecord, Failure, Run, panel_of
from moa_mcp.domain.text import Cleaner, escaped, strip_invisible
from moa_mcp.runs.events import BranchEnded, CallEnded, Event, TextArrived
from moa_mcp.views.notice import notice, partial_line
from moa_mcp.views.run import draft_text, drafts_markdown, result


class AnswerWriter(ABC):
    """Writes the answer of one run to stdout, and with `drafts` its drafts. By default it writes when the run ends."""

    def __init__(self, drafts: bool) -> None:
        self._drafts = drafts
        self._noticed: str | None = None

    def _notice(self, text: str | None) -> None:
        """Write what the answer lacks to stderr, unless it was written before."""
        if text and text != self._noticed:
            for line in text.splitlines():
                click.echo(f"moa-mcp: {strip_invisible(line)}", err=True)
        self._noticed = text

    def writes(self, event: Event) -> bool:
        """Whether `on_event(event)` writes to stdout."""
        return False

    def on_event(self, event: Event) -> None:  # noqa: B027 - only a writer that streams has something to do here
        """Write the part of the answer that `event` carries, if this writer streams."""

    @abstractmethod
    def finish(self, run: Run) -> None:
        """Write the rest of the output. Called once, when the run has ended, with or without an answer."""


def writer_for(*, as_json: bool, drafts: bool) -> AnswerWriter:
    """The writer that fits the stdout of this process; with `drafts` it writes the drafts after the answer."""
    if as_json:
        return JsonWriter(drafts)
    return StreamingWriter(drafts) if sys.stdout.isatty() else PlainWriter(drafts)


class StreamingWriter(AnswerWriter):
    """Writes the answer piece by piece to a terminal, without control sequences that the terminal would execute.

    What it lacks is written before it, as far as it is known before the first piece; the rest is written after it.
    """

    def __init__(self, drafts: bool) -> None:
        super().__init__(drafts)
        self._proposals: list[CallRecord] = []
        self._writer: str | None = None
        self._written: list[str] = []
        self._cleaner = Cleaner()

    def writes(self, event: Event) -> bool:
        return isinstance(event, TextArrived) and _writes_the_answer(event.call)

    def on_event(self, event: Event) -> None:
        match event:
            case TextArrived(call, piece) if _writes_the_answer(call):
                if self._writer is None and (panel := panel_of(self._proposals)).lost:
                    self._notice(partial_line(panel))
                if self._writer not in (None, call.id):
                    self._revoke(f"{call.model} writes anew.")
                self._writer = call.id
                self._written.append(piece)
                click.echo(self._cleaner.feed(piece), nl=False)
            case CallEnded(record) if record.call.id == self._writer and isinstance(record.outcome, Failure):
                self._revoke(f"{record.call.model} broke off: {record.error}.")
            case CallEnded(record) | BranchEnded(record) if record.call.role == PROPOSER and not record.call.branches:
                self._proposals.append(record)
            case _:
                pass

    def finish(self, run: Run) -> None:
        """End the answer. If the streamed pieces are not the final answer, or none came, write the whole answer."""
        answer = (run.answer or "").strip()
        click.echo(self._cleaner.close(), nl=False)
        if self._written and answer in ("", "".join(self._written).strip()):
            click.echo()
            self._notice(notice(run))
        elif answer:
            self._revoke("What is above was revised.")
            self._notice(notice(run))
            click.echo(strip_invisible(answer))
        if answer and self._drafts:
            click.echo(strip_invisible(f"\n{drafts_markdown(run)}"))

    def _revoke(self, why: str) -> None:
        if self._written:
            click.echo(self._cleaner.close())
            click.echo(f"moa-mcp: {strip_invisible(why)} Only what follows counts.", err=True)
        self._written.clear()


class PlainWriter(AnswerWriter):
    """Writes the answer to a pipe when it is complete, without control sequences: a terminal or a model may read it."""

    def finish(self, run: Run) -> None:
        self._notice(notice(run))
        if run.answer is not None:
            write(strip_invisible(f"{run.answer}\n\n{drafts_markdown(run)}" if self._drafts else run.answer))


class JsonWriter(AnswerWriter):
    """Writes the structured result as JSON, with the answer or the error, and all texts as the models sent them.

    What a terminal would interpret is written as JSON escapes, so that a reader of the JSON gets the same text.
    """

    def finish(self, run: Run) -> None:
        facts = result(run)
        if self._drafts:
            facts["drafts"] = [draft_text(record) for record in run.drafts]
        write(escaped(json.dumps(facts, ensure_ascii=False, indent=2)))


def write(text: str) -> None:
    """Write `text` and exactly one newline to stdout, as UTF-8 in every locale."""
    sys.stdout.buffer.write(text.rstrip("\n").encode("utf-8", "replace") + b"\n")
    sys.stdout.buffer.flush()


def _writes_the_answer(call: Call) -> bool:
    return call.role == AGGREGATOR and call.parent is None
