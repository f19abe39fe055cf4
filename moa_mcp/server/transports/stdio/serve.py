"""The server on stdin and stdout, for one client. Stdout carries only JSON-RPC.

Lines are parsed and written here and not by the SDK, because the SDK does not answer invalid lines.
After the end of stdin no new model calls start. Requests that need no further model call are still answered.
"""

from __future__ import annotations

import logging
from contextlib import suppress

import anyio
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from moa_mcp.server.build import build_server
from moa_mcp.server.transports.in_flight import InFlight, UnsolicitedError, in_use
from moa_mcp.server.transports.lifecycle import Finish, Lifetime
from moa_mcp.server.transports.messages import InvalidLine, encode_line, parse_line
from moa_mcp.server.transports.stdio.pipes import Writer, lines_of, take_over_stdio
from moa_mcp.service.service import Service

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 3.0
"""The maximum wait, in seconds, for the remaining answers after the end of stdin."""

UNREAD_SECONDS = 1.0
"""Seconds after which an unread error is dropped, so that the client's next line can be read."""


async def serve_stdio(service: Service, lifetime: Lifetime, *, task_status: TaskStatus[Finish]) -> None:
    """Serve until cancelled. The lifetime ends at the end of stdin, or when the client closes stdout."""
    server, in_flight = build_server(service), InFlight()
    arriving, incoming = anyio.create_memory_object_stream[SessionMessage | Exception]()
    outgoing, leaving = anyio.create_memory_object_stream[SessionMessage]()
    with take_over_stdio() as (stdin, stdout):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_write_lines, Writer(stdout), leaving, in_flight, lifetime)
            tasks.start_soon(_read_lines, stdin, arriving, outgoing.clone(), in_flight, service, lifetime)
            task_status.started(in_flight.until_idle)
            await server.run(incoming, outgoing, server.create_initialization_options())


async def _read_lines(
    stdin: int,
    arriving: MemoryObjectSendStream[SessionMessage | Exception],
    outgoing: MemoryObjectSendStream[SessionMessage],
    in_flight: InFlight,
    service: Service,
    lifetime: Lifetime,
) -> None:
    async with outgoing, lines_of(stdin) as lines:
        async for line in lines:
            match parse_line(line):
                case None:
                    continue
                case InvalidLine(error):
                    await _refuse(outgoing, UnsolicitedError(error))
                case message:
                    if admitted := in_flight.admit(SessionMessage(message)):
                        await arriving.send(admitted)
                    else:
                        await _refuse(outgoing, UnsolicitedError(in_use(getattr(message, "id", None))))
        service.scheduler.gate.close()  # the client is gone: start no more paid calls
        with anyio.move_on_after(DRAIN_SECONDS):
            await in_flight.until_idle()
        lifetime.end()
        await anyio.sleep_forever()  # keep `arriving` open: if it ends, the SDK drops all requests in work


async def _refuse(outgoing: MemoryObjectSendStream[SessionMessage], error: UnsolicitedError) -> None:
    with anyio.move_on_after(UNREAD_SECONDS):
        await outgoing.send(error)


async def _write_lines(
    writer: Writer, leaving: MemoryObjectReceiveStream[SessionMessage], in_flight: InFlight, lifetime: Lifetime
) -> None:
    with suppress(anyio.BrokenResourceError):
        async for item in leaving:
            await writer.write(encode_line(item.message))
            in_flight.answered(item)
    lifetime.end()
