"""The requests of one client that are not answered yet: an id counts for one of them at a time.

The SDK lets a second request of the same id replace the first, which then cannot be cancelled any more.
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import INVALID_REQUEST, JSONRPCError, JSONRPCRequest, JSONRPCResponse, RequestId

from moa_mcp.server.transports.messages import error_response
from moa_mcp.server.wire import fix_json_surrogates


class UnsolicitedError(SessionMessage):
    """An error that answers what was never passed on: it frees no id."""


LISTEN = "subscriptions/listen"
"""The request that is answered only at its end; until then it brings notices."""


class InFlight:
    """What was asked and not answered."""

    def __init__(self) -> None:
        self._ids: set[RequestId] = set()
        self._lasting: set[RequestId] = set()
        self._idle = anyio.Event()
        self._idle.set()

    def admit(self, item: SessionMessage) -> SessionMessage | None:
        """Note a message that comes in. None for a request whose id is in use; else what is to be passed on."""
        request = item.message
        if not isinstance(request, JSONRPCRequest):
            return item
        key = coerce_request_id(request.id)
        if key in self._ids:
            return None
        self._ids.add(key)
        if request.method == LISTEN:
            self._lasting.add(key)
        elif self._idle.is_set():
            self._idle = anyio.Event()
        return SessionMessage(request, self._ending_without_an_answer(key, item.metadata))

    def answered(self, item: SessionMessage) -> None:
        """Note a message that has gone out."""
        if isinstance(item, UnsolicitedError):
            return
        if isinstance(item.message, JSONRPCResponse | JSONRPCError) and item.message.id is not None:
            self._forget(coerce_request_id(item.message.id))

    async def until_idle(self) -> None:
        """Wait until all is answered but requests to listen, which last as long as their client."""
        while self._ids > self._lasting:
            await self._idle.wait()

    def _forget(self, key: RequestId) -> None:
        self._ids.discard(key)
        self._lasting.discard(key)
        if self._ids == self._lasting:
            self._idle.set()

    def _ending_without_an_answer(self, key: RequestId, metadata: Any) -> ServerMessageMetadata:
        """A request that is cancelled gets no answer: its id is free again once the SDK says that it is done."""
        given = metadata if isinstance(metadata, ServerMessageMetadata) else ServerMessageMetadata()

        async def unanswered() -> None:
            self._forget(key)
            if given.on_request_unanswered is not None:
                await given.on_request_unanswered()

        return replace(given, on_request_unanswered=unanswered)


def in_use(request_id: RequestId | None) -> JSONRPCError:
    """What a request is told whose id is that of another one."""
    return error_response(
        request_id, INVALID_REQUEST, "Another request with this id is not answered yet; choose a new id"
    )


class Incoming:
    """A client's messages without the requests whose id is in use: these are answered at once."""

    def __init__(self, messages: Any, outgoing: Outgoing, in_flight: InFlight) -> None:
        self._messages = messages
        self._outgoing = outgoing
        self._in_flight = in_flight

    @property
    def last_context(self) -> Any:
        """The context variables that the newest message was sent with."""
        return self._messages.last_context

    async def receive(self) -> SessionMessage | Exception:
        """The next message, or what the transport made of one that is none."""
        while True:
            item: SessionMessage | Exception = await self._messages.receive()
            if isinstance(item, Exception):
                return item
            if (admitted := self._in_flight.admit(item)) is not None:
                return admitted
            await self._outgoing.send(UnsolicitedError(in_use(getattr(item.message, "id", None))))

    async def aclose(self) -> None:
        await self._messages.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


class Outgoing:
    """Messages to a client, every text of which can be written as UTF-8."""

    def __init__(self, messages: Any, in_flight: InFlight) -> None:
        self._messages = messages
        self._in_flight = in_flight

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message."""
        self._in_flight.answered(item)
        message = item.message
        if not encodes(message):
            value = fix_json_surrogates(message.model_dump(by_alias=True, exclude_unset=True))
            item = replace(item, message=type(message).model_validate(value, by_name=False))
        await self._messages.send(item)

    async def aclose(self) -> None:
        await self._messages.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


def encodes(message: Any) -> bool:
    """Whether a message can be written as it is."""
    try:
        message.model_dump_json(by_alias=True, exclude_unset=True).encode()
    except ValueError:
        return False
    return True
