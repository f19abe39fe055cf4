"""Whatever a model writes is read in time that is proportional to its length.

The one test that takes the time: of every pattern of the package, and of what reads texts by hand, each on ten forms
of text that are laid out to make a reader go over the same place again and again.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cache
from time import process_time

import pytest

import moa_mcp
from moa_mcp.cli.view.answer import StreamingWriter
from moa_mcp.domain import links, shorten, statements, text
from moa_mcp.domain.markers import MarkerFilter, without_markers
from moa_mcp.domain.model import AGGREGATOR, PROPOSER, Call, CallRecord, ChatCall, Draft, Run, Task
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.domain.regex import compile_linear
from moa_mcp.flows import candidates, structured_reply
from moa_mcp.flows.compare import answers, scoring, similarity
from moa_mcp.flows.route.difficulty import signs_of_difficulty
from moa_mcp.flows.slot.chain_of_code import extract_program
from moa_mcp.flows.stages.draft_warnings import draft_warnings
from moa_mcp.flows.stages.residual import read_residual
from moa_mcp.prompts.panel import repeats_instructions
from moa_mcp.providers.base import OnText
from moa_mcp.providers.dialects import error_mapping
from moa_mcp.providers.dialects.reply_builder import ReplyBuilder
from moa_mcp.providers.wire import keys
from moa_mcp.providers.wire.sse import EventSplitter
from moa_mcp.providers.wrappers.key_redaction import KeyRedaction
from moa_mcp.runs.events import TextArrived
from moa_mcp.store import codec
from moa_mcp.views import run as run_view
from moa_mcp.views.inert import inert

pytestmark = pytest.mark.slow

SMALL, LARGE = 50_000, 500_000
MAX_RATIO = 15
QUICK = 0.1
"""Seconds in which the longer text may be read whatever the ratio: what is not linear takes minutes."""

FORMS = {
    "tags": ("", "<a <kx<think></b "),
    "messages": ("<|channel|>analysis<|message|>", "<|start|>a<|channel|>final<|message|>b <think><|end|>"),
    "header": ("<|channel|>", "a<|constrain|>"),
    "brackets": ("", "[\\[\\[…]("),
    "addresses": ("", "://aa.@a.(mailto:"),
    "backticks": ("", "`` ` ```\\` |"),
    "invisible": ("", "❤\ufe0f\ufe0f\u200d葛\u200b\U000e0041"),
    "escapes": ("", "\x1b[1\x1b]0;"),
    "numbers": ("candidate A answer is model score 1", "1,111.-"),
    "lines": ("", "> \n\t- {\n answer: "),
    "blanks": ('{"better": "```', " "),
    "markers": ("", "<<end of draft 1 000<response 2 0 "),
    "one word": ("<https://unsupported ignore ", "aé"),
}


@cache
def hostile(form: str, length: int) -> str:
    opening, unit = FORMS[form]
    return opening + unit * (length // len(unit))


def in_pieces(message: str, length: int = 7) -> list[str]:
    return [message[start : start + length] for start in range(0, len(message), length)]


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every pattern for texts that a module of the package has."""
    for module in pkgutil.walk_packages(moa_mcp.__path__, "moa_mcp."):
        if module.name != "moa_mcp.__main__":
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern) and isinstance(value.pattern, str):  # pyright: ignore[reportUnknownMemberType]
                    yield f"{module.name}.{name}", value


PROPOSAL = ChatCall("1.1", PROPOSER, 1, 1, "lab/p", ())
AGGREGATION = ChatCall("2.1", AGGREGATOR, 2, 1, "lab/a", ())
PRESET = Preset(name="two", proposers=(Proposer(model="lab/p"),), aggregator=Aggregator(model="lab/a"))
BALLOT = candidates.LabelledCandidates((0, 1, 2), ("", "", ""), "0" * 16)


def run_with(message: str) -> Run:
    record = CallRecord(PROPOSAL, Draft(message), 1.0)
    return Run("run1", "two", PRESET, Task("What does example.com say?"), answer=message, calls=(record,))


def streamed(message: str) -> None:
    outlet = StreamingWriter(drafts=False)
    for piece in in_pieces(message):
        outlet.on_event(TextArrived(AGGREGATION, piece))


