"""The upstream in a thread of its own, for tests that are not asynchronous themselves."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.upstream.ledger import Ledger
from tests.upstream.request import Request
from tests.upstream.scripts import Script, echo
from tests.upstream.upstream import Models, Upstream


class ThreadedUpstream:
    """An upstream seen from another thread: what it has seen may be read at any time."""

    def __init__(self, upstream: Upstream, portal: BlockingPortal) -> None:
        self.ledger = upstream.ledger
        self.base_url = upstream.base_url
        self.anthropic_url = upstream.anthropic_url
        self._portal = portal

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in order of arrival; a copy."""
        return list(self.ledger.requests)

    def until(self, satisfied: Callable[[Ledger], bool], within: float = 10) -> None:
        """Block until the ledger satisfies.

        Raises:
            TimeoutError: it did not, `within` that many seconds.
        """
        self._portal.call(self._until, satisfied, within)

    async def _until(self, satisfied: Callable[[Ledger], bool], within: float) -> None:
        with anyio.fail_after(within):
            await self.ledger.until(satisfied)


@contextmanager
def upstream_thread(script: Script = echo, *, models: Models = ("test-model",)) -> Generator[ThreadedUpstream]:
    """Serve from a thread while the block runs; `script` is called in that thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Upstream(script, models=models)) as upstream,
    ):
        yield ThreadedUpstream(upstream, portal)
