"""The upstream as its clients see it; what each fault looks like is in test_upstream_faults.py."""

from __future__ import annotations

import base64
import json
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import httpx
import httpx_aiohttp
import pytest
from anyio.abc import SocketStream

from tests.upstream import Answer, Fault, Reply, Request, Script, Upstream, by_model, echo, in_turn

DIALECTS = ("chat/completions", "messages")
NEVER_ENDING = (
    Fault.hang(),
    Fault.hang(after=2),
    Fault.drip_comments(every=0.001),
    Fault.drip_headers(every=0.001),
    Fault.endless_tokens(),
    Fault.endless_tokens(every=0.001),
    Fault.endless_line(),
)


@pytest.fixture(params=["httpx", "aiohttp"])
async def client(request: pytest.FixtureRequest) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx_aiohttp.AiohttpTransport() if request.param == "aiohttp" else httpx.AsyncHTTPTransport()
    async with httpx.AsyncClient(transport=transport, trust_env=False) as made:
        yield made


@asynccontextmanager
async def serving(script: Script = echo, models: tuple[str, ...] = ()) -> AsyncGenerator[Upstream]:
    with anyio.fail_after(10):
        async with Upstream(script, models=models) as upstream:
            yield upstream


def asked(model: str = "m", **more: Any) -> dict[str, Any]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": "why?"}], **more}


async def post(
    client: httpx.AsyncClient, upstream: Upstream, path: str = "chat/completions", **more: Any
) -> httpx.Response:
    return await client.post(f"{upstream.base_url}/{path}", json=asked(**more))


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = response.content.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def openai_deltas(response: httpx.Response, name: str = "content") -> list[str]:
    deltas = [choice["delta"] for event in events(response) for choice in event["choices"]]
    return [delta[name] for delta in deltas if delta.get(name)]


def anthropic_deltas(response: httpx.Response, name: str = "text") -> list[str]:
    return [event["delta"][name] for event in events(response) if name in event.get("delta", {})]


async def connected(upstream: Upstream, body: dict[str, Any], path: str = "chat/completions") -> SocketStream:
    """A bare connection that has sent one request."""
    url = httpx.URL(upstream.base_url)
    stream = await anyio.connect_tcp(url.host, url.port or 0)
    await stream.send(raw_request(body, path))
    return stream


def raw_request(body: dict[str, Any], path: str = "chat/completions") -> bytes:
    data = json.dumps(body).encode()
    return f"POST /v1/{path} HTTP/1.1\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


