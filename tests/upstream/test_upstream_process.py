"""The upstream outside the test's own event loop: in a thread, and in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import tests.upstream
from tests.upstream import Fault, Reply, Request, in_turn, upstream_process, upstream_thread
from tests.upstream.__main__ import slow_echo

ROOT = Path(tests.upstream.__file__).parents[2]


def asked(base_url: str, model: str = "m") -> tuple[int, Any]:
    """Ask once, on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=10)
    body = {"model": model, "messages": [{"role": "user", "content": "why?"}]}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def test_a_thread_serves_a_test_that_is_not_asynchronous() -> None:
    with upstream_thread(in_turn(Fault.status(500), Reply("well"))) as upstream:
        first, second = asked(upstream.base_url), asked(upstream.anthropic_url)
        upstream.until(lambda seen: seen.closed == 2)
        assert (first[0], second[0]) == (500, 200)
        assert [request.question for request in upstream.requests] == ["why?", "why?"]


def test_waiting_for_what_does_not_come_ends() -> None:
    with upstream_thread() as upstream, pytest.raises(TimeoutError):
        upstream.until(lambda seen: seen.accepted == 1, within=0.01)


def test_a_process_serves_and_keeps_a_ledger() -> None:
    with upstream_process(pieces=2) as upstream:
        status, answer = asked(upstream.base_url, "a")
        asked(upstream.base_url, "b")
        ledger = upstream.ledger(bodies=True)
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "a was asked: why?")
    assert (ledger["requests"], ledger["accepted"], ledger["peak_in_flight"]) == (2, 2, 1)
    assert ledger["per_model"] == {"a": 1, "b": 1}
    assert [body["model"] for body in ledger["bodies"]] == ["a", "b"]


def test_a_process_answers_as_the_function_that_is_named_for_it() -> None:
    with upstream_process("tests.upstream.obliging:fill_forms") as upstream:
        _, answer = asked(upstream.base_url, "a")
    assert answer["choices"][0]["message"]["content"].startswith("Draft 1 of a:")


def test_the_process_is_gone_when_its_block_ends() -> None:
    with upstream_process() as upstream:
        pid = upstream.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.upstream", "--models", "x", "y"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_the_process_ends_in_good_order_when_its_input_does() -> None:
    with started() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait(10) == 0
    assert announced["pid"] == process.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_at_a_signal(number: signal.Signals) -> None:
    with started() as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(10) == -number


def test_the_jitter_is_the_same_for_the_same_seed() -> None:
    request = Request("POST", "/v1/chat/completions", "", {}, {"model": "m"}, 1, 0)

    def delays(seed: int) -> list[float]:
        script = slow_echo(delay_ms=200, jitter_ms=100, pieces=4, seed=seed)
        replies = [script(request) for _ in range(20)]
        return [reply.delay for reply in replies if isinstance(reply, Reply)]

    assert delays(1) == delays(1) != delays(2)
    assert all(0.2 <= delay <= 0.3 for delay in delays(1))
