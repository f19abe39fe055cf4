"""What holds for every test: one event loop, no network beyond this machine, nobody's keys or settings."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code, so there is no deadline. In CI, where
# Hypothesis tries the same examples each time, there are more of them.
settings.register_profile("moa-mcp", parent=settings(), deadline=None, max_examples=100 if "CI" in os.environ else 25)
settings.load_profile("moa-mcp")

# Temporary files go into memory where there is room: most of them are databases, which wait for the disk at each write.
MEMORY_DISK, MIN_FREE_BYTES = Path("/dev/shm"), 4 * 2**30
if os.access(MEMORY_DISK, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY_DISK).free > MIN_FREE_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The one event loop that moa-mcp is run on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has an empty home of its own, and neither keys, settings nor proxies from outside."""
    for name in os.environ:
        if name.endswith("_API_KEY") or name.startswith("MOA_MCP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MOA_MCP_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session", autouse=True)
def no_way_out() -> Iterator[None]:
    """Any attempt to reach another machine fails the test that made it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _only_to_this_machine(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _only_this_machine(socket.getaddrinfo))
        yield


def _only_to_this_machine(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        # An address of another family, a path for example, is on this machine.
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_loopback(address[0]):
            _refuse(f"connected to {address[0]}")
        return connect(self, address)

    return guarded


def _only_this_machine(getaddrinfo: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *others: Any, **named: Any) -> Any:
        # Without a host, or with a number, nothing is looked up.
        if host and not _is_loopback(name := _text(host)) and not _is_number(name):
            if name.endswith(".invalid"):  # RFC 6761: no such name exists, and nobody is to be asked for it
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            _refuse(f"looked up {name}")
        return getaddrinfo(host, *others, **named)

    return guarded


def _refuse(what: str) -> None:
    # A failure of pytest is no Exception: code that survives a broken network does not survive this.
    pytest.fail(f"The test {what}; tests may reach nothing but 127.0.0.1.")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _text(host: str | bytes) -> str:
    return host.decode() if isinstance(host, bytes) else host