async def test_an_openai_stream_carries_role_text_finish_and_usage_and_ends_with_done(
    client: httpx.AsyncClient,
) -> None:
    async with serving(lambda _: Reply("one two", pieces=2, model="served")) as upstream:
        response = await post(client, upstream, stream_options={"include_usage": True})
    chunks = events(response)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert openai_deltas(response) == ["one ", "two"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, None, None, "stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    assert {chunk["usage"] for chunk in chunks[:-1]} == {None}
    assert {(chunk["object"], chunk["model"]) for chunk in chunks} == {("chat.completion.chunk", "served")}
    assert response.text.endswith("data: [DONE]\n\n")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_openai_usage_is_streamed_only_when_asked_for(client: httpx.AsyncClient) -> None:
    async with serving() as upstream:
        response = await post(client, upstream)
    assert not any("usage" in chunk for chunk in events(response))


async def test_an_anthropic_stream_is_a_message_of_blocks(client: httpx.AsyncClient) -> None:
    async with serving(lambda _: Reply("one two", pieces=2)) as upstream:
        response = await post(client, upstream, "messages")
    names = [line[7:] for line in response.text.splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events(response)]
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert anthropic_deltas(response) == ["one ", "two"]
    assert events(response)[0]["message"]["usage"]["input_tokens"] == 10
    assert events(response)[-2]["usage"] == {"output_tokens": 20}


@pytest.mark.parametrize(
    ("openai", "anthropic"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
        ("model_context_window_exceeded", "model_context_window_exceeded"),
    ],
)
async def test_a_finish_reason_is_worded_as_the_dialect_does(
    client: httpx.AsyncClient, openai: str, anthropic: str
) -> None:
    async with serving(lambda _: Reply(finish_reason=openai)) as upstream:
        first = await post(client, upstream)
        second = await post(client, upstream, "messages")
    assert events(first)[-1]["choices"][0]["finish_reason"] == openai
    assert events(second)[-2]["delta"]["stop_reason"] == anthropic


async def test_thinking_comes_before_the_text(client: httpx.AsyncClient) -> None:
    async with serving(lambda _: Reply("so 42", thinking="let me see", pieces=2)) as upstream:
        first = await post(client, upstream)
        second = await post(client, upstream, "messages")
    assert openai_deltas(first, "reasoning_content") == ["let m", "e see"]
    assert first.text.index("reasoning_content") < first.text.index("so ")
    assert anthropic_deltas(second, "thinking") == ["let m", "e see"]
    text_blocks = {event["index"] for event in events(second) if "text" in event.get("delta", {})}
    assert text_blocks == {1}


async def test_a_refusal_is_said_in_the_field_of_the_dialect(client: httpx.AsyncClient) -> None:
    async with serving(lambda _: Reply("", refusal="No.", finish_reason="content_filter")) as upstream:
        first = await post(client, upstream)
        second = await post(client, upstream, "messages")
    assert openai_deltas(first, "refusal") == ["No."]
    assert openai_deltas(first) == []
    assert events(second)[-2]["delta"]["stop_details"]["explanation"] == "No."


async def test_an_answer_that_is_not_streamed_is_one_json_object(client: httpx.AsyncClient) -> None:
    async with serving(lambda _: Reply("one two", thinking="hm")) as upstream:
        first = (await post(client, upstream, stream=False)).json()
        second = (await post(client, upstream, "messages", stream=False)).json()
    assert first["choices"][0]["message"]["content"] == "one two"
    assert first["choices"][0]["finish_reason"] == "stop"
    assert first["usage"]["total_tokens"] == 30
    assert [block["type"] for block in second["content"]] == ["thinking", "text"]
    assert second["stop_reason"] == "end_turn"
    assert second["usage"]["output_tokens"] == 20


@pytest.mark.parametrize("path", DIALECTS)
async def test_an_emoji_can_be_cut_into_its_surrogate_halves(client: httpx.AsyncClient, path: str) -> None:
    async with serving(lambda _: Reply(pieces=("a\ud83d", "\ude00b"))) as upstream:
        response = await post(client, upstream, path)
    deltas = openai_deltas(response) if path == "chat/completions" else anthropic_deltas(response)
    assert deltas == ["a\ud83d", "\ude00b"]


@pytest.mark.parametrize("split", [1, 2, 7, 100_000])
async def test_however_the_bytes_are_split_the_text_is_the_same(client: httpx.AsyncClient, split: int) -> None:
    async with serving(lambda _: Reply("😀 naïve", pieces=3, split=split)) as upstream:
        response = await post(client, upstream)
    assert "".join(openai_deltas(response)) == "😀 naïve"


async def test_comments_go_before_each_delta(client: httpx.AsyncClient) -> None:
    async with serving(lambda _: Reply("ab", pieces=2, comments=2)) as upstream:
        response = await post(client, upstream)
    assert response.text.count(": keep-alive\n\n: keep-alive\n\ndata: ") == 2


async def test_a_reply_may_set_its_status_and_headers(client: httpx.AsyncClient) -> None:
    async with serving(lambda _: Reply(status=201, headers={"set-cookie": "a=b"})) as upstream:
        response = await post(client, upstream)
    assert (response.status_code, response.headers["set-cookie"]) == (201, "a=b")


async def test_a_connection_is_used_again(client: httpx.AsyncClient) -> None:
    async with serving() as upstream:
        for path in (*DIALECTS, *DIALECTS):
            assert (await post(client, upstream, path)).is_success
        assert (len(upstream.requests), len(upstream.connections)) == (4, 1)


async def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    async with serving() as upstream:
        async with await connected(upstream, asked("first", stream=False)) as stream:
            await stream.send(raw_request(asked("second", stream=False)))
            received = b""
            while received.count(b"HTTP/1.1 200") < 2 or not received.endswith(b"}"):
                received += await stream.receive()
        assert received.index(b"first was asked") < received.index(b"second was asked")


async def test_a_request_is_kept_as_it_was_sent(client: httpx.AsyncClient) -> None:
    async with serving() as upstream:
        await client.post(f"{upstream.base_url}/messages?beta=true", json=asked(), headers={"X-Api-Key": "k"})
        await post(client, upstream, model="other")
        first, second = upstream.requests
    assert (first.method, first.path, first.query) == ("POST", "/v1/messages", "beta=true")
    assert (first.headers["x-api-key"], first.body, first.question) == ("k", asked(), "why?")
    assert (first.number, second.number, second.model) == (1, 2, "other")
    assert first.received_at <= second.received_at


async def test_the_models_are_listed(client: httpx.AsyncClient) -> None:
    async with serving(models=("a", "b")) as upstream:
        listed = (await client.get(f"{upstream.base_url}/models")).json()
    assert [entry["id"] for entry in listed["data"]] == ["a", "b"]


async def embedded(client: httpx.AsyncClient, upstream: Upstream, **body: Any) -> dict[str, Any]:
    response = await client.post(f"{upstream.base_url}/embeddings", json={"model": "e", **body})
    answer: dict[str, Any] = response.json()
    return answer


async def test_texts_that_share_words_have_near_vectors(client: httpx.AsyncClient) -> None:
    texts = ["the cat sat", "The cat, sat.", "a cat slept", "stocks fell today"]
    async with serving() as upstream:
        answer = await embedded(client, upstream, input=texts)
    same, twin, near, far = (entry["embedding"] for entry in answer["data"])
    likeness = [sum(a * b for a, b in zip(same, other, strict=True)) for other in (twin, near, far)]
    assert likeness[0] == pytest.approx(1)
    assert all(nearer > farther for nearer, farther in pairwise(likeness))
    assert answer["usage"] == {"prompt_tokens": 12, "total_tokens": 12}


async def test_vectors_come_in_base64_and_in_other_sizes_when_asked_for(client: httpx.AsyncClient) -> None:
    async with serving() as upstream:
        plain = await embedded(client, upstream, input="a b", dimensions=8)
        coded = await embedded(client, upstream, input="a b", dimensions=8, encoding_format="base64")
    numbers = struct.unpack("<8f", base64.b64decode(coded["data"][0]["embedding"]))
    assert list(numbers) == pytest.approx(plain["data"][0]["embedding"])


async def test_what_is_not_served_is_said_so(client: httpx.AsyncClient) -> None:
    async with serving() as upstream:
        unknown = await client.get(f"{upstream.base_url}/files")
        not_json = await client.post(f"{upstream.base_url}/chat/completions", content=b"[1]")
    assert (unknown.status_code, not_json.status_code) == (404, 400)
    assert "GET /v1/files" in unknown.json()["error"]["message"]


async def test_what_is_no_http_ends_the_connection_and_not_the_server(client: httpx.AsyncClient) -> None:
    async with serving() as upstream:
        url = httpx.URL(upstream.base_url)
        async with await anyio.connect_tcp(url.host, url.port or 0) as stream:
            await stream.send(b"nonsense\r\n\r\n")
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
        assert (await post(client, upstream)).is_success


async def test_a_client_that_resets_before_it_is_served_does_no_harm(client: httpx.AsyncClient) -> None:
    async with serving() as upstream:
        url = httpx.URL(upstream.base_url)
        with socket.create_connection((url.host, url.port or 0)) as hasty:
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert (await post(client, upstream)).is_success


@pytest.mark.parametrize("fault", NEVER_ENDING, ids=repr)
@pytest.mark.parametrize("path", DIALECTS)
async def test_a_client_that_leaves_is_noticed_whatever_it_is_sent(fault: Fault, path: str) -> None:
    async with serving(lambda _: fault) as upstream:
        stream = await connected(upstream, asked(), path)
        await upstream.until(lambda seen: seen.open == 1)
        await stream.aclose()
        await upstream.until_closed()
        assert upstream.ledger.abandoned == upstream.requests
        assert upstream.open == 0


@pytest.mark.parametrize("fault", NEVER_ENDING, ids=repr)
async def test_leaving_the_upstream_ends_what_never_ends_and_leaks_no_task(fault: Fault) -> None:
    before = {task.id for task in anyio.get_running_tasks()}
    async with serving(lambda _: fault) as upstream:
        stream = await connected(upstream, asked())
        await upstream.until(lambda seen: seen.open == 1)
    async with stream:
        with suppress(anyio.BrokenResourceError):
            async for _ in stream:
                pass
    assert {task.id for task in anyio.get_running_tasks()} <= before


async def test_a_client_that_leaves_between_answers_abandons_nothing(client: httpx.AsyncClient) -> None:
    async with serving() as upstream:
        await post(client, upstream)
        await client.aclose()
        await upstream.until_closed()
        assert upstream.ledger.abandoned == []
        assert upstream.connections[0].closed_at is not None


async def test_a_script_may_hold_answers_and_the_ledger_counts_what_is_in_flight(
    client: httpx.AsyncClient,
) -> None:
    release = anyio.Event()

    async def script(request: Request) -> Answer:
        await release.wait()
        return Reply(request.model)

    async with serving(script) as upstream:
        async with anyio.create_task_group() as tasks:
            for model in ("a", "a", "b"):
                tasks.start_soon(partial(post, client, upstream, model=model))
            await upstream.until(lambda seen: seen.open == 3)
            release.set()
        summary = upstream.ledger.summary()
    assert (summary["peak_in_flight"], summary["accepted"], summary["open"]) == (3, 3, 0)
    assert summary["per_model"] == {"a": 2, "b": 1}


async def test_answers_can_be_given_in_turn_and_by_model(client: httpx.AsyncClient) -> None:
    script = by_model({"shaky": in_turn(Fault.status(503), Reply("at last"))}, otherwise=Reply("well"))
    async with serving(script) as upstream:
        codes = [(await post(client, upstream, model="shaky")).status_code for _ in range(3)]
        other = await post(client, upstream, model="other")
    assert codes == [503, 200, 200]
    assert "".join(openai_deltas(other)) == "well"


async def test_an_error_in_the_script_ends_the_block_and_is_not_hidden() -> None:
    def script(request: Request) -> Answer:
        raise LookupError(request.model)

    with pytest.raises(ExceptionGroup) as caught:
        async with serving(script) as upstream, await connected(upstream, asked("owl")):
            await anyio.sleep_forever()

    assert caught.group_contains(LookupError, match="owl")


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with serving():
            raise LookupError("mine")


async def test_the_ledger_is_read_over_http_and_does_not_count_its_readers(client: httpx.AsyncClient) -> None:
    async with serving() as upstream:
        await post(client, upstream, model="a")
        url = httpx.URL(upstream.base_url).copy_with(path="/ledger", query=b"bodies=1")
        async with httpx.AsyncClient(trust_env=False) as reader:
            ledger = (await reader.get(url)).json()
    assert (ledger["requests"], ledger["accepted"], ledger["open"]) == (1, 1, 0)
    assert ledger["per_model"] == {"a": 1}
    assert ledger["bodies"] == [asked("a")]
