"""The guards around every test: they hold in the test that would slip through them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import anyio
import pytest

ELSEWHERE = "192.0.2.1"  # reserved for documentation: nobody has it


def test_a_connection_to_another_machine_fails_the_test() -> None:
    with socket.socket() as out, pytest.raises(pytest.fail.Exception, match=ELSEWHERE):
        out.connect((ELSEWHERE, 80))


async def test_an_asynchronous_connection_to_another_machine_fails_the_test() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await anyio.connect_tcp(ELSEWHERE, 80)

    assert caught.group_contains(pytest.fail.Exception, match=ELSEWHERE)


async def test_looking_up_another_machine_fails_the_test() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"models\.example"):
        await anyio.connect_tcp("models.example", 443)


async def test_a_name_that_cannot_exist_is_not_found_and_nobody_is_asked_for_it() -> None:
    with pytest.raises(OSError, match="Name or service not known"):
        await anyio.connect_tcp("models.invalid", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_can_be_reached(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection((host, address[1])) as out:
            assert out.getpeername() == address


def test_a_test_sees_no_key_and_a_home_of_its_own(tmp_path: Path) -> None:
    assert Path(os.environ["MOA_MCP_HOME"]).parent == tmp_path
    assert not [name for name in os.environ if name.endswith("_API_KEY")]
