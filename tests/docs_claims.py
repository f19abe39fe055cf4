"""What moa-mcp promises when something goes wrong, and the test that holds each promise to it.

The numbers are those of the list of faults that the promises answer; the ones between are promises of other
parts of the program, which have their tests beside them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """A sentence that users may rely on, and the tests (functions of one file) that show it."""

    says: str
    file: str
    tests: tuple[str, ...]


MODELS = "tests/faults/test_failing_models.py"
REACHING = "tests/faults/test_reaching.py"
TIME = "tests/faults/test_time.py"
REPLIES = "tests/faults/test_replies.py"
SIZE = "tests/faults/test_size.py"
MONEY = "tests/faults/test_money.py"
SECRETS = "tests/faults/test_secrets.py"
TEXTS = "tests/faults/test_hostile_texts.py"
RECURSION = "tests/faults/test_recursion.py"

PROMISED = (*range(1, 25), 25, 34, 35, 36, 37, 39, 40, 41)
"""The rows that have to be in the table."""

PROMISES: dict[int, Promise] = {
    1: Promise(
        "A proposer that is refused is asked once; the others write the answer, and the reason is named.",
        MODELS,
        (
            "test_a_proposer_that_is_refused_is_asked_once_and_the_others_answer",
            "test_no_fault_of_one_proposer_costs_the_answer",
        ),
    ),
    2: Promise(
        "A rate limit is waited for as long as the provider asks, in whatever form it says so.",
        MODELS,
        ("test_a_rate_limit_is_waited_for_as_long_as_was_asked_and_then_passes",),
    ),
    3: Promise(
        "A wait of more than a minute is not waited for; the model rests. One that makes no sense is ignored.",
        MODELS,
        (
            "test_a_wait_that_is_too_long_is_not_waited_for_and_the_model_rests",
            "test_a_wait_that_makes_no_sense_is_our_own_short_one",
        ),
    ),
    4: Promise(
        "An account without credit is not asked again, neither by this run nor by the next ones.",
        MODELS,
        ("test_an_account_without_credit_is_not_asked_again_by_later_runs",),
    ),
    5: Promise(
        "A server error is tried again at most twice, after waits that differ.",
        MODELS,
        ("test_a_server_error_is_tried_again_twice_at_most_after_waits_that_grow",),
    ),
    6: Promise(
        "A provider that says whether to try again is obeyed.",
        MODELS,
        ("test_a_provider_that_says_whether_to_retry_is_obeyed",),
    ),
    7: Promise(
        "A panel that is down as a whole fails with each cause, and no aggregator is paid for nothing.",
        MODELS,
        ("test_a_panel_that_is_down_as_a_whole_fails_with_every_cause_and_asks_no_aggregator",),
    ),
    8: Promise(
        "An aggregator that fails is replaced by a fallback, or by the best draft, marked as such.",
        MODELS,
        (
            "test_an_aggregator_that_fails_is_replaced_by_its_fallback",
            "test_without_any_aggregator_the_best_draft_is_the_answer_and_marked_degraded",
            "test_a_cut_answer_is_taken_only_when_no_fallback_could_write_a_whole_one",
        ),
    ),
    9: Promise(
        "A server that cannot be reached is tried once more, and TLS is never given up for plain text.",
        REACHING,
        (
            "test_a_port_where_nobody_listens_is_tried_twice_and_then_left",
            "test_a_name_that_is_not_found_is_looked_up_twice_and_then_left",
            "test_tls_to_a_plain_port_fails_without_a_second_try_in_plain_text",
        ),
    ),
    10: Promise(
        "A server that accepts and says nothing is given up.",
        TIME,
        ("test_a_server_that_accepts_and_says_nothing_is_given_up",),
    ),
    11: Promise(
        "An answer that falls silent is ended; a long part of it is kept and marked, a short one is not used.",
        TIME,
        ("test_a_stream_that_falls_silent_keeps_its_part_if_that_is_long_enough",),
    ),
    12: Promise(
        "Comments and bytes that trickle are no signs of life, and no call outlives its limit.",
        TIME,
        (
            "test_what_only_trickles_is_no_sign_of_life",
            "test_tokens_without_end_are_cut_at_the_limit_of_the_call",
            "test_a_run_ends_by_its_deadline_whatever_its_models_do",
        ),
    ),
    13: Promise(
        "A connection that breaks is told for what it is; no part of an answer passes for the whole.",
        TIME,
        (
            "test_a_connection_that_breaks_before_the_answer_is_tried_once_more",
            "test_an_answer_that_breaks_off_is_never_shown_as_whole_nor_asked_for_again",
        ),
    ),
    14: Promise(
        "An answer is whole with its end marker, or with a finish reason and the end of its body; else it is cut.",
        TIME,
        (
            "test_a_stream_with_only_one_of_its_two_ends_is_a_success",
            "test_an_answer_that_breaks_off_is_never_shown_as_whole_nor_asked_for_again",
        ),
    ),
    15: Promise(
        "An error inside a good reply counts as the error that it is.",
        REPLIES,
        ("test_an_error_in_a_good_reply_is_what_its_words_say",),
    ),
    16: Promise(
        "What is not of the dialect is dropped, and little of it is repeated.",
        REPLIES,
        ("test_an_error_in_a_good_reply_is_what_its_words_say",),
    ),
    17: Promise(
        "Thoughts reach no other model and no result.",
        REPLIES,
        ("test_thoughts_reach_neither_the_next_layer_nor_the_result",),
    ),
    18: Promise(
        "A refusal is told apart from a fault; where all refuse, nobody is asked to put that together.",
        REPLIES,
        ("test_a_refusal_is_told_apart_and_a_panel_of_refusals_asks_no_aggregator",),
    ),
    19: Promise(
        "What ran out of tokens is marked, whoever wrote it.",
        REPLIES,
        ("test_an_answer_that_ran_out_of_tokens_is_marked_wherever_it_is",),
    ),
    20: Promise(
        "Where the drafts do not fit, they are shortened until they do, and the question never is.",
        MODELS,
        (
            "test_drafts_that_do_not_fit_are_shortened_and_the_question_is_not",
            "test_a_message_that_does_not_fit_however_short_its_drafts_is_given_up",
        ),
    ),
    21: Promise("A compressed bomb costs little memory.", SIZE, ("test_a_hostile_body_costs_less_than_30_mb",)),
    22: Promise(
        "Neither a line nor a stream without end costs much memory.",
        SIZE,
        ("test_a_hostile_body_costs_less_than_30_mb",),
    ),
    23: Promise(
        "A redirect is not followed, and nothing is sent to where it leads.",
        SIZE,
        ("test_a_redirect_is_refused_and_the_other_server_hears_nothing",),
    ),
    24: Promise(
        "Broken characters are repaired where they come in; what cannot be seen is kept and reaches no reader.",
        REPLIES,
        (
            "test_text_that_would_break_a_reader_is_repaired_at_the_door",
            "test_an_emoji_made_of_several_survives",
        ),
    ),
    25: Promise(
        "Whenever a run is cancelled, all its connections close, and no call is made after it.",
        TIME,
        ("test_a_cancel_at_any_event_closes_every_call_and_none_is_made_after",),
    ),
    34: Promise(
        "No ceiling on calls, tokens or dollars is passed; what has no room is not sent.",
        MONEY,
        (
            "test_a_ceiling_on_calls_counts_every_request",
            "test_a_ceiling_on_dollars_is_reserved_before_anything_is_sent",
            "test_calls_side_by_side_wait_for_one_another_where_the_money_is_short",
            "test_an_answer_that_outgrows_the_budget_is_cut_there",
            "test_retries_never_take_the_call_that_writes_the_answer",
        ),
    ),
    35: Promise(
        "However many calls fail, only a fifth of them (or three) are tried again.",
        MODELS,
        ("test_a_retry_storm_is_held_to_a_fifth_of_the_calls_or_three",),
    ),
    36: Promise(
        "Usage that nobody told is booked at no less than what was sent, and flagged.",
        MONEY,
        ("test_usage_that_nobody_told_is_booked_at_no_less_than_the_input_and_flagged",),
    ),
    37: Promise(
        "A panel does not ask itself, neither directly nor through an agent.",
        RECURSION,
        (
            "test_every_call_says_that_it_comes_from_a_panel_and_a_server_of_ours_refuses_it",
            "test_a_panel_whose_provider_is_this_server_is_refused_before_any_call",
        ),
    ),
    39: Promise(
        "Nothing that arrives over MCP can add a host, a key variable or a header.",
        "tests/service/configure/test_editor.py",
        (
            "test_what_may_not_be_changed_is_refused_and_nothing_is_written",
            "test_providers_ceilings_and_keys_are_as_they_were_after_any_change",
        ),
    ),
    40: Promise(
        "A key is in no result, event, log, error or file, whoever repeats it and in whatever form.",
        SECRETS,
        (
            "test_a_key_that_a_provider_repeats_is_in_no_result_event_or_log",
            "test_no_file_of_a_run_holds_a_key",
            "test_a_value_that_is_no_key_is_never_sent_and_never_shown",
            "test_a_log_of_ours_masks_every_form_of_every_key_even_in_a_traceback",
        ),
    ),
    41: Promise(
        "What a draft says cannot leave its fence or tags, or make a reader fetch anything; in fences it cannot reach "
        "the system role.",
        TEXTS,
        (
            "test_a_draft_cannot_forge_the_fence_that_it_stands_in",
            "test_a_draft_cannot_forge_the_tags_that_it_stands_in",
            "test_no_draft_in_fences_reaches_the_system_role",
            "test_a_draft_that_gives_orders_is_noted",
            "test_a_picture_or_link_to_a_host_that_was_not_asked_about_is_inert_in_the_result",
        ),
    ),
}
