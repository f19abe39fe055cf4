"""Logging of a command: to stderr and nowhere else, since the stdout of a server is the protocol."""

from __future__ import annotations

import logging
from typing import Any

import click

LEVELS = ("debug", "info", "warning", "error")


class ToStderr(logging.Handler):
    """Writes to what stderr is at the moment of writing: a live view stands in front of it for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def configure(level: str) -> None:
    """Log what is at least of `level`."""
    handler = ToStderr()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _configure(ctx: click.Context, parameter: click.Parameter, level: str) -> None:
    configure(level)


def log_level(command: Any) -> Any:
    """Give a command the option `--log-level`, which takes effect before the command begins."""
    return click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        default="warning",
        envvar="MOA_MCP_LOG_LEVEL",
        show_default=True,
        show_envvar=True,
        expose_value=False,
        is_eager=True,
        callback=_configure,
        help="How much is logged, to stderr.",
    )(command)
