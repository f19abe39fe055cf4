"""The server on stdin and stdout, as a process of its own: nothing that is said hangs it, nothing keeps it alive."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.server.transports.fixtures import ASK, ENVELOPE, HANDSHAKE, Talk, held, line_of, on_pipes
from tests.upstream import Reply, Request, Upstream, echo

IDS = (b"null", b"1.5", b"true", b"[]", b"{}", b"-0.0", b"1e400", b"9" * 40, b"9" * 5000)
LEGIBLE = (b'"a"', b"-1", b"77", b'""', b'"\\ud83d"', b'"77x"')
MALFORMED = (
    *(b'{"jsonrpc":"2.0","id":' + i + b',"method":"ping"}' for i in IDS),
    *(b'{"jsonrpc":"2.0","id":' + i + b',"method":3}' for i in LEGIBLE),
    *(b'{"jsonrpc":"2.0","id":' + i + b',"method":"ping","params":7}' for i in LEGIBLE),
    *(b'{"jsonrpc":"2.0","id":' + i + b',"method":"ping"' for i in LEGIBLE),
    *(b'{"jsonrpc":' + v + b',"id":5,"method":"ping"}' for v in (b"2.0", b'"1.0"', b"null", b'""', b"[]")),
    *(b"[" * n for n in (1, 100, 100_000)),
    *(b'{"a":' * n for n in (1, 100, 100_000)),
    *(b"garbage", b"{", b"}", b'"', b"nul", b"NaN", b"-", b"\x00", b"\xff\xfe", b"{}", b"[]", b"3", b'"x"', b"true"),
    *(b"[1]", b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', b'{"id":1}', b'{"method":"ping"}', b'{"jsonrpc":"2.0"}'),
    *(b"GET / HTTP/1.1", b"Content-Length: 20", b'{"jsonrpc":"2.0","method":7}', b'{"jsonrpc":"2.0","id":1,"error":3}'),
    *(b"<xml/>", b"{'jsonrpc':'2.0'}", b'{"jsonrpc":"2.0",,}', b'{"jsonrpc":"2.0","id":1,"method":"ping"} x'),
)


async def test_after_every_malformed_line_the_next_call_works(tmp_path: Path) -> None:
    assert len(MALFORMED) >= 60
    async with on_pipes(tmp_path) as talk:
        for number, line in enumerate(MALFORMED):
            await talk.say(line + b"\n")
            refusal = await talk.hear()
            assert refusal["error"]["code"] in {-32700, -32600}, line
            assert (await talk.ask(number, "tools/list"))["id"] == number


async def test_a_line_without_end_is_refused_with_its_id_in_bounded_memory(tmp_path: Path) -> None:
    async with on_pipes(tmp_path) as talk:
        await talk.ask(1, "tools/list")
        before = peak_kb(talk.process.pid)
        await talk.say(b'{"jsonrpc":"2.0","id":8,"method":"ping","params":{"a":"')
        for _ in range(20):
            await talk.say(b"x" * 1_000_000)
        await talk.say(b'"}}\n')
        refusal = await talk.hear()

        assert (refusal["id"], refusal["error"]["code"]) == (8, -32600)
        assert peak_kb(talk.process.pid) - before < 30_000
        assert (await talk.ask(9, "tools/list"))["result"]


def peak_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


async def test_half_an_emoji_is_served_in_both_directions(tmp_path: Path) -> None:
    async with Upstream(lambda request: Reply("half \ud83d")) as upstream, on_pipes(tmp_path, upstream) as talk:
        await talk.say(
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"moa_ask",'
            b'"arguments":{"question":"half \\ud83d?"},"_meta":' + json.dumps(ENVELOPE).encode() + b"}}\n"
        )
        answer = await talk.hear()

        assert "half \N{REPLACEMENT CHARACTER}" in answer["result"]["structuredContent"]["answer"]
        assert (await talk.ask(2, "tools/list"))["result"]


async def test_a_second_request_of_an_id_in_use_is_refused_and_the_first_can_be_cancelled(tmp_path: Path) -> None:
    async with Upstream(held) as upstream, on_pipes(tmp_path, upstream) as talk:
        await talk.say(line_of(id=1, method="tools/call", params={**ASK, "_meta": ENVELOPE}))
        await upstream.until(lambda seen: seen.open == 3)
        refusal = await talk.ask(1, "tools/list")
        assert (refusal["id"], refusal["error"]["code"]) == (1, -32600)
        assert (await talk.ask("1", "tools/list"))["error"]["code"] == -32600

        await talk.say(line_of(method="notifications/cancelled", params={"requestId": 1, "_meta": ENVELOPE}))
        await upstream.until(lambda seen: seen.open == 0)
        assert len(upstream.requests) == 3
        assert "result" in await talk.ask(1, "tools/list")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, None], ids=["SIGTERM", "SIGINT", "EOF"])
async def test_an_end_in_the_middle_of_a_run_is_quick_clean_and_written_down(
    end: signal.Signals | None, tmp_path: Path
) -> None:
    async with Upstream(held) as upstream, on_pipes(tmp_path, upstream) as talk:
        await talk.say(line_of(id=1, method="tools/call", params={**ASK, "_meta": ENVELOPE}))
        await upstream.until(lambda seen: seen.open == 3)
        with anyio.fail_after(3):
            await talk.end(end)
        await upstream.until(lambda seen: seen.open == 0)

    assert talk.process.returncode == 0
    assert statuses(tmp_path) == ["interrupted"]


async def heard_until_the_end(talk: Talk) -> dict[Any, dict[str, Any]]:
    """The answers that still come after stdin has ended, by id."""
    assert talk.process.stdout
    await talk.stdin.aclose()
    lines = b"".join([chunk async for chunk in talk.process.stdout]).splitlines()
    assert await talk.process.wait() == 0
    messages = [json.loads(line) for line in lines]
    return {message["id"]: message for message in messages if "id" in message}


async def test_what_was_asked_before_stdin_ended_is_answered_if_no_model_has_to_be_asked_for_it(tmp_path: Path) -> None:
    demo: dict[str, Any] = {"name": "moa_ask", "arguments": {"question": "Why?", "preset": "demo"}}
    calls: dict[int, dict[str, Any]] = {2: demo, 3: {"name": "moa_list_presets", "arguments": {}}, 4: ASK}
    async with Upstream() as upstream, on_pipes(tmp_path, upstream) as talk:
        await talk.say(line_of(id=0, method="initialize", params=HANDSHAKE))
        await talk.say(line_of(method="notifications/initialized"))
        await talk.say(line_of(id=1, method="tools/list"))
        for number, params in calls.items():
            await talk.say(line_of(id=number, method="tools/call", params=params))
        answers = await heard_until_the_end(talk)

    assert {number for number, answer in answers.items() if "result" in answer} == {0, 1, 2, 3, 4}
    assert answers[2]["result"]["structuredContent"]["status"] == "completed"
    assert answers[4]["result"]["structuredContent"]["status"] == "interrupted"
    assert upstream.requests == []


async def test_no_call_begins_once_stdin_has_ended_and_what_was_paid_for_is_kept(tmp_path: Path) -> None:
    answering = iter((echo, echo, held, held))

    def answer(request: Request) -> Reply | Awaitable[Reply]:
        return next(answering)(request)

    async with Upstream(answer) as upstream, on_pipes(tmp_path, upstream) as talk:
        await talk.say(line_of(id=1, method="tools/call", params={**ASK, "_meta": ENVELOPE}))
        await upstream.until(lambda seen: len(seen.requests) == 3 and seen.open == 1)
        while len(json.loads(await talk.read("moa://runs/latest/drafts"))["drafts"]) < 2:
            pass
        answers = await heard_until_the_end(talk)
        await upstream.until_closed()

    run = answers[1]["result"]["structuredContent"]
    assert (run["status"], len(upstream.requests)) == ("interrupted", 3)
    assert sorted(call["status"] for call in run["calls"]) == ["cancelled", "ok", "ok"]
    assert "goes on where it stopped" in run["error"]
    assert statuses(tmp_path) == ["interrupted"]


@pytest.mark.slow
async def test_a_client_that_stops_reading_leaves_no_orphan(tmp_path: Path) -> None:
    async with Upstream(held) as upstream, on_pipes(tmp_path, upstream) as talk:
        for number in range(300):
            await talk.say(line_of(id=number, method="tools/list", params={"_meta": ENVELOPE}))
        await talk.say(line_of(id="ask", method="tools/call", params={**ASK, "_meta": ENVELOPE}))
        await upstream.until(lambda seen: seen.open == 3)
        await talk.say(line_of(method="notifications/cancelled", params={"requestId": "ask", "_meta": ENVELOPE}))
        await upstream.until(lambda seen: seen.open == 0)
        await talk.end(None)

    assert talk.process.returncode == 0


def statuses(home: Path) -> list[str]:
    [file] = home.rglob("runs.db")
    with sqlite3.connect(file) as database:
        rows = [row[0] for row in database.execute("select status from runs")]
    database.close()
    return rows
