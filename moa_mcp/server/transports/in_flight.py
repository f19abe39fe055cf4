"""Tracks the unanswered requests of one client, and rejects a request whose id is already in use.

The SDK lets a second request with the same id replace the first, which can then no longer be cancelled.
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
    """An error for a message that was not passed to the SDK. It frees no id, because none was taken."""


LISTEN = "subscriptions/listen"
"""A long-lived request: it delivers notifications, and is answered only at its end."""


class InFlight:
    """The ids of unanswered requests."""

    def __init__(self) -> None:
        self._ids: set[RequestId] = set()
        self._listen_ids: set[RequestId] = set()
        self._idle = anyio.Event()
        self._idle.set()

    def admit(self, item: SessionMessage) -> SessionMessage | None:
        """Record an incoming message and return the message to pass on. None for a request whose id is in use."""
        request = item.message
        if not isinstance(request, JSONRPCRequest):
            return item
        key = coerce_request_id(request.id)
        if key in self._ids:
            return None
        self._ids.add(key)
        if request.method == LISTEN:
            self._listen_ids.add(key)
        elif self._idle.is_set():
            self._idle = anyio.Event()
        return SessionMessage(request, self._free_id_if_unanswered(key, item.metadata))

    def answered(self, item: SessionMessage) -> None:
        """Record an outgoing message; an answer frees its id."""
        if isinstance(item, UnsolicitedError):
            return
        if isinstance(item.message, JSONRPCResponse | JSONRPCError) and item.message.id is not None:
            self._free(coerce_request_id(item.message.id))

    async def until_idle(self) -> None:
        """Wait until all requests are answered, except `LISTEN`, which lasts as long as the client is connected."""
        while self._ids > self._listen_ids:
            await self._idle.wait()

    def _free(self, key: RequestId) -> None:
        self._ids.discard(key)
        self._listen_ids.discard(key)
        if self._ids == self._listen_ids:
            self._idle.set()

    def _free_id_if_unanswered(self, key: RequestId, metadata: Any) -> ServerMessageMetadata:
        """Metadata that frees the id when the SDK ends a request without an answer, as it does after a cancel."""
        original = metadata if isinstance(metadata, ServerMessageMetadata) else ServerMessageMetadata()

        async def on_unanswered() -> None:
            self._free(key)
            if original.on_request_unanswered is not None:
                await original.on_request_unanswered()

        return replace(original, on_request_unanswered=on_unanswered)


def in_use(request_id: RequestId | None) -> JSONRPCError:
    """The error for a request whose id is already in use."""
    return error_response(
        request_id, INVALID_REQUEST, "Another request with this id is not answered yet; choose a new id"
    )


class _Stream:
    """A stream of the SDK with another one inside it. Closing it closes the inner one."""

    def __init__(self, messages: Any, in_flight: InFlight) -> None:
        self._messages = messages
        self._in_flight = in_flight

    async def aclose(self) -> None:
        await self._messages.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


class Incoming(_Stream):
    """Filters a client's messages: a request whose id is in use gets an error at once and is not passed on."""

    def __init__(self, messages: Any, outgoing: Outgoing, in_flight: InFlight) -> None:
        super().__init__(messages, in_flight)
        self._outgoing = outgoing

    @property
    def last_context(self) -> Any:
        """The context variables of the newest message."""
        return self._messages.last_context

    async def receive(self) -> SessionMessage | Exception:
        """The next message, or the transport's exception for an invalid one."""
        while True:
            item: SessionMessage | Exception = await self._messages.receive()
            if isinstance(item, Exception):
                return item
            if (admitted := self._in_flight.admit(item)) is not None:
                return admitted
            await self._outgoing.send(UnsolicitedError(in_use(getattr(item.message, "id", None))))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class Outgoing(_Stream):
    """Sends messages to a client, with lone surrogates replaced so that all texts can be encoded as UTF-8."""

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message."""
        self._in_flight.answered(item)
        message = item.message
        if not encodes(message):
            value = fix_json_surrogates(message.model_dump(by_alias=True, exclude_unset=True))
            item = replace(item, message=type(message).model_validate(value, by_name=False))
        await self._messages.send(item)


def encodes(message: Any) -> bool:
    """Whether a message can be encoded without changes."""
    try:
        message.model_dump_json(by_alias=True, exclude_unset=True).encode()
    except ValueError:
        return False
    return True
