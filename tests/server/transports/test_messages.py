"""What a line of bytes means, and what is said of one that means nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import JSONRPCMessage, JSONRPCRequest, JSONRPCResponse

from moa_mcp.server.transports.messages import (
    InvalidLine,
    OversizedLine,
    encode_line,
    find_id,
    fix_body,
    parse_line,
    split_lines,
)


def error_of(line: bytes | OversizedLine) -> tuple[int, Any]:
    refusal = parse_line(line)
    assert isinstance(refusal, InvalidLine)
    return refusal.error.error.code, refusal.error.id


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        (b"garbage", -32700, None),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping"', -32700, 7),
        (b'{"params":{"id":3},"id":9,', -32700, 9),
        (b'{"params":{"id":3},', -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', -32700, 1),
        (b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"ping"}', -32700, None),
        (b"[1]", -32600, None),
        (b"3", -32600, None),
        (b"{}", -32600, None),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"1.0","id":4,"method":"ping"}', -32600, 4),
        (b'{"id":4,"method":"ping"}', -32600, 4),
        (b'{"jsonrpc":"2.0","id":"a","method":3}', -32600, "a"),
        (b'{"jsonrpc":"2.0","id":4,"result":3}', -32600, None),
        (b'{"jsonrpc":"2.0","id":4,"error":3}', -32600, None),
        (b'{"jsonrpc":"2.0","id":504}', -32600, 504),
        (b'{"id":"a"}', -32600, "a"),
        (b'{"jsonrpc":"2.0","id":4,"params":{}}', -32600, 4),
        (b'{"jsonrpc":"2.0","id":4,"method":null}', -32600, 4),
        (b'{"jsonrpc":2.0,"id":4,"method":"ping"}', -32600, 4),
        (b'{"jsonrpc":"2.0","id":4,"method":"ping","params":[1]}', -32600, 4),
        (b'{"jsonrpc":"2.0","id":4,"method":"ping","params":3}', -32600, 4),
    ],
)
def test_a_line_that_is_no_message_is_answered_with_its_id_where_that_is_legible(
    line: bytes, code: int, request_id: Any
) -> None:
    assert error_of(line) == (code, request_id)


def test_a_blank_line_is_nothing() -> None:
    assert parse_line(b" \r") is None


@pytest.mark.parametrize(
    "line",
    [
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"x"}}\r',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\xff"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\ud83d"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\xed\xa0\xbd"}}',
    ],
)
def test_lone_surrogates_in_a_line_are_replaced(line: bytes) -> None:
    message = parse_line(line)

    assert isinstance(message, JSONRPCRequest)
    assert message.id == 1
    assert message.model_dump_json()


def test_halves_of_an_emoji_that_stand_side_by_side_are_joined() -> None:
    message = parse_line(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\ud83d\\ude00"}}')

    assert isinstance(message, JSONRPCRequest)
    assert message.params == {"a": "\N{GRINNING FACE}"}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_a_refusal_or_nothing(line: bytes) -> None:
    found = parse_line(line)

    assert isinstance(found, JSONRPCMessage | InvalidLine | None)
    assert found == parse_line(fix_body(line))
    assert isinstance(find_id(line), int | str | None)


MEMBERS = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"])


@given(st.dictionaries(MEMBERS, st.none() | st.text()))
def test_any_object_is_a_message_or_a_refusal(fields: dict[str, Any]) -> None:
    assert parse_line(json.dumps(fields).encode()) is not None


@given(st.text(st.characters(), max_size=50))
def test_any_text_can_be_written_and_read_again(text: str) -> None:
    line = encode_line(JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": text, text: [text]}))

    assert line.count(b"\n") == 1
    assert parse_line(line)


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
def test_lines_do_not_depend_on_how_they_arrive(lines: list[bytes], size: int) -> None:
    whole = b"".join(line.replace(b"\n", b" ") + b"\n" for line in lines)
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]

    assert list(split_lines(chunks)) == [line.replace(b"\n", b" ") for line in lines]


def test_of_an_endless_line_only_the_beginning_is_kept_and_the_next_line_is_read() -> None:
    chunks = [b'{"id":5,"a":"', *[b"x" * 1000] * 100, b'"}\nnext\n']
    overlong, following = split_lines(chunks, max_bytes=5000)

    assert isinstance(overlong, OversizedLine)
    assert len(overlong.head) <= 4096
    assert error_of(overlong) == (-32600, 5)
    assert following == b"next"


def test_the_last_line_needs_no_end() -> None:
    assert list(split_lines([b"a\nb"])) == [b"a", b"b"]
