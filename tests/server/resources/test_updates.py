"""Notices of what changed: a stream of them for clients of 2026-07-28, subscriptions for older ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.subscriptions import Subscription
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp.types import ResourceListChangedNotification, ResourceUpdatedNotification

from moa_mcp.service.configure.editor import ChangeRequest
from moa_mcp.service.service import AskRequest
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]

# The SDK's client warns of what only the older era has.
pytestmark = pytest.mark.filterwarnings("ignore:resources/.*subscribe is removed")

CHANGED_LIST = "the list"
LATEST = ["moa://runs", "moa://runs/latest", "moa://runs/latest/drafts"]


class Notices:
    """The notices that one client received, in order; `until` waits for one of them."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self._news = anyio.Event()

    def take(self, uri: str) -> None:
        self.uris.append(uri)
        self._news.set()

    async def until(self, uri: str) -> None:
        while uri not in self.uris:
            await self._news.wait()
            self._news = anyio.Event()


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def serve_with_notices(serve: Serve, notices: Notices) -> Serve:
    """`serve`, with a client of the older era that records its notices in `heard`."""

    async def handle(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            notices.take(message.params.uri)
        elif isinstance(message, ResourceListChangedNotification):
            notices.take(CHANGED_LIST)

    def serving(*given: Any) -> AbstractAsyncContextManager[Any]:
        return serve(*given, message_handler=handle)

    return serving


@asynccontextmanager
async def subscribed(client: Client, notices: Notices, mode: str, uris: list[str]) -> AsyncGenerator[None]:
    """Record notices of changes of `uris` in `heard`, in the way of the client's era."""
    if mode == "legacy":
        for uri in uris:
            await client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]: in this era it is the way
        yield
        return
    async with (
        client.listen(resource_subscriptions=uris, resources_list_changed=True) as subscription,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listen, subscription, notices)
        yield
        tasks.cancel_scope.cancel()


async def listen(subscription: Subscription, notices: Notices) -> None:
    """Pass on what a stream of notices says."""
    async for event in subscription:
        if isinstance(event, ResourceUpdated):
            notices.take(event.uri)
        elif isinstance(event, ResourcesListChanged):
            notices.take(CHANGED_LIST)


async def test_a_client_is_notified_of_the_start_of_a_run_each_draft_and_the_end(
    serve_with_notices: Serve, notices: Notices, mode: str
) -> None:
    gate = HoldingProvider(ScriptedProvider(lambda call: call.id), lambda call: call.id == "1.2")
    async with serve_with_notices(gate) as served, subscribed(served.client, notices, mode, LATEST):
        run_id = (await served.ask(question="Q?", wait_seconds=0)).facts["run_id"]
        for uri in LATEST:
            await notices.until(uri)
        own = [f"moa://runs/{run_id}{page}" for page in ("/layers/1/drafts/2", "/drafts", "/answer")]
        async with subscribed(served.client, notices, mode, own):
            gate.opened.set()
            for uri in own:
                await notices.until(uri)
            draft = (await served.client.read_resource(own[0])).contents[0]

    assert "1.2" in getattr(draft, "text", "")


async def test_a_draft_is_there_when_its_notice_comes(serve_with_notices: Serve, notices: Notices, mode: str) -> None:
    gate = HoldingProvider(ScriptedProvider(lambda call: f"said by {call.id}"), lambda call: call.role == "aggregator")
    async with serve_with_notices(gate) as served, subscribed(served.client, notices, mode, LATEST[2:]):
        await served.ask(question="Q?", wait_seconds=0)
        await gate.held.wait()
        await notices.until(LATEST[2])
        page = (await served.client.read_resource(LATEST[2])).contents[0]

    assert "said by 1.1" in getattr(page, "text", "")


async def test_a_client_is_not_notified_of_the_runs_of_another_owner(
    serve_with_notices: Serve, notices: Notices, mode: str
) -> None:
    async with (
        serve_with_notices(ScriptedProvider(lambda call: call.id)) as served,
        subscribed(served.client, notices, mode, [*LATEST, "moa://presets"]),
    ):
        await served.service.ask(AskRequest("Secret?"), owner="somebody else")
        service = served.service
        await service.apply(await service.propose(ChangeRequest(default_preset="locked")))
        await notices.until("moa://presets")

    assert not set(notices.uris) & set(LATEST)


async def test_a_client_is_notified_when_the_presets_change(
    serve_with_notices: Serve, notices: Notices, mode: str
) -> None:
    async with (
        serve_with_notices(ScriptedProvider(lambda call: call.id)) as served,
        subscribed(served.client, notices, mode, ["moa://presets"]),
    ):
        await served.call("moa_configure", save_preset="mine", base="two", fields={"layers": 3})
        await notices.until("moa://presets")
        await notices.until(CHANGED_LIST)

    assert set(notices.uris) == {"moa://presets", CHANGED_LIST}


async def test_the_handshake_and_the_discovery_promise_what_is_done(serve: Serve) -> None:
    async with serve(ScriptedProvider(lambda call: call.id)) as served:
        capabilities = served.client.server_capabilities

    assert capabilities.resources == capabilities.resources.model_copy(update={"subscribe": True, "list_changed": True})


@pytest.mark.parametrize("mode", ["legacy"], indirect=True, ids=["handshake"])
async def test_a_client_that_unsubscribed_gets_no_more_notices(serve_with_notices: Serve, notices: Notices) -> None:
    async with serve_with_notices(ScriptedProvider(lambda call: call.id)) as served:
        for uri in LATEST:
            await served.client.subscribe_resource(uri)
        await served.client.unsubscribe_resource(LATEST[0])
        await served.ask(question="Q?")
        await notices.until(LATEST[1])

    assert LATEST[0] not in notices.uris


async def test_an_older_run_is_not_the_latest_one(serve_with_notices: Serve, notices: Notices, mode: str) -> None:
    gate = HoldingProvider(
        ScriptedProvider(lambda call: call.id), lambda call: call.messages[-1].text.startswith("Old")
    )
    async with serve_with_notices(gate) as served:
        old = (await served.ask(question="Old?", wait_seconds=0)).facts["run_id"]
        await served.ask(question="New?")
        async with subscribed(served.client, notices, mode, [LATEST[1], f"moa://runs/{old}/answer"]):
            gate.opened.set()
            await notices.until(f"moa://runs/{old}/answer")

    assert set(notices.uris) == {f"moa://runs/{old}/answer"}


async def test_a_run_that_is_given_from_the_store_is_the_latest_one_again(
    serve_with_notices: Serve, notices: Notices, mode: str
) -> None:
    async with serve_with_notices(ScriptedProvider(lambda call: call.id)) as served:
        run_id = (await served.ask(question="Old?")).facts["run_id"]
        await served.ask(question="New?")
        async with subscribed(served.client, notices, mode, LATEST):
            await served.ask(question="Old?")
            await notices.until(LATEST[2])
            drafts = await served.client.read_resource(LATEST[2])

    assert set(notices.uris) == set(LATEST[1:])
    assert run_id in drafts.contents[0].text
