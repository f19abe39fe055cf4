"""The group of commands. Only this module turns errors into lines on stderr and exit codes."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, wraps
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import anyio
import click

from moa_mcp.cli import commands
from moa_mcp.domain.errors import MoAError, UserError, sort_by_closeness
from moa_mcp.domain.text import one_line, strip_invisible

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

DONE, FAILED, MISUSED, LACKING, INTERRUPTED = 0, 1, 2, 3, 130
"""The exit codes; a command that returns None exits with DONE."""

_COMMANDS = tuple(module.name for module in iter_modules(commands.__path__))
"""The names of the files in `commands/`; each file defines the command of the same name."""
_OWN_OPTIONS = ("--help", "-h", "--version")
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors that mean that a file cannot be written. The store handles its own write errors."""


class Commands(click.Group):
    """Imports a command only when it is named, so that `serve` does not import what `ask` needs.

    Options without a command are options of `serve`.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"moa_mcp.cli.commands.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS:
            known = ", ".join(sort_by_closeness(args[0], _COMMANDS))
            question = " To ask a question: `moa-mcp ask QUESTION`." if " " in args[0] else ""
            ctx.fail(f"There is no command {one_line(args[0], 60)!r}. Known, nearest first: {known}.{question}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # When a shell completes the first word, do not add `serve`: the user may want another command.
        completes_a_command = ctx.resilient_parsing and not args
        if not completes_a_command and (not args or (args[0].startswith("-") and args[0] not in _OWN_OPTIONS)):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands, options of the group, and options of `serve`, which need no command before them."""
        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-") and (serve := self.get_command(ctx, "serve")):
            own = {item.value for item in found}
            options = serve.shell_complete(click.Context(serve, parent=ctx), incomplete)
            found.extend(item for item in options if item.value not in own)
        return found


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="moa-mcp", message="%(prog)s %(version)s")
def moa_mcp() -> None:
    """Ask a Mixture-of-Agents: layers of models draft in parallel, an aggregator writes one answer.

    Without a command it serves MCP over stdio, as `moa-mcp serve` does.
    """


def async_command(function: Callable[Arguments, Awaitable[Result]]) -> Callable[Arguments, Result]:
    """Let click call an async function: it runs in an event loop of its own."""

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return anyio.run(partial(function, *args, **kwargs))

    return call


def run(arguments: Sequence[str], command: click.Command = moa_mcp) -> int:
    """Run a command line and return its exit code. Errors are printed on stderr, without a traceback."""
    try:
        return command.main(list(arguments), prog_name="moa-mcp", standalone_mode=False) or DONE
    except (click.Abort, KeyboardInterrupt):
        return _print_error("Interrupted: the run and its calls were stopped.", INTERRUPTED)
    except Exception as error:
        return _report(_innermost(error))


def _report(error: BaseException) -> int:
    match error:
        case click.UsageError(ctx=click.Context() as ctx):
            text = error.format_message()
            end = "" if text.endswith((".", "?")) else "."
            return _print_error(f"{text}{end} See `{ctx.command_path} --help`.", MISUSED)
        case click.ClickException():
            return _print_error(error.format_message(), MISUSED)
        case UserError():
            return _print_error(str(error), MISUSED)
        case MoAError():
            return _print_error(str(error), FAILED)
        case BrokenPipeError():
            _discard_stdout()  # the reader has closed it (`| head`)
            return FAILED
        case OSError(errno=code, filename=None) if code in _DISK_FULL:
            _discard_stdout()
            advice = "Make room or write it elsewhere; `moa-mcp runs` has what was answered"
            return _print_error(f"The output could not be written: {error.strerror}. {advice}.", FAILED)
        case _:
            logger.debug("The command broke", exc_info=error)
            kind = type(error).__name__
            more = "please report it, with what MOA_MCP_LOG_LEVEL=debug shows when it happens again"
            return _print_error(f"An unexpected fault in moa-mcp ({kind}); {more}.", FAILED)


def _print_error(message: str, code: int) -> int:
    click.echo(strip_invisible(f"moa-mcp: {message}"), err=True)
    return code


def _innermost(error: BaseException) -> BaseException:
    """The original error, without the exception groups that anyio task groups put around it."""
    inside: Sequence[BaseException] = getattr(error, "exceptions", ())
    return _innermost(inside[0]) if len(inside) == 1 else error


def _discard_stdout() -> None:
    """Redirect stdout to the null device: Python flushes stdout when it exits, and that would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
