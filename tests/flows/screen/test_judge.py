"""SMoA's moderator: it keeps the best drafts of a layer and may end the layers."""

from typing import Any

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Failure
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, Reply, drive
from tests.flows.judge import FakeReply, Judge, as_json, candidates, judged, letter_of, with_judge
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, is_plain, packaged, prompt_of, with_role

PANEL = a_panel(slots=4, layers=3, screen={"by": "judge", "keep": 2})


def keeping(*slots: int, end: bool = False) -> Judge:
    """A moderator that keeps the drafts of these slots."""
    return lambda call: as_json(reason="They agree.", keep=[letter_of(call, slot) for slot in slots], end=end)


def moderated(judge: Judge, preset: Preset = PANEL) -> Played:
    return judged(judge, preset)


def screened(played: Played) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = played.answer.method["screen"]
    assert is_plain(facts)
    return facts


def drafts_in(call: Call) -> set[int]:
    return {slot for slot in range(1, 5) if draft_of(slot) in prompt_of(call)}


def test_the_next_layer_reads_only_the_drafts_that_were_kept() -> None:
    played = moderated(keeping(2, 3))

    readers = [call for call in played.calls if call.role in ("proposer", "aggregator") and call.layer > 1]
    assert [drafts_in(call) for call in readers] == [{2, 3}] * 5


def test_every_layer_costs_a_call_more() -> None:
    played = moderated(keeping(1, 2))

    assert [call.id for call in with_role(played.calls, "moderator")] == ["1.moderator", "2.moderator"]
    assert len(played.calls) == 2 * (4 + 1) + 1


def test_an_end_in_the_first_layer_leaves_n_and_two_calls() -> None:
    played = moderated(keeping(1, 4, end=True))

    assert len(played.calls) == 4 + 2
    assert drafts_in(played.calls[-1]) == {1, 4}
    assert played.answer.text == MERGED
    assert screened(played)[0]["ended"] is True


def test_the_moderator_cannot_end_what_must_not_stop() -> None:
    preset = a_panel(layers=3, screen={"by": "judge", "keep": 2, "may_stop": False})

    played = moderated(keeping(1, 4, end=True), preset)

    assert len(played.calls) == 11
    assert '"end"' not in prompt_of(with_role(played.calls, "moderator")[0])


def test_the_last_layer_cannot_be_ended_as_nothing_follows_it() -> None:
    played = moderated(keeping(1, 4, end=True), a_panel(layers=2, screen={"by": "judge", "keep": 2}))

    assert screened(played)[0]["ended"] is False


def test_the_facts_have_the_kept_and_dropped_drafts_and_the_reason() -> None:
    played = moderated(keeping(4, 1))

    (first, _) = screened(played)
    assert (first["kept"], first["dropped"]) == ([1, 4], [2, 3])
    assert (first["why"], first["how"], first["layer"]) == ("They agree.", "first try", 1)


def test_the_letters_of_the_facts_are_those_that_the_moderator_saw() -> None:
    played = moderated(keeping(4, 1))

    shown = candidates(with_role(played.calls, "moderator")[0])
    assert {letter: draft_of(slot) for letter, slot in screened(played)[0]["letters"].items()} == shown


def test_the_moderator_sees_the_question_and_no_names() -> None:
    text = prompt_of(with_role(moderated(keeping(1, 2)).calls, "moderator")[0])

    assert TASK.question in text
    assert "lab/" not in text


def test_of_too_many_letters_the_first_count() -> None:
    played = moderated(keeping(3, 1, 2))

    assert screened(played)[0]["kept"] == [1, 3]


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "no idea",
        '{"keep": []}',
        '{"keep": ["A"]}',
        '{"keep": ["A", "Z"]}',
        '{"keep": [0, 1]}',
        '{"keep": [',
    ],
)
def test_an_unusable_verdict_is_asked_for_again_and_then_keeps_all_and_does_not_end(reply: str) -> None:
    played = moderated(lambda _: reply)

    first, second = screened(played)
    assert (first["kept"], first["ended"], first["how"]) == ([1, 2, 3, 4], False, "out of form")
    assert second["kept"] == [1, 2, 3, 4]
    assert len(with_role(played.calls, "moderator")) == 4
    assert "the moderator of layer 1 kept all drafts: out of form" in played.answer.notes
    assert (played.answer.text, played.answer.shortfalls) == (MERGED, frozenset({Shortfall.UNREAD_JUDGE}))


def test_a_second_try_is_enough() -> None:
    played = moderated(lambda call: keeping(1, 2)(call) if call.id.endswith(".again") else "Sure!")

    assert screened(played)[0]["kept"] == [1, 2]
    assert screened(played)[0]["how"] == "second try"


def test_prose_that_names_as_many_letters_as_were_asked_for_will_do() -> None:
    played = moderated(lambda call: f"I keep {letter_of(call, 2)} and {letter_of(call, 3)}.")

    assert screened(played)[0]["kept"] == [2, 3]
    assert screened(played)[0]["how"] == "first try, read loosely"


def test_without_a_moderator_it_is_a_plain_panel() -> None:
    played = moderated(lambda _: Failure(Reason.OVERLOADED))

    assert drafts_in(played.calls[-1]) == {1, 2, 3, 4}
    assert "overloaded" in screened(played)[0]["how"]
    assert played.answer.text == MERGED


def survivors(*slots: int) -> Reply:
    """Of the proposers only these answer; the moderator keeps what it is shown."""

    def reply(call: Call) -> FakeReply:
        if call.role == "proposer" and call.slot not in slots:
            return Failure(Reason.TIMEOUT)
        return with_judge(lambda call: as_json(keep=list(candidates(call)), end=False))(call)

    return reply


def test_where_no_more_are_left_than_are_kept_the_moderator_only_says_whether_it_ends() -> None:
    played = drive(ask_panel(TASK, PANEL), survivors(2))

    assert [entry["kept"] for entry in screened(played)] == [[2], [2]]
    assert [call.id for call in with_role(played.calls, "moderator")] == ["1.moderator"]
    assert screened(played)[1]["how"] == "none to drop"


def test_the_verdict_has_to_be_in_before_the_time_of_the_next_layer() -> None:
    ends = [batch.until for batch in moderated(keeping(1, 2), a_panel(layers=5, screen={"by": "judge"})).batches]

    assert ends == sorted(set(ends))


def test_a_rehearsal_plays_the_longest_run_and_knows_the_shortest() -> None:
    (batch,) = [batch for batch in moderated(keeping(1, 2)).batches if batch.calls[0].id == "1.moderator"]

    assert dry_run(ask_panel(TASK, PANEL)).calls == 11
    assert batch.dry_run_replies is not None
    assert '"end": true' in str(batch.dry_run_replies.least)


def test_the_packaged_preset_makes_the_calls_of_the_paper_and_one_for_the_roles() -> None:
    planned = dry_run(ask_panel(TASK, packaged("smoa")))

    assert (planned.calls, planned.rounds) == (2 * (4 + 1) + 1 + 1, 2 * 2 + 1 + 1)


def test_the_same_seed_gives_the_same_run() -> None:
    assert moderated(keeping(1, 2)) == moderated(keeping(1, 2))
