"""Shows the prompts of a preset, each with the calls that get it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from moa_mcp.flows.planning.prompts import CODE, Prompt
from moa_mcp.views.run import pluralize


def prompt_lines(prompts: Sequence[Prompt]) -> Iterator[str]:
    """Yield the lines: what the placeholders are, then each prompt under the names of its calls."""
    calls = sum(len(prompt.calls) for prompt in prompts)
    yield f"{pluralize(len(prompts), 'prompt')} of {pluralize(calls, 'call')}, if nothing fails."
    yield f"What is in [brackets] is a placeholder; {CODE} is another code in each run."
    for prompt in prompts:
        yield ""
        yield from _heading(prompt)
        for message in prompt.messages:
            yield f"--- {message.speaker} ---"
            yield message.text


def _heading(prompt: Prompt) -> Iterator[str]:
    first = prompt.calls[0]
    yield f"=== layer {first.layer}, {first.role}: {', '.join(dict.fromkeys(call.model for call in prompt.calls))} ==="
    yield f"{pluralize(len(prompt.calls), 'call')}: {', '.join(call.id for call in prompt.calls)}"
