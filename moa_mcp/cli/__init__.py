"""The command line: arguments in, text and exit codes out.

A file per command; what they share has one too.
"""

import sys
from io import TextIOWrapper
from typing import NoReturn, cast

from moa_mcp.cli.commands import run


def main() -> NoReturn:
    """Run the command line of this process: the console entry."""
    if sys.stdout is not None:
        # A character that a terminal cannot show becomes a mark in its place, not an error.
        cast("TextIOWrapper", sys.stdout).reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))
