"""Encodes runs and calls as JSON text, and decodes them.

The messages of a call are not stored: the flow makes the same messages again from the same task and drafts.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import CallRecord, Run

_NOT_STORED: dict[str, set[str]] = {"call": {"messages"}}

_KINDS = {"chat": "draft", "panel": "draft", "embedding": "embeddings", "code": "code"}
"""The kind of the result of each kind of call."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode_run(run: Run) -> str:
    """Encode a run without its calls and panels, which have their own rows."""
    return _text(_runs().dump_python(replace(run, calls=(), panels=()), mode="json"))


def decode_run(text: str) -> Run:
    """Decode the text from `encode_run`.

    Raises:
        ValueError: the text is not an encoded run.
    """
    data = json.loads(text)
    for record in data.get("abandoned", ()):
        _upgrade(record)
    return _runs().validate_python(data)


def encode_record(record: CallRecord) -> str:
    """Encode a finished call without its messages."""
    data = _records().dump_python(record, mode="json", exclude=_NOT_STORED)
    data["call"]["messages"] = []
    return _text(data)


def decode_record(text: str) -> CallRecord:
    """Decode the text from `encode_record`.

    Raises:
        ValueError: the text is not an encoded record.
    """
    data = json.loads(text)
    _upgrade(data)
    return _records().validate_python(data)


def _upgrade(record: dict[str, Any]) -> None:
    """Change a record that an older version stored into the present form."""
    _add_relations(record["call"])
    outcome = record["outcome"]
    if "kind" not in outcome:
        outcome["kind"] = "failure" if "reason" in outcome else _KINDS[record["call"]["kind"]]
        _parse_text(outcome)


def _parse_text(outcome: dict[str, Any]) -> None:
    """Parse vectors and executions, which older versions stored as JSON in the text of a draft.

    What cannot be parsed was of no use to the older version, and is of none now.
    """
    text = outcome.get("text", "")
    if outcome["kind"] == "embeddings":
        try:
            outcome["vectors"] = _vectors().validate_json(text, strict=True)
        except ValidationError:
            outcome["vectors"] = ()
    elif outcome["kind"] == "code":
        try:
            outcome["execution"] = _executions().validate_json(text)
        except ValidationError:
            outcome["execution"] = Execution(error="the sandbox reported nothing")


def _add_relations(call: dict[str, Any]) -> None:
    """Add `branches` and `repeat_of` to a call that an older version stored without them.

    In older versions, only the id had this information: the ids of the branches and of the call, joined with slashes,
    and ".again" at the end of a repeat. Ids still have this form, so that older runs can be resumed, but only this
    function parses them.
    """
    if "branches" in call:
        return
    parts = str(call["id"]).split("/")
    call["branches"] = ["/".join(parts[:count]) for count in range(1, len(parts))]
    repeated = str(call["id"]).removesuffix(".again")
    call["repeat_of"] = repeated if repeated != call["id"] else None


def _text(data: Any) -> str:
    """Encode as plain ASCII, so that a lone surrogate and a price of NaN are decoded unchanged.

    In the facts of a method, a number that is not finite becomes null.
    """
    return _encode(data)


@cache
def _runs() -> TypeAdapter[Run]:
    return TypeAdapter(Run)


@cache
def _records() -> TypeAdapter[CallRecord]:
    return TypeAdapter(CallRecord)


@cache
def _vectors() -> TypeAdapter[tuple[tuple[float, ...], ...]]:
    return TypeAdapter(tuple[tuple[float, ...], ...])


@cache
def _executions() -> TypeAdapter[Execution]:
    return TypeAdapter(Execution)
