"""The prompts for routers, and the note for an aggregator on a router's weights.

`flows/structured_reply.py` reads the replies; `flows/route/` uses them.
"""

from __future__ import annotations

from collections.abc import Sequence

from moa_mcp.domain.model import Message, Task
from moa_mcp.domain.text import tag
from moa_mcp.prompts.judge import MATERIAL, examination
from moa_mcp.prompts.panel import user_turn


def gate(task: Task, shown: str) -> tuple[Message, ...]:
    """Ask how well each candidate, a member of a panel, suits the message, and for an instruction for each."""
    duty = (
        "You decide which members of a panel reply to the message below. The candidates are the members: what "
        "is known of each is below. Score each from 0 (of no use for this message) to 10 (made for it), and "
        "write for each one instruction of one or two sentences: what it in particular should attend to in "
        "this message. Letters and order are arbitrary. Do not reply to the message yourself."
    )
    form = '{"slots": {"A": {"score": 5, "instruction": "…"}, "B": {"score": 5, "instruction": "…"}}}'
    return _routing(task, duty, shown, f"Reply with one JSON object and nothing else, every letter once: {form}")


def difficulty(task: Task) -> tuple[Message, ...]:
    """Ask how hard the message is, from 1 to 5."""
    duty = (
        "Say how hard it is to reply well to the message below: 1 is a fact or a phrase that everybody knows, "
        "2 a short explanation, 3 takes several steps or sources, 4 takes an expert, 5 is where experts often "
        "fail. In doubt choose the higher one. Do not reply to the message yourself."
    )
    form = 'difficulty a whole number from 1 to 5: {"reason": "one sentence", "difficulty": 3}'
    return _routing(task, duty, f"Reply with one JSON object and nothing else, {form}")


def weights_note(percents: Sequence[int]) -> str:
    """Return the note for readers of drafts on how well each writer suits the message."""
    listed = ", ".join(f"draft {number} {percent} %" for number, percent in enumerate(percents, start=1))
    return (
        "Before anything was written, each writer was given a weight by how well it was thought to suit this "
        f"message: {listed}. A weight is a hint where drafts disagree and nothing else decides, not a proof."
    )


def _routing(task: Task, duty: str, *parts: str) -> tuple[Message, ...]:
    """Join the duty, the material, and last the form of the reply."""
    *shown, closing = parts
    turns = "\n\n".join(f"{turn.speaker}: {turn.text}" for turn in task.history)
    earlier = (tag(turns, "earlier turns", task.nonce),) if turns else ()
    return examination(duty, MATERIAL, *shown, *earlier, tag(user_turn(task), "message", task.nonce), closing=closing)
