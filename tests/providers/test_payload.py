"""JSON from others is read without surprises."""

from __future__ import annotations

import pytest

from moa_mcp.errors import ProviderError, Reason
from moa_mcp.providers.payload import count, mapping, parse, sequence, words


@pytest.mark.parametrize("text", ["", "{", "<html>", "[" * 100_000, '{"n": ' + "9" * 5000 + "}"])
def test_what_is_no_json_is_malformed_and_shown_in_short(text: str) -> None:
    with pytest.raises(ProviderError) as caught:
        parse(text)

    assert caught.value.reason is Reason.MALFORMED
    assert len(caught.value.detail) < 100


def test_a_value_of_the_wrong_type_reads_as_empty() -> None:
    assert (mapping([1]), sequence({"a": 1}), words(None)) == ({}, [], "")


@pytest.mark.parametrize("value", [-5, 10**15, True, "12", 1.5, None])
def test_a_count_that_cannot_be_is_unknown(value: object) -> None:
    assert count(value) is None


def test_a_count_of_zero_is_known() -> None:
    assert count(0) == 0
