"""Windows: Self-MoA-Seq, a window of drafts at a time with the best so far carried on."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.config.settings import LimitSettings
from moa_mcp.domain.errors import Reason, RunFailed
from moa_mcp.domain.model import Call, Draft, Failure
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.conclude.windows import window_slices
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, Reply, drive
from tests.flows.judge import FakeReply
from tests.flows.panel import TASK, is_plain, packaged, prompt_of, with_role
from tests.results import chats


def sampled(samples: int, window: int = 6, reserved: int = 3, by: str = "windows") -> Preset:
    conclude = {"by": by} | ({"window": window, "reserved": reserved} if by == "windows" else {})
    proposer = {"model": "lab/one", "samples": samples, "temperature": 0.7}
    return Preset.model_validate({"proposers": [proposer], "aggregator": "lab/one", "conclude": conclude})


def reply_to(call: Call) -> FakeReply:
    return f"sample {call.slot:02}" if call.role == "proposer" else f"merged in {call.id}"


def played(samples: int, reply: Reply = reply_to) -> Played:
    return drive(ask_panel(TASK, sampled(samples)), reply)


def aggregations(run: Played) -> list[Call]:
    return [call for call in run.calls if call.role != "proposer"]


def shown(call: Call) -> list[str]:
    """The drafts that an aggregation reads, in order."""
    return re.findall(r"<response \d+ \w+>\n(.*?)\n</response", prompt_of(call), re.DOTALL)


def lost(number: int) -> Reply:
    """Everybody says the usual, but that window fails."""
    return lambda call: Failure(Reason.OVERLOADED) if call.id == f"2.window.{number}" else reply_to(call)


def test_every_sample_is_of_one_model_at_one_temperature_with_the_same_words() -> None:
    calls = chats(with_role(played(30).calls, "proposer"))

    assert len(calls) == 30
    assert {(call.model, call.temperature, call.messages) for call in calls} == {
        ("lab/one", 0.7, calls[0].messages),
    }


@given(st.integers(1, 64), st.integers(2, 12), st.data())
def test_every_draft_is_new_in_exactly_one_window_and_no_window_is_too_large(
    count: int, window: int, data: st.DataObject
) -> None:
    reserved = data.draw(st.integers(1, window - 1))
    windows = window_slices(count, window, reserved)

    assert [place for fresh in windows for place in range(count)[fresh]] == list(range(count))
    assert len(windows) == 1 + max(0, -(-(count - window) // (window - reserved)))
    assert all(1 <= len(range(count)[fresh]) <= window - (reserved if number else 0)
               for number, fresh in enumerate(windows))  # fmt: skip


def test_each_sample_is_in_one_prompt_and_the_best_so_far_in_the_reserved_places() -> None:
    calls = aggregations(played(30))

    assert len(calls) == 9
    assert shown(calls[0]) == [f"sample {number:02}" for number in range(1, 7)]
    for before, call in pairwise(calls):
        assert shown(call)[:3] == [f"merged in {before.id}"] * 3
    fresh = [text for call in calls for text in shown(call) if text.startswith("sample")]
    assert fresh == [f"sample {number:02}" for number in range(1, 31)]


def test_only_the_last_aggregation_writes_the_answer() -> None:
    run = played(12)
    *earlier, last = aggregations(run)

    assert [(call.id, call.role) for call in earlier] == [("2.window.1", "windower"), ("2.window.2", "windower")]
    assert (last.id, last.role) == ("2.1", "aggregator")
    assert run.answer.text == "merged in 2.1"
    assert run.answer.method["windows"] == {"sizes": [6, 3, 3], "lost": [], "duplicates": 0}


@pytest.mark.parametrize("samples", [2, 5, 6])
def test_samples_that_fit_one_window_are_plain_self_moa(samples: int) -> None:
    plain = drive(ask_panel(TASK, sampled(samples, by="synthesize")), reply_to)

    assert played(samples).batches == plain.batches
    assert played(samples).answer.text == plain.answer.text


def test_each_window_has_its_share_of_the_time_and_the_last_all_of_it() -> None:
    shares = [batch.until for batch in played(30).batches]

    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0


def test_a_lost_window_keeps_the_best_so_far() -> None:
    run = played(12, lost(2))

    assert shown(aggregations(run)[-1])[:3] == ["merged in 2.window.1"] * 3
    assert run.answer.degraded
    assert run.answer.method["windows"]["lost"] == [2]
    assert any("window 2 could not be aggregated" in note for note in run.answer.notes)


def test_a_first_window_that_is_lost_leaves_its_best_draft() -> None:
    run = played(9, lambda call: "a longer sample" if call.id == "1.4" else lost(1)(call))

    assert shown(aggregations(run)[-1]) == ["sample 01"] * 3 + ["sample 07", "sample 08", "sample 09"]


def test_a_part_of_an_aggregation_is_not_carried_on() -> None:
    part = Draft("half of it", cut=True)

    run = played(12, lambda call: part if call.id == "2.window.2" else reply_to(call))

    assert shown(aggregations(run)[-1])[:3] == ["merged in 2.window.1"] * 3
    assert run.answer.degraded


def test_where_the_last_aggregation_fails_the_best_so_far_is_the_answer() -> None:
    run = played(12, lambda call: Failure(Reason.OVERLOADED) if call.id == "2.1" else reply_to(call))

    assert run.answer.text == "merged in 2.window.2"
    assert run.answer.degraded


def test_the_heaviest_drafts_come_first_and_the_best_so_far_has_the_weight_of_what_it_was_made_from() -> None:
    preset = Preset.model_validate(
        {
            "proposers": [f"lab/p{number}" for number in range(1, 6)],
            "aggregator": "lab/agg",
            "route": {"by": "gate", "model": "lab/gate", "share": 1.0, "sharpness": 0.3},
            "conclude": {"by": "windows", "window": 3, "reserved": 1},
        }
    )

    def reply(call: Call) -> FakeReply:
        if call.role != "router":
            return reply_to(call)
        # The later a slot, the better its score.
        slots = dict(re.findall(r"<candidate ([A-Z]) \w+>\nmodel: lab/p(\d)", prompt_of(call)))
        return json.dumps({"slots": {label: {"score": int(number)} for label, number in slots.items()}})

    first, second = aggregations(drive(ask_panel(TASK, preset), reply))[1:]

    assert shown(first) == ["sample 05", "sample 04", "sample 03"]
    assert shown(second) == ["merged in 2.window.1", "sample 02", "sample 01"]
    assert "draft 1 44 %, draft 2 32 %, draft 3 24 %" in prompt_of(first)
    assert "draft 1 76 %, draft 2 14 %, draft 3 10 %" in prompt_of(second)


def test_samples_that_fail_leave_fewer_windows() -> None:
    run = played(
        12, lambda call: Failure(Reason.TIMEOUT) if call.slot > 6 and call.role == "proposer" else reply_to(call)
    )

    assert [call.id for call in aggregations(run)] == ["2.1"]


def test_without_any_sample_there_is_an_error() -> None:
    with pytest.raises(RunFailed):
        played(9, lambda _: Failure(Reason.TIMEOUT))


def test_samples_that_are_the_same_are_counted() -> None:
    run = played(9, lambda call: "always this" if call.role == "proposer" else reply_to(call))

    assert run.answer.method["windows"]["duplicates"] == 8
    assert is_plain(run.answer.method)


def test_the_packaged_preset_makes_39_calls_in_10_rounds_which_the_usual_ceiling_allows() -> None:
    planned = dry_run(ask_panel(TASK, packaged("self-moa-seq")))

    assert (planned.calls, planned.rounds) == (39, 10)
    assert planned.calls <= LimitSettings().max_calls


def test_a_last_window_that_repeats_the_best_text_has_read_its_drafts() -> None:
    played = drive(ask_panel(TASK, sampled(9)), lambda call: "the same words each time")

    assert not any("were not read" in note for note in played.answer.notes)
