"""The flags of `moa-mcp serve`: which belong together, and what is refused before anything listens."""

from __future__ import annotations

import pytest

from tests.cli.fixtures import moa


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--port", "1"), b"--port does not fit --transport stdio"),
        (("--host", "127.0.0.1"), b"--host does not fit --transport stdio"),
        (("--allow-configure",), b"--allow-configure does not fit --transport stdio"),
        (("--transport", "sse", "--stateless"), b"--stateless does not fit --transport sse"),
        (("--transport", "http", "--host", "0.0.0.0"), b"MOA_MCP_TOKENS"),
        (("--transport", "http", "--allowed-host", "http://x"), b"no name of a host"),
        (("--transport", "http", "--host", "192.0.2.1"), b"MOA_MCP_TOKENS"),
        (("--transport", "carrier-pigeon"), b"--transport"),
    ],
)
async def test_flags_that_do_not_fit_are_refused_in_one_line(arguments: tuple[str, ...], says: bytes) -> None:
    done = await moa("serve", *arguments)

    assert (done.returncode, done.stdout) == (2, b"")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_variables_take_the_place_of_flags_and_may_be_meant_for_another_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOA_MCP_HOST", "0.0.0.0")
    assert (await moa("serve")).returncode == 0

    monkeypatch.setenv("MOA_MCP_TRANSPORT", "http")
    refused = await moa("serve")
    assert refused.returncode == 2
    assert b"MOA_MCP_TOKENS" in refused.stderr


async def test_a_token_that_is_too_short_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOA_MCP_TOKENS", "anne=hush")
    refused = await moa("serve", "--transport", "http")

    assert refused.returncode == 2
    assert b"anne" in refused.stderr
    assert b"hush" not in refused.stderr


async def test_a_token_that_would_open_the_runs_of_the_command_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOA_MCP_TOKENS", "local=0123456789abcdef")
    refused = await moa("serve", "--transport", "http")

    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert b"the name local owns the runs of stdio and the command line" in refused.stderr
