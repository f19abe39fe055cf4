"""JSON from others is read without surprises."""

from __future__ import annotations

import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.providers.dialects.json_access import count, mapping, name, parse, sequence, string


@pytest.mark.parametrize("text", ["", "{", "<html>", "[" * 100_000, '{"n": ' + "9" * 5000 + "}"])
def test_what_is_no_json_is_malformed_and_shown_in_short(text: str) -> None:
    with pytest.raises(ProviderError) as caught:
        parse(text)

    assert caught.value.reason is Reason.MALFORMED
    assert len(caught.value.detail) < 100


def test_what_is_no_json_is_shown_in_whole_words_so_that_no_part_of_a_key_is_left() -> None:
    key = "sk-live-" + "Q7" * 28
    with pytest.raises(ProviderError) as caught:
        parse(f"Invalid header: x-request-debug authorization Bearer {key} and so on")

    assert caught.value.detail == "not JSON: Invalid header: x-request-debug authorization Bearer …"


@pytest.mark.parametrize(("value", "read"), [(" owl\n9 ", "owl 9"), ("x" * 200, "x" * 200), ("x" * 201, None)])
def test_a_name_is_one_line_and_none_where_it_is_too_long_for_one(value: str, read: str | None) -> None:
    assert name(value) == read


@pytest.mark.parametrize("value", ["", " \n", None, 7])
def test_what_says_nothing_is_no_name(value: object) -> None:
    assert name(value) is None


def test_a_value_of_the_wrong_type_reads_as_empty() -> None:
    assert (mapping([1]), sequence({"a": 1}), string(None)) == ({}, [], "")


@pytest.mark.parametrize("value", [-5, 10**15, True, "12", 1.5, None])
def test_a_count_that_cannot_be_is_unknown(value: object) -> None:
    assert count(value) is None


def test_a_count_of_zero_is_known() -> None:
    assert count(0) == 0
