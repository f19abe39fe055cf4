"""Notifies clients of changed resources, in both protocol eras. A client gets only events of its owner's runs.

Runs of other servers on the same store cause no notifications here. Clients see them when they read the resource.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.server import Server
from mcp.server.connection import Connection
from mcp.server.subscriptions import ListenHandler, ResourcesListChanged, ResourceUpdated, ServerEvent
from mcp.types import (
    EmptyResult,
    NotificationParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from moa_mcp.domain.errors import InvalidRequest
from moa_mcp.domain.model import PROPOSER, CallRecord
from moa_mcp.runs.background import background_tasks
from moa_mcp.runs.events import BranchEnded, CallEnded, Event, RunEnded, RunHandedOver, RunStarted
from moa_mcp.server.context import Context, owner_of
from moa_mcp.server.sdk_compat.sessions import connection_of

MAX_QUEUED_EVENTS = 256
"""The maximum of queued notifications per client. A client that does not read them is unsubscribed."""

MAX_STREAMS = 1024
"""The maximum of open notification streams per owner (protocol 2026-07-28)."""

MAX_URIS = 256
"""The maximum of subscriptions per client."""


class OwnerSubscriptions:
    """The listeners of one owner. It is also the event bus of the SDK's `ListenHandler`."""

    def __init__(self) -> None:
        self.listen = ListenHandler(self, max_subscriptions=MAX_STREAMS)
        self.subscribers: dict[int, Subscriber] = {}
        self.latest: str | None = None
        self._listeners: dict[object, Callable[[ServerEvent], None]] = {}

    async def publish(self, event: ServerEvent) -> None:
        """Send `event` to all listeners."""
        self.notify(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Call `listener` for each event. The returned function ends the subscription."""
        key = object()
        self._listeners[key] = listener

        def leave() -> None:
            self._listeners.pop(key, None)

        return leave

    def notify(self, event: ServerEvent) -> None:
        """Send `event` to all listeners and subscribers, without waiting."""
        for listener in (*self._listeners.values(), *(one.on_event for one in self.subscribers.values())):
            listener(event)


class Subscriber:
    """A connected client of the older era. It gets events of changed lists and of its subscribed resources."""

    def __init__(self, connection: Connection, tasks: TaskGroup) -> None:
        self.uris: set[str] = set()
        self._outbox, inbox = anyio.create_memory_object_stream[ServerEvent](MAX_QUEUED_EVENTS)
        tasks.start_soon(_forward, inbox, connection, name="notices to a client")

    def on_event(self, event: ServerEvent) -> None:
        """Queue `event` if it is for this client. If the queue is full, close it: events must not delay a run."""
        if not isinstance(event, ResourceUpdated) or event.uri in self.uris:
            try:
                self._outbox.send_nowait(event)
            except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self.close()

    def close(self) -> None:
        """Accept no more events; queued ones are still sent."""
        self._outbox.close()


class Updates:
    """Receives events of runs and presets, and notifies the subscribed clients."""

    def __init__(self) -> None:
        self._subscriptions: defaultdict[str, OwnerSubscriptions] = defaultdict(OwnerSubscriptions)

    @asynccontextmanager
    async def lifespan(self, server: Server[Any]) -> AsyncGenerator[TaskGroup]:
        """Yield the task group that sends notifications to clients of the older era, while the server runs."""
        async with background_tasks() as tasks:
            yield tasks

    def on_event(self, event: Event) -> None:
        """Notify the run's owner of the resources that an event changes."""
        match event:
            case RunStarted():
                self._subscriptions[event.owner].latest = event.run_id
                self._run_changed(event)
            case RunEnded():
                self._run_changed(event, ended=True)
            case CallEnded(record) | BranchEnded(record):
                self._run_changed(event, record)
            case RunHandedOver():
                self._latest_changed(event)
            case _:
                pass

    def _run_changed(self, event: Event, record: CallRecord | None = None, *, ended: bool = False) -> None:
        subscriptions = self._subscriptions[event.owner]
        latest = event.run_id == subscriptions.latest
        for uri in _changed_uris(event.run_id, record, latest=latest, ended=ended):
            subscriptions.notify(ResourceUpdated(uri))

    def _latest_changed(self, event: Event) -> None:
        """Notify the owner that the latest run is another one, if it has changed."""
        subscriptions = self._subscriptions[event.owner]
        if subscriptions.latest != event.run_id:
            subscriptions.latest = event.run_id
            subscriptions.notify(ResourceUpdated("moa://runs/latest"))
            subscriptions.notify(ResourceUpdated("moa://runs/latest/drafts"))

    def presets_changed(self) -> None:
        """Notify all clients, because all owners share the presets."""
        self.notify_all(ResourcesListChanged())
        self.notify_all(ResourceUpdated("moa://presets"))

    def notify_all(self, event: ServerEvent) -> None:
        """Send `event` to the clients of all owners."""
        for subscriptions in self._subscriptions.values():
            subscriptions.notify(event)

    async def listen(self, context: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve one notification stream of a client of 2026-07-28."""
        return await self._subscriptions[owner_of(context)].listen(context, params)

    async def connected(self, context: Context, params: NotificationParams) -> None:
        """Start to notify a client of the older era of changed lists."""
        self._subscriber(context)

    async def subscribe(self, context: Context, params: SubscribeRequestParams) -> EmptyResult:
        """Subscribe a client of the older era to a resource. Raises InvalidRequest at `MAX_URIS` subscriptions."""
        uris = self._subscriber(context).uris
        if len(uris) >= MAX_URIS:
            raise InvalidRequest(f"{MAX_URIS} subscriptions are the most. Unsubscribe from some, then subscribe.")
        uris.add(params.uri)
        return EmptyResult()

    async def unsubscribe(self, context: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        """Unsubscribe a client of the older era from a resource."""
        self._subscriber(context).uris.discard(params.uri)
        return EmptyResult()

    def _subscriber(self, context: Context) -> Subscriber:
        subscribers, connection = self._subscriptions[owner_of(context)].subscribers, connection_of(context.session)
        if known := subscribers.get(id(connection)):
            return known
        subscriber = subscribers[id(connection)] = Subscriber(connection, context.lifespan_context)

        def leave() -> None:
            del subscribers[id(connection)]
            subscriber.close()

        connection.exit_stack.callback(leave)
        return subscriber


async def _forward(inbox: MemoryObjectReceiveStream[ServerEvent], connection: Connection) -> None:
    async with inbox:
        async for event in inbox:
            if isinstance(event, ResourceUpdated):
                await connection.send_resource_updated(event.uri)
            else:
                await connection.send_resource_list_changed()


def _changed_uris(run_id: str, record: CallRecord | None, *, latest: bool, ended: bool) -> Iterator[str]:
    """The URIs of the resources that an event changes."""
    pages = [f"moa://runs/{run_id}", *(["moa://runs/latest"] if latest else [])]
    yield "moa://runs"
    yield from pages
    if record is None or _is_draft(record):
        yield from (f"{page}/drafts" for page in pages)
    if record is not None and _is_draft(record):
        yield f"{pages[0]}/layers/{record.call.layer}/drafts/{record.call.slot}"
    if ended:
        yield f"{pages[0]}/answer"


def _is_draft(record: CallRecord) -> bool:
    return record.call.role == PROPOSER and record.call.parent is None
