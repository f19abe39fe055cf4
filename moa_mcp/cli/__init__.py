"""The command line. Each command has its own file in `commands/`; `view/` has what the commands print."""

import os
import sys
from io import TextIOWrapper
from typing import NoReturn, cast

from moa_mcp.cli.group import run


def main() -> NoReturn:
    """Run the command line with the arguments of this process. This is the console entry point."""
    _fill_in_closed_streams()
    # A character that the terminal cannot encode is printed as "?", and raises no error.
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def _fill_in_closed_streams() -> None:
    """Open the null device for each standard stream that the parent process closed (`>&-`).

    Otherwise the next file that is opened, such as the store, gets the descriptor of that stream, and output for the
    stream is written into that file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
