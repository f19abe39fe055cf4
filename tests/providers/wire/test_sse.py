"""Events are read out of bytes, however these are split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.providers.wire.sse import MAX_EVENT, EventSplitter
from tests.providers.dialects.replies import cut

Events = list[tuple[str, str]]

line = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
event = st.tuples(line, st.lists(line, min_size=1, max_size=3))


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, Events]:
    """A stream with its comments, fields of no meaning and all three line ends, and the events in it."""
    text = ""
    events = draw(st.lists(event, max_size=5))
    for name, data in events:
        lines = draw(st.lists(st.sampled_from([": ping", ":", "id: 7", "retry: 10", "nonsense"]), max_size=2))
        lines += [f"event: {name}"] if name else []
        tight = draw(st.booleans())
        lines += ["data:" + one if tight and not one.startswith(" ") else f"data: {one}" for one in data]
        end = draw(st.sampled_from(["\n", "\r", "\r\n"]))
        text += end.join([*lines, "", ""])
    return text.encode(), [(name, "\n".join(data)) for name, data in events]


def read(*chunks: bytes) -> Events:
    splitter = EventSplitter()
    return [event for chunk in chunks for event in splitter.feed(chunk)]


@given(streams(), st.lists(st.integers(min_value=0), max_size=12))
def test_what_was_written_is_read_whatever_pieces_its_bytes_come_in(
    written: tuple[bytes, Events], places: list[int]
) -> None:
    stream, expected = written

    assert read(*cut(stream, places)) == expected
    assert read(*(bytes([byte]) for byte in stream)) == expected


@given(st.binary(max_size=60), st.lists(st.integers(min_value=0), max_size=8))
def test_any_bytes_at_all_give_the_same_events_however_they_are_split(stream: bytes, places: list[int]) -> None:
    assert read(*cut(stream, places)) == read(stream)


def test_a_character_split_over_two_chunks_is_whole_again() -> None:
    owl = "🦉".encode()

    assert read(b"data: " + owl[:2], owl[2:] + b"\n\n") == [("", "🦉")]


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert read(b"data: a\xffb\n\n") == [("", "a\ufffdb")]


def test_a_return_and_a_newline_in_two_chunks_are_one_line_end() -> None:
    assert read(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [("", "a\nb")]


def test_only_one_space_behind_the_colon_is_no_data() -> None:
    assert read(b"data:  a\ndata:b\ndata\n\n") == [("", " a\nb\n")]


def test_a_name_belongs_to_its_own_event_only() -> None:
    assert read(b"event: x\ndata: 1\n\ndata: 2\n\nevent: y\n\ndata: 3\n\n") == [
        ("x", "1"),
        ("", "2"),
        ("", "3"),
    ]


def test_a_byte_order_mark_before_the_first_field_is_no_part_of_it() -> None:
    assert read(b"\xef\xbb\xbfdata: a\n\n") == [("", "a")]


def test_an_event_without_its_blank_line_is_not_delivered() -> None:
    assert read(b"data: whole\n\ndata: half\n") == [("", "whole")]


def test_comments_are_no_events() -> None:
    assert read(b": still thinking\n\n:\n\n") == []


@pytest.mark.parametrize("opening", [b"data: ", b": ", b"data: 1\ndata: "])
def test_a_line_without_an_end_is_refused_at_the_cap(opening: bytes) -> None:
    splitter = EventSplitter()
    splitter.feed(opening)

    for _ in range(MAX_EVENT // 65536 - 1):
        splitter.feed(b"a" * 65536)

    with pytest.raises(ProviderError) as caught:
        splitter.feed(b"a" * 65537)

    assert caught.value.reason is Reason.TOO_LARGE


def test_an_event_of_many_lines_is_refused_at_the_same_cap() -> None:
    lines = b"data: " + b"a" * 65536 + b"\n"

    with pytest.raises(ProviderError) as caught:
        EventSplitter().feed(lines * (MAX_EVENT // 65536 + 1))

    assert caught.value.reason is Reason.TOO_LARGE


def test_many_events_may_together_be_larger_than_the_cap() -> None:
    splitter = EventSplitter()
    one = b"data: " + b"a" * 65536 + b"\n\n"

    assert sum(len(splitter.feed(one)) for _ in range(40)) == 40