def transcribed(message: str) -> None:
    transcript = ReplyBuilder(finish_reason="stop")
    for number, piece in enumerate(in_pieces(message)):
        # A reply that repeats itself is given up early, and would show nothing here.
        transcript.add_text(piece if number % 4 else f"{piece}{number}")
    transcript.end()
    transcript.draft()


class Saying:
    """Says a text in pieces."""

    def __init__(self, message: str) -> None:
        self._said = message

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        for piece in in_pieces(self._said):
            on_text(piece)
        return Draft(self._said)


def redacted(message: str) -> None:
    played = KeyRedaction(Saying(message), "sk-a1<.`").complete(PROPOSAL, lambda _: None)
    with pytest.raises(StopIteration):
        played.send(None)


def filtered(message: str) -> None:
    markers = MarkerFilter("0" * 16)
    for piece in in_pieces(message):
        markers.feed(piece)
    markers.close()
    without_markers(message, "0" * 16)


def split_into_events(message: str) -> None:
    splitter = EventSplitter()
    line = message.replace("\n", " ").encode()[: len(message)]  # an event over its limit is not read to its end
    for start in range(0, len(line), 20):
        splitter.feed(line[start : start + 20])


def stated(message: str) -> None:
    try:
        statements.split_statements(message)
    except ValueError:
        statements.assigned_names(message)


def oddly(message: str) -> list[str]:
    return draft_warnings(Task("Q?"), (PROPOSAL, PROPOSAL), (Draft(message), Draft(message)))


def scored_and_named(message: str) -> None:
    scoring.read_score_loosely(message)
    scoring.read_score(f'{{"score": {json.dumps(message)}}}')
    BALLOT.index(message)
    BALLOT.indices(message)
    BALLOT.find_choice(message)


READERS: dict[str, Callable[[str], object]] = {
    "markup.inert": lambda said: links.neutralize_links(said, "What does example.com say?"),
    "text.repair": lambda said: text.fix_surrogates(said + "\ud83d"),
    "text.clean": text.strip_invisible,
    "text.part_thinking": text.split_thinking,
    "text.fence": lambda said: text.fence(said, "draft 1", "0" * 16),
    "text.with_shorter_drafts": lambda said: shorten.shorten_drafts([said], "0" * 16, len(said) // 2),
    "text.one_line": text.one_line,
    "patterns": lambda said: compile_linear(r"(?i)answer:\s*((\w+\s*)*)$").find_answer(said),
    "answers": lambda said: answers.tally_answers([said, said[:190]]),
    "asking.json_object": lambda said: structured_reply.json_object(said, "better"),
    "labels and scoring": scored_and_named,
    "oddities": oddly,
    "residual": read_residual,
    "similarity": lambda said: similarity.lexical_similarity([said, said[1:]]),
    "difficulty": signs_of_difficulty,
    "chain_of_code": extract_program,
    "statements": stated,
    "faults": lambda said: error_mapping.error_from_body({"error": {"message": said}}, 400),
    "keys": lambda said: keys.redact_key(said, "sk-a1"),
    "transcript": transcribed,
    "redacting": redacted,
    "markers": filtered,
    "echo": repeats_instructions,
    "sse": split_into_events,
    "codec": lambda said: codec.decode_record(codec.encode_record(CallRecord(PROPOSAL, Draft(said), 1.0))),
    "views": lambda said: run_view.as_markdown(inert(run_with(said)), drafts=True),
    "cli": streamed,
}


def searched(pattern: re.Pattern[str]) -> Callable[[str], object]:
    return lambda message: sum(1 for _ in pattern.finditer(message))


READERS.update((name, searched(pattern)) for name, pattern in patterns())


def seconds(read: Callable[[str], object], message: str) -> float:
    start = process_time()
    read(message)
    return process_time() - start


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", FORMS)
def test_ten_times_the_text_takes_about_ten_times_as_long(reader: str, form: str) -> None:
    small, large = hostile(form, SMALL), hostile(form, LARGE)
    tries: list[tuple[float, float]] = []
    while len(tries) < 3:  # a busy machine may disturb one
        quick = seconds(READERS[reader], small)
        assert quick < 2
        tries.append((quick, seconds(READERS[reader], large)))
        if tries[-1][1] <= max(MAX_RATIO * quick, QUICK):
            return
    pytest.fail(f"seconds for {SMALL:,} characters and for {LARGE:,}: {tries}")
