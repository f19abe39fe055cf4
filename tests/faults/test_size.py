"""A hostile body costs little memory and goes nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Failure
from tests.faults.fixtures import KEY, open_lab, record_of
from tests.upstream import Fault, Reply, Upstream, in_turn

MOST_GROWTH_MB = 30

_READER = """
import json, sys, anyio
from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.errors import ProviderError
from moa_mcp.domain.model import ChatCall, Message
from moa_mcp.providers.registry import Registry

def peak():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

async def main(base_url):
    registry = Registry({"lab": Endpoint("lab", base_url, local=True)}, {})
    call = ChatCall("1.1", "proposer", 1, 1, "lab/owl", (Message("user", "Why?"),), timeout_seconds=30)
    await registry.complete(call, lambda piece: None)
    before = peak()
    try:
        await registry.complete(call, lambda piece: None)
        reason = "none"
    except ProviderError as error:
        reason = error.reason
    await registry.aclose()
    print(json.dumps({"reason": reason, "grown": peak() - before}))

anyio.run(main, sys.argv[1])
"""


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.gzip_bomb(1024), Reason.TOO_LARGE),
        (Fault.endless_line(), Reason.TOO_LARGE),
        (Fault.endless_tokens(text="0123456789" * 500), Reason.TOO_LARGE),
    ],
    ids=str,
)
async def test_a_hostile_body_costs_less_than_30_mb(fault: Fault, reason: Reason) -> None:
    async with Upstream(in_turn(Reply(), fault)) as upstream:
        message = await anyio.to_thread.run_sync(
            lambda: subprocess.check_output(
                [sys.executable, "-c", _READER, upstream.base_url], cwd=Path(__file__).parents[2], timeout=60
            )
        )
    found = json.loads(message)

    assert found["reason"] == reason
    assert found["grown"] < MOST_GROWTH_MB


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_and_the_other_server_hears_nothing(status: int) -> None:
    async with Upstream() as elsewhere, open_lab({"p1": Fault.redirect(f"{elsewhere.base_url}/x", status)}) as lab:
        run = await lab.ask()
        outcome = record_of(run, "1.1").outcome

        assert elsewhere.connections == []
    assert isinstance(outcome, Failure)
    assert (outcome.reason, lab.hits("p1")) == (Reason.REDIRECT, 1)
    assert KEY not in repr(run)
