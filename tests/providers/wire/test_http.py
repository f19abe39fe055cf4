"""Whole calls over a real socket. What a stream means is tested without one, beside each dialect."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft, Message, Usage
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.wire.http import REASON_OF_ERROR
from tests.results import as_draft
from tests.upstream import Answer, Fault, Reply, Request, Upstream, in_turn
from tests.upstream.steps import CHUNKED, SSE, End, chunk, head, json_response

MakeCall = Callable[..., Call]
OpenLab = Callable[..., AbstractAsyncContextManager[Registry]]
Ask = Callable[..., Awaitable[Draft]]

BLUE = b'data: {"choices":[{"delta":{"content":"blue"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@pytest.fixture(params=["openai", "anthropic"])
def dialect(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def ask(dialect: str, make_call: MakeCall, open_lab: OpenLab) -> Ask:
    """Get one answer from an upstream, and make sure that no connection is left behind."""

    async def once(answer: Answer, on_text: Callable[[str], None] = ignore_text) -> Draft:
        async with Upstream(in_turn(answer)) as upstream:
            try:
                async with open_lab(upstream.base_url, dialect) as lab:
                    return as_draft(await lab.complete(make_call(), on_text))
            finally:
                with anyio.fail_after(5):
                    await upstream.until_closed()

    return once


async def test_an_answer_arrives_piece_by_piece_and_whole(ask: Ask) -> None:
    pieces: list[str] = []
    draft = await ask(Reply("It is Rayleigh scattering.", pieces=5, delay_per_piece=0.01), pieces.append)

    assert draft == Draft("It is Rayleigh scattering.", "owl", "stop", Usage(10, 20))
    assert len([piece for piece in pieces if piece]) == 5
    assert "".join(pieces) == draft.text


@pytest.mark.parametrize("split", [1, 7])
async def test_an_answer_is_the_same_however_its_bytes_are_sent(ask: Ask, split: int) -> None:
    reply = Reply(pieces=("<thi", "nk>hm</thin", "k>caf\u00e9 \ud83e", "\udd89"), split=split, comments=2)
    pieces: list[str] = []
    draft = await ask(reply, pieces.append)

    assert (draft.text, draft.thinking, "".join(pieces)) == ("café 🦉", "hm", "café 🦉")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Fault.status(401), Reason.AUTH),
        (Fault.status(402), Reason.BILLING),
        (Fault.status(403), Reason.FORBIDDEN),
        (Fault.status(404), Reason.UNKNOWN_MODEL),
        (Fault.status(413), Reason.TOO_LONG),
        (Fault.status(400, code="context_length_exceeded"), Reason.TOO_LONG),
        (Fault.status(429), Reason.RATE_LIMITED),
        (Fault.status(429, code="insufficient_quota"), Reason.BILLING),
        (Fault.status(503), Reason.UNAVAILABLE),
        (Fault.status(529), Reason.OVERLOADED),
        (Fault.error_in_body(429), Reason.RATE_LIMITED),
        (Fault.error_event(0, status=429), Reason.RATE_LIMITED),
        (Fault.error_event(2, status=500), Reason.UNAVAILABLE),
        (Fault.malformed_event(), Reason.MALFORMED),
        (Fault.html(), Reason.MALFORMED),
        (Fault.gzip_bomb(8), Reason.TOO_LARGE),
        (Fault.empty_body(), Reason.CUT),
        (Fault.no_choices(), Reason.EMPTY),
        (Reply(""), Reason.EMPTY),
        (Reply("", thinking="hm"), Reason.REASONING_ONLY),
        (Reply("<think>hm", finish_reason="length"), Reason.REASONING_ONLY),
        (Reply("", refusal="No.", finish_reason="content_filter"), Reason.REFUSED),
        (Fault.close(), Reason.CONNECTION),
        (Fault.reset(), Reason.CONNECTION),
        (Fault.close(after=0), Reason.CUT),
        (Fault.endless_tokens(text="and so on, " * 5000), Reason.DEGENERATE),
        (Fault.endless_tokens(text="=" * 50_000), Reason.TOO_LARGE),
        (Fault.endless_line(), Reason.TOO_LARGE),
    ],
    ids=str,
)
async def test_a_call_without_a_draft_says_why(ask: Ask, answer: Answer, reason: Reason) -> None:
    with pytest.raises(ProviderError) as caught:
        await ask(answer)

    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "fault",
    [
        Fault.close(after=2),
        Fault.reset(after=2),
        Fault.close_mid_chunk(after=2),
        Fault.cut(after=2),
    ],
    ids=str,
)
async def test_a_part_of_an_answer_is_a_draft_that_is_marked_as_cut(ask: Ask, fault: Fault) -> None:
    draft = await ask(fault)

    assert draft.cut
    assert draft.text in Reply().text


@pytest.mark.parametrize("fault", [Fault.without_end(), Fault.without_finish()], ids=str)
async def test_an_end_marker_or_a_finish_reason_is_enough(ask: Ask, fault: Fault) -> None:
    draft = await ask(fault)

    assert (draft.text, draft.usage, draft.cut) == (Reply().text, Usage(10, 20), False)


@pytest.mark.parametrize("fault", [Fault.no_usage(), Fault.absurd_usage()], ids=str)
async def test_tokens_that_were_not_told_believably_are_unknown(ask: Ask, fault: Fault) -> None:
    draft = await ask(fault)

    assert draft.usage == Usage()
    assert not draft.cut


async def test_an_error_after_some_text_says_that_there_was_some(ask: Ask) -> None:
    with pytest.raises(ProviderError) as caught:
        await ask(Fault.error_event(2))

    assert caught.value.sent_text
    assert caught.value.served_model == "owl"


async def test_the_wish_of_a_provider_to_wait_is_passed_on(ask: Ask) -> None:
    with pytest.raises(ProviderError) as caught:
        await ask(Fault.status(429, headers={"retry-after": "2", "x-should-retry": "true"}))

    assert (caught.value.retry_after, caught.value.should_retry, caught.value.status) == (2.0, True, 429)


async def test_a_key_that_the_provider_repeats_is_not_shown(ask: Ask) -> None:
    with pytest.raises(ProviderError) as caught:
        await ask(Fault.status(401, message="Incorrect API key provided: sk-lab-secret."))

    assert caught.value.detail == "Incorrect API key provided: [key]."


async def test_a_failure_of_the_listener_is_not_taken_for_one_of_the_provider(ask: Ask) -> None:
    def hear(_: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await ask(Reply(), hear)


async def test_what_the_provider_calls_itself_is_one_line_that_can_be_written_down(ask: Ask) -> None:
    draft = await ask(Reply(model="owl\ud83d\n1", finish_reason="odd\ud83d"))

    assert (draft.served_model, draft.finish_reason) == ("owl\ufffd 1", "odd\ufffd")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(ask: Ask, status: int) -> None:
    async with Upstream() as elsewhere:
        with pytest.raises(ProviderError) as caught:
            await ask(Fault.redirect(f"{elsewhere.base_url}/chat/completions", status))

        assert elsewhere.connections == []
    assert (caught.value.reason, caught.value.detail) == (Reason.REDIRECT, "to 127.0.0.1")


async def test_the_key_is_sent_as_the_dialect_wants_it_and_nothing_else_is(
    dialect: str, make_call: MakeCall, open_lab: OpenLab
) -> None:
    async with Upstream() as upstream, open_lab(upstream.base_url, dialect) as lab:
        await lab.complete(make_call(), ignore_text)
        [request] = upstream.requests

    keys = {name: value for name, value in request.headers.items() if "sk-lab-secret" in value}
    assert keys == {"authorization": "Bearer sk-lab-secret"} or keys == {"x-api-key": "sk-lab-secret"}
    assert (dialect == "anthropic") == ("x-api-key" in keys) == ("anthropic-version" in request.headers)
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"] == "moa-mcp"
    assert request.body["stream"] is True


async def test_no_cookie_is_ever_sent_back(make_call: MakeCall, open_lab: OpenLab) -> None:
    reply = Reply(headers={"set-cookie": "session=1; Path=/"})
    async with Upstream(in_turn(reply)) as upstream, open_lab(upstream.base_url) as lab:
        await lab.complete(make_call(), ignore_text)
        await lab.complete(make_call(), ignore_text)

        assert ["cookie" in request.headers for request in upstream.requests] == [False, False]


async def test_a_proxy_of_the_environment_sees_nothing(
    make_call: MakeCall, open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Upstream() as proxy, Upstream() as upstream, open_lab(upstream.base_url) as lab:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base_url.removesuffix("/v1"))
        await lab.complete(make_call(), ignore_text)

        assert (len(upstream.requests), proxy.connections) == (1, [])


async def test_calls_after_one_another_share_a_connection(make_call: MakeCall, open_lab: OpenLab) -> None:
    script = in_turn(Reply(), Fault.status(503), Reply(finish_reason="length"))
    async with Upstream(script) as upstream, open_lab(upstream.base_url) as lab:
        await lab.complete(make_call(), ignore_text)
        with pytest.raises(ProviderError):
            await lab.complete(make_call(), ignore_text)
        await lab.complete(make_call(), ignore_text)

        assert (len(upstream.requests), len(upstream.connections)) == (3, 1)


async def test_more_than_a_hundred_calls_run_at_the_same_time(make_call: MakeCall, open_lab: OpenLab) -> None:
    full = anyio.Event()

    async def script(_: Request) -> Reply:
        await full.wait()
        return Reply("blue")

    async with Upstream(script) as upstream, open_lab(upstream.base_url, max_concurrency=150) as lab:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as calls:
                for _ in range(150):
                    calls.start_soon(lab.complete, make_call(), ignore_text)
                await upstream.until(lambda seen: seen.open == 150)
                full.set()

    assert (upstream.ledger.peak_in_flight, upstream.ledger.abandoned) == (150, [])


@pytest.mark.parametrize("fault", [Fault.hang(), Fault.hang(after=2), Fault.drip_comments(0.001)], ids=str)
async def test_cancelling_a_call_closes_its_connection(
    dialect: str, make_call: MakeCall, open_lab: OpenLab, fault: Fault
) -> None:
    async with Upstream(in_turn(fault)) as upstream, open_lab(upstream.base_url, dialect) as lab:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as calls:
                calls.start_soon(lab.complete, make_call(), ignore_text)
                await upstream.until(lambda seen: seen.open == 1)
                calls.cancel_scope.cancel()
            await upstream.until_closed()

    assert (len(upstream.requests), upstream.ledger.abandoned) == (1, upstream.requests)


@pytest.mark.parametrize("fault", [Fault.drip_comments(0.01), Fault.drip_headers(0.01), Fault.hang()], ids=str)
async def test_a_call_that_only_trickles_ends_at_its_limit(
    make_call: MakeCall, open_lab: OpenLab, fault: Fault
) -> None:
    async with Upstream(in_turn(fault)) as upstream, open_lab(upstream.base_url) as lab:
        with pytest.raises(ProviderError) as caught:
            await lab.complete(make_call(timeout_seconds=0.1), ignore_text)
        with anyio.fail_after(5):
            await upstream.until_closed()

    assert caught.value.reason is Reason.TIMEOUT


async def test_an_answer_is_not_held_up_by_a_body_that_does_not_end(make_call: MakeCall, open_lab: OpenLab) -> None:
    held = Fault("held open", lambda _: [head(200, SSE, CHUNKED), chunk(BLUE), End.HANG])
    async with Upstream(in_turn(held)) as upstream, open_lab(upstream.base_url) as lab:
        with anyio.fail_after(5):
            draft = as_draft(await lab.complete(make_call(), ignore_text))
            await upstream.until_closed()

    assert (draft.text, draft.cut) == ("blue", False)


async def test_a_server_that_does_not_stream_is_understood(make_call: MakeCall, open_lab: OpenLab) -> None:
    choice = {"message": {"content": "blue"}, "finish_reason": "stop"}
    whole = Fault("whole", lambda _: [json_response(200, {"model": "owl", "choices": [choice]})])
    pieces: list[str] = []
    async with Upstream(in_turn(whole)) as upstream, open_lab(upstream.base_url) as lab:
        draft = as_draft(await lab.complete(make_call(), pieces.append))

    assert (draft.text, draft.cut, pieces) == ("blue", False, ["", "blue"])


async def test_a_body_that_is_no_stream_is_read_no_further_than_its_cap(make_call: MakeCall, open_lab: OpenLab) -> None:
    large = Fault("large", lambda _: [json_response(200, {"text": "a" * 3_000_000})])
    async with Upstream(in_turn(large)) as upstream, open_lab(upstream.base_url) as lab:
        with pytest.raises(ProviderError) as caught:
            await lab.complete(make_call(), ignore_text)

    assert caught.value.reason is Reason.TOO_LARGE


async def test_half_a_character_in_a_question_does_not_stop_it(make_call: MakeCall, open_lab: OpenLab) -> None:
    async with Upstream() as upstream, open_lab(upstream.base_url) as lab:
        await lab.complete(make_call(messages=(Message("user", "why \ud83d 🦉"),)), ignore_text)

        assert upstream.requests[0].question == "why \ufffd 🦉"


async def test_a_port_where_nobody_listens_is_named(make_call: MakeCall, open_lab: OpenLab) -> None:
    async with Upstream() as upstream:
        gone = upstream.base_url
    async with open_lab(gone) as lab:
        with pytest.raises(ProviderError) as caught:
            await lab.complete(make_call(), ignore_text)

    assert caught.value.reason is Reason.CONNECTION
    assert gone.removeprefix("http://").removesuffix("/v1") in caught.value.detail


async def test_a_server_that_cannot_prove_who_it_is_is_not_asked_and_not_tried_again(
    make_call: MakeCall, open_lab: OpenLab
) -> None:
    received: list[bytes] = []

    async def speak_plainly(stream: SocketStream) -> None:
        async with stream:
            received.append(await stream.receive())
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as handler:
        base_url = f"https://127.0.0.1:{handler.extra(SocketAttribute.local_port)}/v1"
        async with anyio.create_task_group() as server, open_lab(base_url) as lab:
            server.start_soon(handler.serve, speak_plainly)
            with pytest.raises(ProviderError) as caught:
                await lab.complete(make_call(), ignore_text)
            assert (caught.value.reason, caught.value.should_retry) == (Reason.CONNECTION, False)
            server.cancel_scope.cancel()

    assert b"sk-lab-secret" not in b"".join(received)


async def test_the_key_is_in_no_log(make_call: MakeCall, open_lab: OpenLab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Upstream(in_turn(Reply(), Fault.reset())) as upstream, open_lab(upstream.base_url) as lab:
        await lab.complete(make_call(), ignore_text)
        with pytest.raises(ProviderError):
            await lab.complete(make_call(), ignore_text)

    assert "sk-lab-secret" not in caplog.text


def test_every_way_in_which_httpx_can_fail_on_the_wire_has_its_reason() -> None:
    def leaves(kind: type[Exception]) -> set[type[Exception]]:
        below = kind.__subclasses__()
        return {leaf for one in below for leaf in leaves(one)} if below else {kind}

    assert leaves(httpx.TransportError) - set(REASON_OF_ERROR) == set()
