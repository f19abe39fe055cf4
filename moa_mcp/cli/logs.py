"""Logging of a command. It goes only to stderr, because a server uses stdout for the protocol."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from moa_mcp.cli.config import home
from moa_mcp.config.settings import load_settings_or_defaults
from moa_mcp.providers.wire.keys import secrets_of, secrets_pattern

LEVELS = ("debug", "info", "warning", "error")


_KEYS = ("_KEY", "_TOKEN", "_SECRET")
"""The names of variables with secrets end with one of these, also for other programs."""


_SESSION = re.compile(r"\b([0-9a-f]{8})(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b")
"""A session id as the SDK logs it. A client that has the id and the owner's token can send requests in the session."""


class SecretMasking(logging.Formatter):
    """Removes the keys and other secrets from log lines and tracebacks, and shortens session ids."""

    def __init__(self, layout: str, environ: Mapping[str, str]) -> None:
        super().__init__(layout)
        self._environ = environ
        self._secrets: re.Pattern[str] | None = None

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if self._secrets is None:
            # Done at the first log line, so that a command that logs nothing need not read its settings for it.
            self._secrets = secrets_pattern(_secrets(self._environ)) or _NEVER
        line = self._secrets.sub("[key]", line)
        return _SESSION.sub(r"\1…", line) if record.name.startswith("mcp.") else line


_NEVER = re.compile(r"(?!)")


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """The secrets of all declared providers, and the values of variables that are named as those of secrets are."""
    for endpoint in load_settings_or_defaults(home())[0].endpoints.values():
        yield from secrets_of(endpoint, environ)
    for name, value in environ.items():
        if name.endswith(_KEYS) and len(key := value.strip()) >= _MIN_SECRET_CHARS:
            yield key


_MIN_SECRET_CHARS = 6
"""A shorter value of another program's variable is not a secret, and masking it would remove ordinary words."""


class ToStderr(logging.Handler):
    """Looks up stderr for each line, because a live view replaces `sys.stderr` while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def configure(level: str) -> None:
    """Log messages of `level` and above."""
    handler = ToStderr()
    handler.setFormatter(SecretMasking("%(levelname)s %(name)s: %(message)s", os.environ))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _configure(ctx: click.Context, parameter: click.Parameter, level: str) -> None:
    configure(level)


def log_level(command: Any) -> Any:
    """Add the option `--log-level` to a command. It takes effect before the command begins."""
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
