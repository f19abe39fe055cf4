"""Processes of a test's own: one that may be killed at any moment, and crowds that do the same at the same moment."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

import anyio
import pytest

Result = TypeVar("Result")

PATIENCE_SECONDS = 60.0
"""After which a process that says nothing has hung."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["pytest", "moa_mcp.api", "moa_mcp.providers.wire.http", "moa_mcp.store.sqlite.store"]
)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What the work of a process came to, and what it logged meanwhile, from warnings upwards."""

    result: Result
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Child:
    """A process, and the end of the pipe at which it is heard."""

    process: BaseProcess
    pipe: Connection

    def receive(self) -> Any:
        """The next thing that it tells. A process that ends or hangs without a word fails the test."""
        if not self.pipe.poll(PATIENCE_SECONDS):
            pytest.fail(f"{self.process.name} has said nothing for {PATIENCE_SECONDS:g} s.")
        with suppress(EOFError):
            return self.pipe.recv()
        pytest.fail(f"{self.process.name} ended too early; its standard error says why.")

    def rest(self) -> list[Any]:
        """All that it has told and that was not heard yet, once it has ended."""
        message = list[Any]()
        with suppress(EOFError):
            while True:
                message.append(self.pipe.recv())
        return message


@contextmanager
def child(work: Callable[..., None], *given: Any) -> Generator[Child]:
    """Run `work(*given, pipe)` in a process of its own, which is dead when the block is left."""
    ours, theirs = _processes.Pipe(duplex=False)
    process = _processes.Process(target=work, args=(*given, theirs))
    process.start()
    theirs.close()
    try:
        yield Child(process, ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def together(work: Callable[..., Awaitable[Result]], count: int, *given: Any) -> list[Outcome[Result]]:
    """Run `await work(number, ready, *given)` in so many processes, numbered from 0.

    `ready()` returns in all of them at the same moment: once the last has called it.
    """
    gate, opened = _processes.Pipe(duplex=False)
    with ExitStack() as stack, gate:
        children = [stack.enter_context(child(_take_part, work, number, given, gate)) for number in range(count)]
        for one in children:
            one.receive()
        opened.close()
        return [one.receive() for one in children]


def _take_part(
    work: Callable[..., Awaitable[Any]], number: int, given: tuple[Any, ...], gate: Connection, pipe: Connection
) -> None:
    def ready() -> None:
        pipe.send("ready")
        with suppress(EOFError):
            gate.recv()

    log = _Log(logging.WARNING)
    logging.getLogger().addHandler(log)
    result = anyio.run(work, number, ready, *given)
    pipe.send(Outcome(result, tuple(log.lines)))


class _Log(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
