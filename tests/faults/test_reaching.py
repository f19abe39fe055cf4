"""A provider that cannot be reached is soon given up, and nothing is sent to it in another way."""

from __future__ import annotations

import anyio

from moa_mcp.domain.errors import Reason
from tests import clock
from tests.faults.fixtures import failure_of, open_lab, panel


async def test_a_port_where_nobody_listens_is_tried_twice_and_then_left() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as closed:
        port = closed.extra(anyio.abc.SocketAttribute.local_port)
    async with open_lab(preset=panel(1), base_url=f"http://127.0.0.1:{port}/v1") as lab:
        run = await lab.ask()

    assert run.status == "failed"
    assert (failure_of(run, "1.1").reason, failure_of(run, "1.1").usage.retries) == (Reason.CONNECTION, 1)


async def test_a_name_that_is_not_found_is_looked_up_twice_and_then_left() -> None:
    async with open_lab(preset=panel(1), base_url="http://models.invalid/v1") as lab:
        run = await lab.ask()

    lost = failure_of(run, "1.1")
    assert (run.status, lost.reason, lost.usage.retries) == ("failed", Reason.CONNECTION, 1)
    assert "models.invalid" in lost.detail
    assert (lost.usage.input_tokens, run.cost_usd) == (None, None)


@clock.jumping
async def test_tls_to_a_plain_port_fails_without_a_second_try_in_plain_text() -> None:
    async with (
        open_lab(preset=panel(1)) as lab,
        open_lab(preset=panel(1), base_url=lab.upstream.base_url.replace("http:", "https:")) as secure,
    ):
        run = await secure.ask()

    assert (run.status, lab.upstream.requests) == ("failed", [])
    assert failure_of(run, "1.1").reason in {Reason.CONNECTION, Reason.TIMEOUT}
