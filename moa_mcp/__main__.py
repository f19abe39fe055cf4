"""`python -m moa_mcp` is the same as `moa-mcp`."""

from moa_mcp.cli import main

main()
