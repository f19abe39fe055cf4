"""The command line: arguments in, text and exit codes out. A file per command (commands/), what they print in view/."""

import os
import sys
from io import TextIOWrapper
from typing import NoReturn, cast

from moa_mcp.cli.group import run


def main() -> NoReturn:
    """Run the command line of this process: the console entry."""
    _fill_in_closed_streams()
    # A character that a terminal cannot show becomes a mark in its place, not an error.
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def _fill_in_closed_streams() -> None:
    """Put the null device in the place of a stream that whoever started this process had closed (`>&-`).

    The store, or whatever is opened next, would otherwise get the number of the stream, and be written to as that.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
