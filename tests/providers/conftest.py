"""Calls to make, and a registry of one endpoint to make them with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.model import PROPOSER, Call, ChatCall, Message
from moa_mcp.providers.registry import Registry


@pytest.fixture
def make_call() -> Callable[..., Call]:
    """A call of a proposer, with what a test sets of it."""
    question = Message("user", "Why is the sky blue?")

    def make(of: type[Call] = ChatCall, **given: Any) -> Call:
        return replace(of("c1", PROPOSER, 1, 1, "lab/owl", (question,), timeout_seconds=10), **given)

    return make


@pytest.fixture
def open_lab() -> Callable[..., AbstractAsyncContextManager[Registry]]:
    """A registry whose only endpoint, `lab`, is at a base_url and has the key `sk-lab-secret`."""

    @asynccontextmanager
    async def lab(base_url: str, dialect: str = "openai", **given: Any) -> AsyncGenerator[Registry]:
        key = given.pop("key", "sk-lab-secret")
        endpoint = Endpoint("lab", base_url, dialect, api_key_env="LAB_KEY", **given)
        registry = Registry({"lab": endpoint}, {"LAB_KEY": key})
        try:
            yield registry
        finally:
            await registry.aclose()

    return lab
