"""A server under attack: drafts in hostile forms, and connections that are taken up by strangers.

    python -m benchmarks.attack [--forms NAME...] [--heads N] [--bodies N]

Each attack starts a new `moa-mcp serve --transport http` process with its own home. The upstream is another process;
all are on loopback. Before each attack one ordinary ask is made, because the first ask imports what later ones need.

Drafts: in each form (attack_forms.py) two proposers answer with 200 KB each. A client asks with `drafts: full`, lists
the resources, and reads `moa://runs/latest/drafts`. Meanwhile a probe in another process requests `/healthz` every
20 ms: every other client would wait as long as the probe. After 30 seconds the benchmark gives up a form.

Connections (attack_connections.py), without a token, to a server that requires one: 600 that begin a second request
and never end its head, and 150 that hold back the last byte of a 4 MiB body to `/healthz`.

Prints one line of JSON:

- `healthz_ms_worst`: the slowest `/healthz` of all forms, in milliseconds. It is at most 250 if the server stays
  responsive. `healthz_ms_at_rest`: the slowest in a second without other requests, which is the machine's share.
- `forms`, by name: `healthz_ms`, the slowest during the attack (a lower bound if the form was given up); `ask_s`,
  `list_s` and `read_s`, the seconds of each step, null if it was not answered in time; `gave_up`; `server_cpu_s`, the
  CPU seconds that the server used, which do not depend on other work on the machine (null without /proc);
  `drafts_ok`, how many of the two drafts were kept, null without an answer; `errors`, the errors of failed steps.
  The form `prose` is not an attack: it shows the cost of any draft of that size.
- `half_open_heads` and `held_bodies`: the number of `attackers`; `held_when_asked`, how many had a connection when a
  new client with a token began to ask; `cut_off`, how many the server had disconnected when that client was done;
  `ask_served_ms`, the time until the client had its answer, connecting included (it retries; null: no answer within
  45 seconds); and the server's resident megabytes before and during the attack, and at most.
- `seconds`: the wall time of the benchmark.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from mcp import Client

from benchmarks import attack_connections
from benchmarks.attack_forms import FORMS, write_home
from benchmarks.probe import Probe, probing
from benchmarks.processes import ServerProcess, footprint, server_process
from tests.upstream import upstream_process

FORM_SECONDS = 30.0
HEADS = 600
BODIES = 150
DRAFTS = "moa://runs/latest/drafts"


async def struck(form: str, server: ServerProcess, probe: Probe) -> dict[str, Any]:
    """Attack the server with one form, and return the figures."""
    figures: dict[str, Any] = dict.fromkeys(("healthz_ms", "ask_s", "list_s", "read_s", "drafts_ok"))

    async def timed(name: str, step: Callable[[], Awaitable[Any]]) -> Any:
        began = time.perf_counter()
        try:
            result = await step()
        except Exception as error:  # the attack may break a step in any way; still try the next step
            figures.setdefault("errors", []).append(f"{name}: {type(error).__name__}: {error}"[:200])
            return None
        figures[name] = round(time.perf_counter() - began, 3)
        return result

    async with Client(server.url, mode="auto") as client:
        await ask(client, "plain")
        figures["at_rest_ms"] = await at_rest(probe)
        before = footprint(server.pid)["cpu_seconds"]
        with anyio.move_on_after(FORM_SECONDS) as limit:
            result = await timed("ask_s", lambda: ask(client, form))
            figures["drafts_ok"] = None if result is None else _count_kept(result.structured_content or {})
            await timed("list_s", client.list_resources)
            await timed("read_s", lambda: client.read_resource(DRAFTS))
        figures["healthz_ms"] = await anyio.to_thread.run_sync(probe.worst_ms)
        figures["server_cpu_s"] = _difference(before, footprint(server.pid)["cpu_seconds"])
    return {**figures, "gave_up": limit.cancelled_caught}


async def ask(client: Client, preset: str) -> Any:
    """Ask a preset, with the full drafts in the result."""
    arguments = {"question": "What is it?", "preset": preset, "fresh": True, "drafts": "full", "wait_seconds": 600}
    return await client.call_tool("moa_ask", arguments)


async def at_rest(probe: Probe) -> float:
    """The slowest `/healthz`, in milliseconds, in a second without other requests."""
    await anyio.to_thread.run_sync(probe.worst_ms)
    await anyio.sleep(1)
    return await anyio.to_thread.run_sync(probe.worst_ms)


def _count_kept(facts: dict[str, Any]) -> int:
    return sum(call["role"] == "proposer" and call["status"] == "ok" for call in facts.get("calls", ()))


def _difference(before: object, after: object) -> float | None:
    if isinstance(before, float) and isinstance(after, float):
        return round(after - before, 2)
    return None


def measure_form(base_url: str, form: str) -> dict[str, Any]:
    """Start a server and a probe, attack the server with one form, and end both."""
    with tempfile.TemporaryDirectory() as folder:
        write_home(Path(folder), base_url, form)
        with server_process(Path(folder)) as server, probing(server.address) as probe:
            return anyio.run(struck, form, server, probe)


def measure(forms: Sequence[str], heads: int = HEADS, bodies: int = BODIES) -> dict[str, Any]:
    """Run every attack, and return the figures that the module docstring explains."""
    began = time.perf_counter()
    with upstream_process("benchmarks.attack_forms:answer") as upstream:
        found = {form: measure_form(upstream.base_url, form) for form in forms}
        rest = [one.pop("at_rest_ms") for one in found.values()]
        connections = attack_connections
        return {
            "healthz_ms_worst": max(one["healthz_ms"] for one in found.values()),
            "healthz_ms_at_rest": max(rest),
            "forms": found,
            "half_open_heads": connections.measure(upstream.base_url, connections.half_open_head, heads),
            "held_bodies": connections.measure(upstream.base_url, connections.held_body, bodies),
            "seconds": round(time.perf_counter() - began, 1),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS), help="only these forms")
    parser.add_argument("--heads", type=int, default=HEADS, help="connections with half a head")
    parser.add_argument("--bodies", type=int, default=BODIES, help="connections with a body that does not end")
    given = parser.parse_args(arguments)
    sys.stdout.write(json.dumps(measure(given.forms, given.heads, given.bodies)) + "\n")


if __name__ == "__main__":
    main()
