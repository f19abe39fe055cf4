"""A call ends at its limit."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from moa_mcp.errors import ProviderError, Reason
from moa_mcp.model import Call, Draft
from moa_mcp.providers.base import OnText, ignore_text
from moa_mcp.providers.timed import DEFAULT_SECONDS, Timed


class Slow:
    """Says `text` and then never ends; `left` is the time that it was given, in seconds."""

    def __init__(self, text: str = "") -> None:
        self._text = text
        self.left = 0.0

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        self.left = anyio.current_effective_deadline() - anyio.current_time()
        if self._text:
            on_text(self._text)
        await anyio.sleep_forever()
        raise AssertionError("unreachable")


class Quick:
    async def complete(self, call: Call, on_text: OnText) -> Draft:
        on_text("blue")
        return Draft("blue")


@pytest.mark.parametrize("text", ["", "blu"])
async def test_a_call_that_takes_too_long_is_a_timeout_that_knows_whether_text_came(
    make_call: Callable[..., Call], text: str
) -> None:
    pieces: list[str] = []
    with pytest.raises(ProviderError) as caught:
        await Timed(Slow(text)).complete(make_call(timeout_seconds=0.01), pieces.append)

    assert (caught.value.reason, caught.value.sent_text) == (Reason.TIMEOUT, bool(text))
    assert "".join(pieces) == text


async def test_a_call_that_names_no_limit_has_the_default(make_call: Callable[..., Call]) -> None:
    slow = Slow()
    async with anyio.create_task_group() as calls:
        calls.start_soon(Timed(slow).complete, make_call(timeout_seconds=None), ignore_text)
        await anyio.wait_all_tasks_blocked()
        calls.cancel_scope.cancel()

    assert DEFAULT_SECONDS - 5 < slow.left <= DEFAULT_SECONDS


async def test_a_call_within_its_limit_is_left_alone(make_call: Callable[..., Call]) -> None:
    pieces: list[str] = []
    draft = await Timed(Quick()).complete(make_call(), pieces.append)

    assert (draft.text, pieces) == ("blue", ["blue"])
