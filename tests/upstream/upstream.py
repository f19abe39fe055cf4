"""A loopback server in the place of a model provider: it speaks both dialects and fails in every known way.

    async with Upstream(in_turn(Fault.status(503), Reply("42"))) as upstream:
        ...  # point a provider's base_url at upstream.base_url
        assert len(upstream.requests) == 2

It is written on bare sockets, since it must send exact bytes and break off between any two of them. It is
not a general HTTP server: bodies need a Content-Length, and a client that ends its sending side has left.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any, Self, TypeAlias

import anyio
from anyio.abc import SocketStream

from tests.upstream.conversation import converse, perform
from tests.upstream.faults import Fault
from tests.upstream.ledger import Connection, Ledger
from tests.upstream.listener import LOOPBACK, accept, listening
from tests.upstream.render import reply_steps
from tests.upstream.reply import Reply
from tests.upstream.request import Request
from tests.upstream.scripts import Script, echo
from tests.upstream.steps import Step, json_response

_NOTHING: Mapping[str, Any] = MappingProxyType({})

Models: TypeAlias = Sequence[str] | Mapping[str, Mapping[str, Any]] | Fault

_LEDGER = "/ledger"
_SCRIPTED = ("/chat/completions", "/messages", "/embeddings")


class Upstream(anyio.AsyncContextManagerMixin):
    """Serves while it is entered; leaving closes every connection.

    `script` answers `POST …/chat/completions`, `…/messages` and `…/embeddings`. `models` are listed at `GET …/models`,
    with further keys of each if they are a mapping, or in place of the list comes a fault; `pages` are the JSON values
    at other paths. `GET /ledger` tells another process what was seen. `port` 0 is any free one. An error raised by the
    script cancels the block and leaves it in an exception group.
    """

    def __init__(
        self,
        script: Script = echo,
        *,
        models: Models = ("test-model",),
        port: int = 0,
        pages: Mapping[str, Any] = _NOTHING,
    ) -> None:
        self.ledger = Ledger()
        self._script = script
        self._models = models
        self._pages = pages
        self._port = port

    @property
    def base_url(self) -> str:
        """Where the OpenAI dialect is spoken; known once entered."""
        return f"http://{LOOPBACK}:{self._port}/v1"

    @property
    def anthropic_url(self) -> str:
        """Where the Anthropic dialect is spoken; known once entered."""
        return self.base_url

    @property
    def requests(self) -> list[Request]:
        """Every request, in order of arrival."""
        return self.ledger.requests

    @property
    def connections(self) -> list[Connection]:
        """Every connection, in order of arrival."""
        return self.ledger.connections

    @property
    def open(self) -> int:
        """How many connections have a request in flight."""
        return self.ledger.open

    async def until(self, satisfied: Callable[[Ledger], bool]) -> None:
        """Wait until the ledger satisfies, as in `upstream.until(lambda seen: seen.open == 0)`."""
        await self.ledger.until(satisfied)

    async def until_closed(self) -> None:
        """Wait until every connection that was accepted is closed."""
        await self.ledger.until(lambda seen: seen.closed == seen.accepted)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        failure: Exception | None = None
        with listening(self._port) as listener:
            self._port = listener.getsockname()[1]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(accept, listener, self._serve, tasks)
                try:
                    yield self
                except Exception as error:
                    # Raised again outside, where the task group cannot wrap it in a group of its own.
                    failure = error
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _serve(self, stream: SocketStream) -> None:
        connection = self.ledger.connected()

        def read(head: bytes, body: bytes) -> Request:
            request = Request.parse(head, body, number=len(self.requests) + 1, received_at=anyio.current_time())
            if request.path == _LEDGER:
                self.ledger.forget(connection)
            else:
                self.ledger.arrived(request)
            return request

        async def respond(request: Request) -> bool:
            # A client that has left meanwhile is no error of ours.
            with suppress(anyio.BrokenResourceError):
                if request.path == _LEDGER:
                    return await perform(stream, [json_response(200, self._summary(request))])
                with self.ledger.answering(request):
                    kept = await perform(stream, await self._steps(request))
                return kept and request.headers.get("connection", "").lower() != "close"
            return False

        try:
            async with stream:
                await converse(stream, read, respond)
        finally:
            self.ledger.disconnected(connection)

    def _summary(self, request: Request) -> dict[str, object]:
        return self.ledger.summary(bodies="bodies=1" in request.query)

    async def _steps(self, request: Request) -> Iterable[Step]:
        if request.method == "POST" and request.path.endswith(_SCRIPTED):
            return await self._scripted(request)
        if request.method == "GET" and request.path.endswith("/models"):
            return self._models.act(request) if isinstance(self._models, Fault) else [_listed(self._models)]
        if request.method == "GET" and request.path in self._pages:
            return [json_response(200, self._pages[request.path])]
        return Fault.status(404, message=f"Unknown request: {request.method} {request.path}").act(request)

    async def _scripted(self, request: Request) -> Iterable[Step]:
        if not request.body:
            return Fault.status(400, message="The body is not a JSON object with a Content-Length.").act(request)
        answer = self._script(request)
        if not isinstance(answer, Reply | Fault):
            answer = await answer
        return reply_steps(request, answer) if isinstance(answer, Reply) else answer.act(request)


def _listed(models: Sequence[str] | Mapping[str, Mapping[str, Any]]) -> Step:
    usual = {"object": "model", "created": 1_700_000_000, "owned_by": "test"}
    more = models if isinstance(models, Mapping) else dict.fromkeys(models, _NOTHING)
    data = [{"id": name, **usual, **keys} for name, keys in more.items()]
    return json_response(200, {"object": "list", "data": data})
