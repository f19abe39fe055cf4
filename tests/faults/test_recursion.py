"""A panel does not ask itself."""

from __future__ import annotations

import pytest

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.errors import InvalidRequest
from moa_mcp.providers.loop_guard import DEPTH_HEADER, is_own, loop_problem
from moa_mcp.providers.registry import Registry
from tests.faults.fixtures import open_lab


async def test_every_call_says_that_it_comes_from_a_panel_and_a_server_of_ours_refuses_it() -> None:
    async with open_lab() as lab:
        await lab.ask()

    assert {request.headers[DEPTH_HEADER] for request in lab.upstream.requests} == {"1"}
    assert "ask itself without end" in (loop_problem(lab.upstream.requests[0].headers) or "")


@pytest.mark.parametrize("headers", [{}, {DEPTH_HEADER: "0"}, {DEPTH_HEADER: ""}])
def test_a_request_of_anybody_else_is_served(headers: dict[str, str]) -> None:
    assert loop_problem(headers) is None


@pytest.mark.parametrize("depth", ["1", "2", "many", "-1"])
def test_any_other_depth_is_refused(depth: str) -> None:
    assert loop_problem({DEPTH_HEADER: depth}) is not None


@pytest.mark.parametrize(
    ("base_url", "own"),
    [
        ("http://127.0.0.1:8000/v1", ("127.0.0.1", 8000)),
        ("http://localhost:8000/v1", ("127.0.0.1", 8000)),
        ("http://[::1]:8000/v1", ("localhost", 8000)),
        ("http://127.0.0.1:8000/v1", ("0.0.0.0", 8000)),
        ("http://127.0.0.9/v1", ("::", 80)),
        ("https://moa.example/v1", ("moa.example", 443)),
    ],
)
def test_an_address_that_leads_to_our_own_listener_is_known(base_url: str, own: tuple[str, int]) -> None:
    assert is_own(base_url, [own])


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8001/v1", "https://api.example/v1", ""])
def test_another_address_is_not_ours(base_url: str) -> None:
    assert not is_own(base_url, [("127.0.0.1", 8000)])


def test_a_panel_whose_provider_is_this_server_is_refused_before_any_call() -> None:
    registry = Registry({"lab": Endpoint("lab", "http://localhost:8000/v1", local=True)}, {})
    registry.listening = [("127.0.0.1", 8000)]

    with pytest.raises(InvalidRequest, match="this very server"):
        registry.check_usable(["lab/owl"])
