"""Each fault, byte for byte, as a client on a bare socket sees it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import httpx
import pytest

from tests.upstream import Fault, Reply, Request, Upstream
from tests.upstream.steps import End, Pause, Step, packed

DIALECTS = ("chat/completions", "messages")
REQUEST = Request("POST", "/v1/chat/completions", "", {}, {"model": "m", "stream": True}, 1, 0)
FOUR_PIECES = Reply(pieces=("p1", "p2", "p3", "p4"))


@dataclass(frozen=True)
class Seen:
    """What arrived until the connection ended, and how it ended."""

    raw: bytes
    ending: Literal["fin", "rst", "open"]

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return dict(line.split(": ", 1) for line in lines)

    @property
    def sent(self) -> bytes:
        """What follows the head, as it was sent."""
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def body(self) -> bytes:
        """The body, its chunks joined when it came in chunks."""
        return chunks_joined(self.sent)[0] if "transfer-encoding" in self.headers else self.sent

    @property
    def is_whole(self) -> bool:
        """Whether the framing says that nothing is missing."""
        if "transfer-encoding" in self.headers:
            return chunks_joined(self.sent)[1]
        return len(self.sent) == int(self.headers.get("content-length", len(self.sent)))

    @property
    def pieces(self) -> int:
        return sum(self.body.count(f'"p{number}"'.encode()) for number in range(1, 5))

    @property
    def has_end(self) -> bool:
        return b"data: [DONE]" in self.body or b'"message_stop"' in self.body

    def json(self) -> Any:
        return json.loads(self.body)


def chunks_joined(data: bytes) -> tuple[bytes, bool]:
    """Join chunks; tell whether the last chunk came."""
    joined = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return joined, rest == b"\r\n"
        joined, data = joined + rest[:length], rest[length + 2 :]
    return joined, False


def request_to(path: str, stream: bool) -> bytes:
    data = json.dumps({"model": "m", "stream": stream, "messages": []}).encode()
    head = f"POST /v1/{path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def seen_of(
    fault: Fault, path: str = "chat/completions", *, stream: bool = True, at_most: int | None = None
) -> Seen:
    """Ask once and read until the server ends the connection, or `at_most` so many bytes."""
    raw = b""
    with anyio.fail_after(10):
        async with Upstream(lambda _: fault) as upstream:
            url = httpx.URL(upstream.base_url)
            async with await anyio.connect_tcp(url.host, url.port or 0) as client:
                await client.send(request_to(path, stream))
                try:
                    while at_most is None or len(raw) < at_most:
                        raw += await client.receive()
                except anyio.EndOfStream:
                    return Seen(raw, "fin")
                except anyio.BrokenResourceError:
                    return Seen(raw, "rst")
    return Seen(raw, "open")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 501, 502, 503, 504, 529])
@pytest.mark.parametrize("path", DIALECTS)
async def test_a_status_comes_with_the_error_json_of_the_dialect(status: int, path: str) -> None:
    seen = await seen_of(Fault.status(status, message="Not now."), path)
    assert (seen.status, seen.is_whole) == (status, True)
    assert seen.json()["error"]["message"] == "Not now."
    assert ("code" in seen.json()["error"]) == (path == "chat/completions")
    assert seen.json().get("type") == (None if path == "chat/completions" else "error")


@pytest.mark.parametrize(
    ("status", "openai", "anthropic"),
    [
        (401, "invalid_request_error", "authentication_error"),
        (402, "insufficient_quota", "billing_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (529, "server_error", "overloaded_error"),
    ],
)
async def test_an_error_has_the_type_of_its_dialect(status: int, openai: str, anthropic: str) -> None:
    first = await seen_of(Fault.status(status))
    second = await seen_of(Fault.status(status), "messages")
    assert (first.json()["error"]["type"], second.json()["error"]["type"]) == (openai, anthropic)


async def test_the_providers_own_word_stands_where_the_dialect_has_it() -> None:
    fault = Fault.status(429, code="credit_balance_exhausted")
    assert (await seen_of(fault)).json()["error"]["code"] == "credit_balance_exhausted"
    details = (await seen_of(fault, "messages")).json()["error"]["details"]
    assert details == {"error_code": "credit_balance_exhausted"}


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "1"},
        {"retry-after-ms": "1500"},
        {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"retry-after": "soon, perhaps"},
        {"x-should-retry": "false"},
    ],
)
async def test_a_status_carries_the_headers_it_is_given(headers: dict[str, str]) -> None:
    seen = await seen_of(Fault.status(429, headers=headers))
    assert headers.items() <= seen.headers.items()


async def test_a_status_may_have_any_json_as_its_body() -> None:
    assert (await seen_of(Fault.status(200, body={"choices": None}))).json() == {"choices": None}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_names_where_to(status: int) -> None:
    seen = await seen_of(Fault.redirect("http://elsewhere.invalid/v1", status))
    assert (seen.status, seen.headers["location"]) == (status, "http://elsewhere.invalid/v1")


async def test_a_page_of_html_looks_like_success() -> None:
    seen = await seen_of(Fault.html())
    assert (seen.status, seen.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert seen.body.startswith(b"<!doctype html>")


async def test_json_can_break_off_in_a_body_that_is_whole() -> None:
    seen = await seen_of(Fault.half_json())
    assert (seen.status, seen.headers["content-type"], seen.is_whole) == (200, "application/json", True)
    with pytest.raises(ValueError, match="Unterminated"):
        seen.json()


async def test_an_empty_body_is_empty_and_whole() -> None:
    seen = await seen_of(Fault.empty_body())
    assert (seen.status, seen.body, seen.is_whole) == (200, b"", True)


@pytest.mark.parametrize("path", DIALECTS)
async def test_an_error_object_can_come_with_status_200(path: str) -> None:
    seen = await seen_of(Fault.error_in_body(429), path)
    assert (seen.status, seen.headers["content-type"]) == (200, "application/json")
    assert seen.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("path", DIALECTS)
async def test_an_error_can_come_in_the_stream(path: str) -> None:
    seen = await seen_of(Fault.error_event(after=2, reply=FOUR_PIECES), path)
    assert (seen.pieces, seen.is_whole, seen.has_end) == (2, True, False)
    last = seen.body.strip().split(b"\n\n")[-1]
    assert last.startswith(b"event: error\n") == (path == "messages")
    assert json.loads(last.partition(b"data: ")[2])["error"]["message"]


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_malformed_event_stands_in_a_stream_that_is_well(path: str) -> None:
    seen = await seen_of(Fault.malformed_event(after=2, reply=FOUR_PIECES), path)
    assert (seen.pieces, seen.is_whole, seen.has_end) == (4, True, True)
    broken = [line for line in seen.body.splitlines() if line.startswith(b"data: {") and not is_json(line[6:])]
    assert len(broken) == 1
    assert seen.body.index(b'"p2"') < seen.body.index(broken[0]) < seen.body.index(b'"p3"')


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_may_have_no_choices_and_no_blocks(stream: bool) -> None:
    first = await seen_of(Fault.no_choices(), stream=stream)
    second = await seen_of(Fault.no_choices(), "messages", stream=stream)
    assert b'"choices":[]' in first.body
    assert b'"delta"' not in first.body
    assert b'"content":[]' in second.body
    assert b"content_block" not in second.body
    assert (first.is_whole, second.is_whole) == (True, True)
    assert (first.has_end, second.has_end) == (stream, stream)


@pytest.mark.parametrize(("fault", "ending"), [(Fault.reset(), "rst"), (Fault.close(), "fin")])
async def test_a_connection_can_end_before_any_byte(fault: Fault, ending: str) -> None:
    seen = await seen_of(fault)
    assert (seen.raw, seen.ending) == (b"", ending)


@pytest.mark.parametrize(("make", "ending"), [(Fault.reset, "rst"), (Fault.close, "fin")])
@pytest.mark.parametrize("path", DIALECTS)
async def test_a_connection_can_end_within_a_stream(make: Any, ending: str, path: str) -> None:
    seen = await seen_of(make(after=2, reply=FOUR_PIECES), path)
    assert (seen.pieces, seen.ending) == (2, ending)
    assert (seen.is_whole, seen.has_end) == (False, False)


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_connection_can_end_within_a_chunk(path: str) -> None:
    seen = await seen_of(Fault.close_mid_chunk(after=1, reply=FOUR_PIECES), path)
    assert (seen.ending, seen.is_whole, seen.pieces) == ("fin", False, 1)
    assert seen.sent.endswith(b"\r\n40\r\ndata: {")


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_cut_stream_without_framing_looks_whole(path: str) -> None:
    seen = await seen_of(Fault.cut(after=2, reply=FOUR_PIECES), path)
    assert (seen.pieces, seen.has_end, seen.ending) == (2, False, "fin")
    assert seen.headers["connection"] == "close"
    assert not {"content-length", "transfer-encoding"} & seen.headers.keys()


@pytest.mark.parametrize("by", [100, -100])
async def test_a_content_length_can_be_wrong_either_way(by: int) -> None:
    seen = await seen_of(Fault.wrong_content_length(by))
    assert int(seen.headers["content-length"]) - len(seen.sent) == by
    assert seen.ending == "fin"


def test_a_hang_within_a_stream_comes_after_its_deltas() -> None:
    steps = list(Fault.hang(after=2, reply=FOUR_PIECES).act(REQUEST))
    assert steps[-1] is End.HANG
    assert sum(isinstance(step, bytes) and step.count(b'"p') for step in steps) == 2


async def test_comments_drip_for_ever_and_are_no_events() -> None:
    seen = await seen_of(Fault.drip_comments(every=0.001), at_most=500)
    assert seen.body.startswith(b": keep-alive\n\n: keep-alive\n\n")
    assert b"data:" not in seen.body


async def test_a_header_drips_for_ever() -> None:
    seen = await seen_of(Fault.drip_headers(every=0.001), at_most=100)
    assert seen.raw.startswith(b"HTTP/1.1 200 OK\r\nx-drip: aaaa")
    assert b"\r\n\r\n" not in seen.raw


@pytest.mark.parametrize("path", DIALECTS)
async def test_tokens_come_without_end(path: str) -> None:
    seen = await seen_of(Fault.endless_tokens(text="more"), path, at_most=300_000)
    assert seen.body.count(b'"more"') > 1_000


async def test_a_line_comes_without_end() -> None:
    seen = await seen_of(Fault.endless_line(), at_most=2_000_000)
    assert len(seen.body.split(b"\n")[-1]) > 1_500_000


async def test_a_gzip_bomb_is_valid_gzip_of_a_thousand_times_its_size() -> None:
    seen = await seen_of(Fault.gzip_bomb(mebibytes=8))
    assert seen.headers["content-encoding"] == "gzip"
    assert len(seen.body) < 10_000
    assert gzip.decompress(seen.body) == b" " * (8 << 20)


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_stream_can_lack_its_end_marker(path: str) -> None:
    seen = await seen_of(Fault.without_end(reply=FOUR_PIECES), path)
    assert (seen.pieces, seen.is_whole, seen.has_end) == (4, True, False)
    assert b'"finish_reason":"stop"' in seen.body or b'"stop_reason":"end_turn"' in seen.body


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_stream_can_lack_its_finish_reason(path: str) -> None:
    seen = await seen_of(Fault.without_finish(reply=FOUR_PIECES), path)
    assert (seen.pieces, seen.is_whole, seen.has_end) == (4, True, True)
    assert b'"stop"' not in seen.body
    assert b'"end_turn"' not in seen.body


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", DIALECTS)
async def test_an_answer_can_be_silent_about_usage(path: str, stream: bool) -> None:
    assert b"usage" not in (await seen_of(Fault.no_usage(), path, stream=stream)).body


@pytest.mark.parametrize("path", DIALECTS)
async def test_usage_can_be_absurd(path: str) -> None:
    usage = (await seen_of(Fault.absurd_usage(), path, stream=False)).json()["usage"]
    assert {-5, 10**15} <= set(usage.values())


async def test_a_tool_can_be_called_that_nobody_offered() -> None:
    first = await seen_of(Fault.tool_calls())
    second = await seen_of(Fault.tool_calls(), "messages")
    assert first.body.index(b'"tool_calls":[{') < first.body.index(b'"finish_reason":"tool_calls"')
    assert second.body.index(b'"type":"tool_use"') < second.body.index(b'"stop_reason":"tool_use"')


def test_a_fault_keeps_the_pace_and_the_split_of_its_reply() -> None:
    reply = Reply(pieces=("ab", "cd"), delay=3, delay_per_piece=2, split=10)
    steps = list(Fault.reset(after=2, reply=reply).act(REQUEST))
    assert [step.seconds for step in steps if isinstance(step, Pause)] == [3, 2, 2]
    assert max(len(step) for step in steps if isinstance(step, bytes)) == 10


@pytest.mark.parametrize(
    ("split", "writes"),
    [(None, [b"abcd", Pause(1), b"ef"]), (3, [b"abc", b"d", Pause(1), b"ef"])],
)
def test_what_follows_without_a_pause_is_one_write_or_cut_to_size(split: int | None, writes: list[Step]) -> None:
    assert list(packed([b"ab", b"cd", Pause(1), b"ef"], split)) == writes
