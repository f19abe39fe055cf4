"""Whether a call is asked again, and when: a pure decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.providers.wrappers.backoff import (
    MAX_LOADING_WAIT_SECONDS,
    MAX_RETRIES,
    MAX_WAIT_SECONDS,
    wait_before_retry,
)

ONCE = {Reason.CONNECTION, Reason.MALFORMED, Reason.EMPTY, Reason.CUT}
TWICE = {Reason.RATE_LIMITED, Reason.OVERLOADED, Reason.UNAVAILABLE}


def retries(error: ProviderError) -> int:
    """How many retries there are in all."""
    return next(done for done in range(99) if wait_before_retry(error, done, 0.5) is None)


@pytest.mark.parametrize("reason", sorted({*Reason} - {Reason.LOADING}))
def test_only_what_may_pass_is_tried_again(reason: Reason) -> None:
    assert retries(ProviderError(reason)) == (2 if reason in TWICE else 1 if reason in ONCE else 0)


@pytest.mark.parametrize("asked", [None, 300.0, 0.0])
def test_a_model_that_is_being_loaded_is_asked_again_and_again_with_growing_waits(asked: float | None) -> None:
    loading = ProviderError(Reason.LOADING, retry_after=asked)
    waits = [wait_before_retry(loading, done, 0.5) or 0 for done in range(2000)]

    assert waits == sorted(waits)
    assert waits[0] > 0
    assert waits[-1] == (0.5 if asked == 0 else MAX_LOADING_WAIT_SECONDS)


@pytest.mark.parametrize("reason", Reason)
def test_nothing_is_tried_again_once_some_of_the_answer_has_come(reason: Reason) -> None:
    assert retries(ProviderError(reason, sent_text=True, should_retry=True)) == 0


@pytest.mark.parametrize(
    ("reason", "wish", "most"),
    [
        (Reason.UNAVAILABLE, False, 0),
        (Reason.BAD_REQUEST, True, 2),
        (Reason.EMPTY, True, 2),
        (Reason.AUTH, True, 0),
        (Reason.BILLING, True, 0),
    ],
)
def test_the_word_of_the_provider_counts_but_not_for_keys_and_money(reason: Reason, wish: bool, most: int) -> None:
    assert retries(ProviderError(reason, should_retry=wish)) == most


@given(st.sampled_from(sorted(TWICE)), st.integers(0, MAX_RETRIES - 1), st.floats(0, 1, exclude_max=True))
def test_no_wait_of_our_own_is_longer_than_eight_seconds(reason: Reason, done: int, draw: float) -> None:
    wait = wait_before_retry(ProviderError(reason), done, draw)

    assert wait is not None
    assert 0 <= wait <= MAX_WAIT_SECONDS


def test_two_callers_that_failed_together_come_back_apart() -> None:
    error = ProviderError(Reason.UNAVAILABLE)

    assert wait_before_retry(error, 0, 0.1) != wait_before_retry(error, 0, 0.9)


@pytest.mark.parametrize(
    ("asked", "draw", "wait"), [(0, 0.5, 0), (1, 0, 1), (1, 0.5, 1.05), (60, 0, 60), (61, 0, None)]
)
def test_a_wait_that_was_asked_for_is_kept_up_to_a_minute(asked: float, draw: float, wait: float | None) -> None:
    assert wait_before_retry(ProviderError(Reason.RATE_LIMITED, retry_after=asked), 0, draw) == wait
