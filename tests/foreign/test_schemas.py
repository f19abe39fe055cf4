"""The libraries of others connect to the server and turn its tools into what their models are given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.foreign.environments import python_with

pytestmark = pytest.mark.foreign

ROOT = Path(__file__).parents[2]

LIST = """
import asyncio, json, sys
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

async def list_tools():
    parameters = StdioServerParameters(command=sys.argv[1], args=["-m", "moa_mcp"], env=json.loads(sys.argv[2]))
    async with Client(stdio_client(parameters)) as client:
        return (await client.list_tools()).tools

tools = asyncio.run(list_tools())
"""
"""Has the tools of the server; what a library does with them is added."""

GOOGLE = """
from google.genai._mcp_utils import mcp_to_gemini_tool

declared = [mcp_to_gemini_tool(tool).function_declarations[0] for tool in tools]
print(json.dumps({one.name: sorted(one.parameters.properties) for one in declared}))
"""

OPENAI_AGENTS = """
from agents.mcp import MCPServerStdio, MCPUtil

server = MCPServerStdio(params={"command": sys.argv[1]})
converted = [MCPUtil.to_function_tool(tool, server, convert_schemas_to_strict=True) for tool in tools]
# What takes an object of any keys cannot be strict, and stays as it is.
assert {one.name for one in converted if one.strict_json_schema} >= {"moa_ask", "moa_list_presets"}, converted
print(json.dumps({one.name: sorted(one.params_json_schema["properties"]) for one in converted}))
"""

LLAMA_INDEX = """
from mcp.types import ListToolsResult
from llama_index.tools.mcp import McpToolSpec

class Listed:
    async def list_tools(self):
        return ListToolsResult(tools=tools)

converted = [tool.metadata.to_openai_tool()["function"] for tool in McpToolSpec(client=Listed()).to_tool_list()]
print(json.dumps({one["name"]: sorted(one["parameters"]["properties"]) for one in converted}))
"""

CLIENTS = {
    "google-genai": (GOOGLE, ("google-genai==2.34.0", "mcp==2.3.0")),
    "openai-agents": (OPENAI_AGENTS, ("openai-agents==0.24.0", "mcp==2.3.0")),
    "llama-index": (LLAMA_INDEX, ("llama-index-core==0.14.25", "llama-index-tools-mcp==0.6.0", "mcp==2.3.0")),
}


@pytest.fixture(scope="session", params=CLIENTS)
def client(request: pytest.FixtureRequest) -> tuple[Path, str]:
    """The Python of a library's environment, and its program. Made before a test loses the variables of a proxy."""
    program, pins = CLIENTS[request.param]
    return python_with(*pins), program


def test_a_library_converts_every_tool_with_every_argument(client: tuple[Path, str]) -> None:
    python, program = client
    server = {"MOA_MCP_HOME": os.environ["MOA_MCP_HOME"], "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    command = [str(python), "-c", LIST + program, sys.executable, json.dumps(server)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: sorted(arguments) for name, arguments in arguments_of_tools().items()}


def arguments_of_tools() -> dict[str, list[str]]:
    """What each tool takes, as the server's snapshot has it."""
    snapshot: list[dict[str, Any]] = json.loads((ROOT / "tests/data/snapshot.tools.json").read_text(encoding="utf-8"))
    return {tool["name"]: list(tool["inputSchema"].get("properties", ())) for tool in snapshot}
