"""What is stored comes back as it was, whatever is in it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.config.settings import Paths
from moa_mcp.domain.errors import Reason
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import CallRecord, ChatCall, CodeResult, Draft, Failure, Message, Outcome, Run, Task, Usage
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.sampling import FrozenDict, Sampling
from moa_mcp.domain.shortfalls import LostDraft, Shortfall
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.store.codec import decode_record, decode_run, encode_record, encode_run
from tests.results import embeddings

ODD = st.text(st.characters(codec=None, exclude_categories=()))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
FACTS = st.dictionaries(st.text(), ODD | NUMBERS | st.none() | st.lists(NUMBERS))


def recorded(outcome: Outcome) -> CallRecord:
    return CallRecord(ChatCall("1.1", "proposer", 1, 1, "lab/a", ()), outcome, 1.5)


@given(ODD, FACTS, st.floats(allow_nan=False), st.integers())
def test_a_draft_comes_back(text: str, method: dict[str, object], cost: float, tokens: int) -> None:
    record = recorded(Draft(text, text, "stop", Usage(tokens, 1, cost), text, notes=(text,), method=method))
    assert decode_record(encode_record(record)) == record


@given(ODD, st.sampled_from(Reason))
def test_a_failure_comes_back(detail: str, reason: Reason) -> None:
    assert decode_record(encode_record(recorded(Failure(reason, detail)))) == recorded(Failure(reason, detail))


@given(st.lists(st.lists(st.floats(allow_nan=False, width=32), min_size=1), max_size=3), ODD)
def test_vectors_and_how_far_a_program_ran_come_back(vectors: list[list[float]], variables: str) -> None:
    for outcome in (embeddings(*vectors), CodeResult(Execution("paused", at=2, variables=variables), "sandbox/monty")):
        assert decode_record(encode_record(recorded(outcome))) == recorded(outcome)


@pytest.mark.parametrize(
    ("kind", "text", "outcome"),
    [
        ("embedding", "[[1, 0.5], [0, 1]]", embeddings([1, 0.5], [0, 1])),
        ("embedding", "no vectors", embeddings()),
        ("embedding", '[["1"], [true]]', embeddings()),
        ("code", '{"status": "done", "answer": "1", "more": 1}', CodeResult(Execution("done", answer="1"))),
        ("code", "", CodeResult(Execution(error="the sandbox reported nothing"))),
        ("chat", "[[1]]", Draft("[[1]]", finish_reason="stop")),
    ],
)
def test_what_an_older_version_stored_as_text_is_parsed(kind: str, text: str, outcome: Outcome) -> None:
    call = f'{{"id": "1.1", "role": "r", "layer": 1, "slot": 1, "model": "lab/a", "kind": "{kind}", "messages": []}}'
    written = f'{{"text": {json.dumps(text)}, "finish_reason": "stop"}}'
    record = decode_record(f'{{"call": {call}, "outcome": {written}, "seconds": 1}}')

    assert replace(record.outcome, usage=Usage()) == replace(outcome, usage=Usage())


def test_a_price_that_is_no_number_hides_nothing_else() -> None:
    usage = decode_record(encode_record(recorded(Draft("d", usage=Usage(cost_usd=math.nan))))).outcome.usage
    assert usage.cost_usd is not None
    assert math.isnan(usage.cost_usd)


@given(ODD, FACTS)
def test_a_run_comes_back(text: str, method: dict[str, object]) -> None:
    task = Task(text, text, (Message("user", text),), seed=2**64 - 1, known={"key": text})
    run = Run("r", "p", Preset.model_validate({"layers": 1, "aggregator": "lab/a"}), task, error=text, method=method)
    assert decode_run(encode_run(run)) == run


def test_what_a_run_and_a_draft_lack_comes_back_and_older_ones_lack_nothing() -> None:
    lost = (LostDraft(2, "lab/b", Reason.STRAGGLER),)
    shortfalls = frozenset({Shortfall.TIE, Shortfall.CUT})
    plan = Preset.model_validate({"layers": 1, "aggregator": "lab/a"})
    run = Run("r", "p", plan, Task("Q?"), degraded=True, shortfalls=shortfalls, lost=lost, prices={"lab/b": 1e-6})
    record = recorded(Draft("d", shortfalls=shortfalls, lost=lost))
    older = json.loads(encode_run(run))
    for key in ("shortfalls", "lost", "prices"):
        del older[key]

    assert decode_run(encode_run(run)) == run
    assert decode_record(encode_record(record)).outcome == record.outcome
    assert decode_run(json.dumps(older)) == replace(run, shortfalls=frozenset(), lost=None, prices={})


def names() -> list[str]:
    return [name for name in _library().names() if isinstance(_library().get(name), Preset)]


def _library() -> PresetLibrary:
    return PresetLibrary(Paths.in_folder(Path("nowhere")).presets_folder)


@pytest.mark.parametrize("name", names())
def test_every_packaged_preset_comes_back(name: str) -> None:
    plan = _library().get(name)
    assert isinstance(plan, Preset)
    assert decode_run(encode_run(Run("r", name, plan, Task("Q?")))).plan == plan


@pytest.mark.parametrize("kind", ["embedding", "code", "panel"])
def test_a_call_that_was_stored_with_the_settings_of_a_chat_call_loads_without_them(kind: str) -> None:
    given = '"id": "1.1", "role": "r", "layer": 1, "slot": 1, "model": "lab/a", "messages": []'
    settings = '"temperature": null, "max_tokens": null, "effort": null, "timeout_seconds": 5'
    call = f'{{{given}, {settings}, "kind": "{kind}"}}'
    record = decode_record(f'{{"call": {call}, "outcome": {{"reason": "timeout"}}, "seconds": 1}}')

    assert not hasattr(record.call, "temperature")
    assert (record.call.timeout_seconds, record.outcome) == (5, Failure(Reason.TIMEOUT))


def test_the_settings_of_a_call_come_back() -> None:
    body = FrozenDict({"provider": {"order": ["a"]}})
    for thinking in (True, 1024):
        sampling = Sampling(0.9, 20, 7, ("END",), thinking, FrozenDict({"type": "json_object"}), body)
        call = ChatCall("1.1", "proposer", 1, 1, "lab/a", (), sampling=sampling)
        record = CallRecord(call, Draft("d"), 1.5)
        assert decode_record(encode_record(record)) == record


def test_a_preset_with_all_settings_of_a_model_comes_back() -> None:
    model = {"model": "lab/a", "top_p": 0.9, "stop": "END", "thinking": 9, "extra_body": {"a": {"b": [1]}}}
    plan = Preset.model_validate({"proposers": [model], "aggregator": {**model, "response_format": {"type": "text"}}})
    run = Run("r", "p", plan, Task("q"))

    assert decode_run(encode_run(run)) == run
    assert hash(decode_run(encode_run(run)).plan.aggregator) == hash(plan.aggregator)  # it may be a key of a mapping


def test_a_call_that_an_older_version_stored_has_no_settings() -> None:
    data = json.loads(encode_record(recorded(Draft("d"))))
    del data["call"]["sampling"]

    assert decode_record(json.dumps(data)) == recorded(Draft("d"))
