"""Runs and calls as JSON text and back. What is stored is what cannot be made again.

The messages of a call are left out: the flow makes the same ones from the same task and drafts.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from moa_mcp.domain.model import CallRecord, Run

_MADE_AGAIN: dict[str, set[str]] = {"call": {"messages"}}

_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode_run(run: Run) -> str:
    """Everything of a run but its calls and panels, which have rows of their own."""
    return _text(_runs().dump_python(replace(run, calls=(), panels=()), mode="json"))


def decode_run(text: str) -> Run:
    """The run of `encode_run`.

    Raises:
        ValueError: the text is not one.
    """
    data = json.loads(text)
    for record in data.get("abandoned", ()):
        _add_relations(record["call"])
    return _runs().validate_python(data)


def encode_record(record: CallRecord) -> str:
    """A finished call without its messages."""
    data = _records().dump_python(record, mode="json", exclude=_MADE_AGAIN)
    data["call"]["messages"] = []
    return _text(data)


def decode_record(text: str) -> CallRecord:
    """The record of `encode_record`.

    Raises:
        ValueError: the text is not one.
    """
    data = json.loads(text)
    _add_relations(data["call"])
    return _records().validate_python(data)


def _add_relations(call: dict[str, Any]) -> None:
    """Say of a call that an older version wrote what it runs in and what it repeats.

    There its id alone said so: it was the ids of its branches and its own with slashes in between, and a repeat ended
    with ".again". Ids are made in the same way still, so that its run goes on; nothing but this reads them.
    """
    if "branches" in call:
        return
    parts = str(call["id"]).split("/")
    call["branches"] = ["/".join(parts[:count]) for count in range(1, len(parts))]
    repeated = str(call["id"]).removesuffix(".again")
    call["repeat_of"] = repeated if repeated != call["id"] else None


def _text(data: Any) -> str:
    """As plain ASCII, in which half of a surrogate pair and a price of NaN come back as they were.

    Among a method's facts what is no finite number becomes null.
    """
    return _encode(data)


@cache
def _runs() -> TypeAdapter[Run]:
    return TypeAdapter(Run)


@cache
def _records() -> TypeAdapter[CallRecord]:
    return TypeAdapter(CallRecord)
