"""How much of a panel's input comes out of prompt caches, layer by layer.

A 3-layer panel of six models, one of which is also the aggregator, answers a question with 50,000 tokens of context.
The upstream caches as the services do. `openai`: it keeps every prompt, and serves equal beginnings of at least 1,024
tokens in steps of 128. `anthropic`: it keeps what a request marks with `cache_control`, from 1,024 tokens on, and
serves it to requests that mark the same beginning. A token is four characters. Prints a line of JSON per service, and
exits with 1 if a layer after the first gets less than 80 % of its input from the cache.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from moa_mcp.api import open_service
from moa_mcp.domain.model import Run
from moa_mcp.domain.preset import Preset
from moa_mcp.service.service import AskRequest
from tests.upstream import Reply, Request, Upstream

CONTEXT_TOKENS, DRAFT_TOKENS = 50_000, 700
CHARS_PER_TOKEN = 4
MIN_TOKENS, STEP_TOKENS = 1024, 128
WANTED = 0.8
LAYERS = 3
MODELS = [f"m{number}" for number in range(1, 7)]
ROLES = {"m2": "You check every number.", "m5": "You look for what is missing."}


class AutomaticCache:
    """Caches as OpenAI does: equal beginnings of whole prompts, per model, without being asked."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, list[str]] = defaultdict(list)

    def reply(self, request: Request) -> Reply:
        prompt = "".join(f"<{turn['role']}>{text_of(turn['content'])}" for turn in request.body["messages"])
        shared = max((shared_chars(prompt, seen) for seen in self._seen[request.model]), default=0)
        self._seen[request.model].append(prompt)
        steps = (shared // CHARS_PER_TOKEN - MIN_TOKENS) // STEP_TOKENS
        cached = MIN_TOKENS + steps * STEP_TOKENS if steps >= 0 else 0
        usage = {"prompt_tokens": len(prompt) // CHARS_PER_TOKEN, "completion_tokens": DRAFT_TOKENS}
        return Reply(draft(request), usage_report={**usage, "prompt_tokens_details": {"cached_tokens": cached}})


class MarkedCache:
    """Caches as Anthropic does: the prompt up to a mark, per model."""

    def __init__(self) -> None:
        self._stored: set[tuple[str, str]] = set()

    def reply(self, request: Request) -> Reply:
        prompt, marked = f"<system>{text_of(request.body.get('system', ''))}", ""
        for turn in request.body["messages"]:
            prompt += f"<{turn['role']}>"
            for part in parts_of(turn["content"]):
                prompt += part["text"]
                marked = prompt if "cache_control" in part else marked
        tokens = len(marked) // CHARS_PER_TOKEN
        key = (request.model, marked)
        found = key in self._stored
        usage = {"input_tokens": len(prompt) // CHARS_PER_TOKEN, "output_tokens": DRAFT_TOKENS}
        if tokens >= MIN_TOKENS:
            self._stored.add(key)
            kind = "cache_read_input_tokens" if found else "cache_creation_input_tokens"
            usage |= {"input_tokens": usage["input_tokens"] - tokens, kind: tokens}
        return Reply(draft(request), first_usage=usage, usage_report=usage)


def shared_chars(one: str, other: str) -> int:
    """The length of the equal beginning of two texts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def parts_of(content: str | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The parts of a turn's content."""
    return [{"text": content}] if isinstance(content, str) else content


def text_of(content: str | Sequence[Mapping[str, Any]]) -> str:
    """The text of a turn's content."""
    return "".join(part["text"] for part in parts_of(content))


def words(seed: str, tokens: int) -> str:
    """A text of that many tokens, the same for the same seed."""
    source = random.Random(seed)
    return "".join(f"{source.randrange(1000):03d} " for _ in range(tokens))


def draft(request: Request) -> str:
    """A draft that no other request gets."""
    return words(f"{request.model}/{request.number}", DRAFT_TOKENS)


async def measure(dialect: str, cache: AutomaticCache | MarkedCache) -> list[float]:
    """Ask the panel, print its cached input per layer, and return the cached shares of the layers."""
    preset = Preset.model_validate(
        {
            "proposers": [{"model": f"lab/{model}", "role": ROLES.get(model)} for model in MODELS],
            "layers": LAYERS,
            "aggregator": f"lab/{MODELS[0]}",
            "prompt_style": "fenced",  # `auto` chooses it for strong models that are known by name
        }
    )
    with tempfile.TemporaryDirectory() as home:
        async with Upstream(cache.reply) as upstream:
            provider = {"base_url": upstream.base_url, "dialect": dialect, "api_key_env": None}
            await anyio.Path(home, "config.yaml").write_text(json.dumps({"providers": {"lab": provider}}))
            async with open_service({"MOA_MCP_HOME": home}) as service:
                request = AskRequest("What is odd about it?", preset=preset, context=words("context", CONTEXT_TOKENS))
                run = await service.ask(request)
    assert run.calls_made == len(MODELS) * (LAYERS - 1) + 1, run.notes
    layers = [_layer(run, number) for number in range(1, LAYERS + 1)]
    sys.stdout.write(json.dumps({"service": dialect, "layers": layers}) + "\n")
    return [layer["cached_share"] for layer in layers]


def _layer(run: Run, number: int) -> dict[str, float]:
    used = [record.outcome.usage for record in run.calls if record.call.layer == number]
    read, cached = sum(one.input_tokens or 0 for one in used), sum(one.cached_tokens for one in used)
    stored = sum(one.cache_write_tokens for one in used)
    return {"layer": number, "input": read, "cached": cached, "stored": stored, "cached_share": round(cached / read, 3)}


async def main() -> int:
    """Measure both services."""
    shares = [*(await measure("openai", AutomaticCache()))[1:], *(await measure("anthropic", MarkedCache()))[1:]]
    return int(min(shares) < WANTED)


if __name__ == "__main__":
    sys.exit(anyio.run(main))
