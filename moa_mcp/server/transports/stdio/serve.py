"""The server on this process's stdin and stdout, for one client: stdout carries JSON-RPC and nothing else.

Lines are read, judged and written here instead of by the SDK, which leaves unreadable lines without an answer.
Once stdin has ended, nothing more is asked of any model; what needs no further request to one is still answered.
"""

from __future__ import annotations

import logging
from contextlib import suppress

import anyio
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from moa_mcp.server.build import build_server
from moa_mcp.server.transports.in_flight import InFlight, Unasked, in_use
from moa_mcp.server.transports.lifecycle import Finish, Life
from moa_mcp.server.transports.messages import Refusal, encoded, understood
from moa_mcp.server.transports.stdio.pipes import Writer, claimed, lines_of
from moa_mcp.service.service import Service

logger = logging.getLogger(__name__)

LAST_ANSWERS = 1.0
"""Seconds at most that answers which need no model are waited for once stdin has ended."""

UNREAD = 1.0
"""Seconds after which an error that the client does not read is dropped, so that its next line can be read."""


async def serve_stdio(service: Service, life: Life, *, task_status: TaskStatus[Finish]) -> None:
    """Serve until cancelled. Life ends when stdin does, or when nobody reads stdout any more."""
    server, in_flight = build_server(service), InFlight()
    arriving, incoming = anyio.create_memory_object_stream[SessionMessage | Exception]()
    outgoing, leaving = anyio.create_memory_object_stream[SessionMessage]()
    with claimed() as (stdin, stdout):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_write_lines, Writer(stdout), leaving, in_flight, life)
            tasks.start_soon(_read_to_the_end, stdin, arriving, outgoing.clone(), in_flight, service, life)
            task_status.started(in_flight.until_idle)
            await server.run(incoming, outgoing, server.create_initialization_options())


async def _read_to_the_end(
    stdin: int,
    arriving: MemoryObjectSendStream[SessionMessage | Exception],
    outgoing: MemoryObjectSendStream[SessionMessage],
    in_flight: InFlight,
    service: Service,
    life: Life,
) -> None:
    async with outgoing, lines_of(stdin) as lines:
        async for line in lines:
            match understood(line):
                case None:
                    continue
                case Refusal(error):
                    await _refuse(outgoing, Unasked(error))
                case message:
                    if admitted := in_flight.admit(SessionMessage(message)):
                        await arriving.send(admitted)
                    else:
                        await _refuse(outgoing, Unasked(in_use(getattr(message, "id", None))))
        service.desk.gate.close()
        with anyio.move_on_after(LAST_ANSWERS):
            await in_flight.until_idle()
        life.end()
        await anyio.sleep_forever()  # the stream stays open: a server that finds its end drops what it works on


async def _refuse(outgoing: MemoryObjectSendStream[SessionMessage], error: Unasked) -> None:
    with anyio.move_on_after(UNREAD):
        await outgoing.send(error)


async def _write_lines(
    writer: Writer, leaving: MemoryObjectReceiveStream[SessionMessage], in_flight: InFlight, life: Life
) -> None:
    with suppress(anyio.BrokenResourceError):
        async for item in leaving:
            await writer.write(encoded(item.message))
            in_flight.answered(item)
    life.end()
