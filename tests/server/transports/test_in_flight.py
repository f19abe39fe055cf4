"""What was asked and not answered: what the end of a server waits for."""

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse

from moa_mcp.server.transports.in_flight import LISTEN, InFlight


def request(number: int, method: str) -> SessionMessage:
    return SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params={}))


def response(number: int) -> SessionMessage:
    return SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=number, result={}))


async def test_the_end_waits_for_answers_and_not_for_requests_that_listen() -> None:
    in_flight, order = InFlight(), list[str]()
    for message in (request(1, LISTEN), request(2, "tools/call"), request(3, LISTEN), request(4, "tools/list")):
        assert in_flight.admit(message)

    async def wait() -> None:
        await in_flight.until_idle()
        order.append("idle")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        for number in (3, 4, 2):
            await anyio.lowlevel.checkpoint()
            order.append(f"{number} answered")
            in_flight.answered(response(number))

    assert order == ["3 answered", "4 answered", "2 answered", "idle"]


async def test_with_nothing_but_a_request_that_listens_all_is_answered() -> None:
    in_flight = InFlight()
    in_flight.admit(request(1, LISTEN))
    with anyio.fail_after(5):
        await in_flight.until_idle()
