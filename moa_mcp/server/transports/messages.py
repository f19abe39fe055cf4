"""Messages of JSON-RPC as lines of bytes: what a line means, what is wrong with it, and how an answer is written.

Pure. The SDK drops a line that it cannot read; whoever sent it would wait for an answer without end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pydantic_core
from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from moa_mcp.server.wire import fix_json_surrogates

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Bytes of a message at most; a longer line is refused without being kept."""

HEAD = 4096
"""Bytes of a line in which its id is looked for once it cannot be read."""

MAX_ID = 2**63
"""Numbers beyond it are no ids of anybody."""

MAX_ID_CHARS = 1024
"""Letters of an id at most."""

_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_ID = re.compile(r'\s{0,99}:\s{0,99}("(?:[^"\\]|\\.)*"|-?\d{1,18})(?=[\s,}])')


@dataclass(frozen=True, slots=True)
class OversizedLine:
    """A line that is longer than a message may be: only its beginning was kept."""

    head: bytes


@dataclass(frozen=True, slots=True)
class InvalidLine:
    """A line that holds no message, by the error that answers it."""

    error: JSONRPCError


def split_lines(chunks: Iterable[bytes], max_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes | OversizedLine]:
    """The lines in a stream of bytes, without their ends. No more than `most` bytes of a line are kept."""
    line, overlong = bytearray(), False
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            line += part
            yield OversizedLine(bytes(line[:HEAD])) if overlong or len(line) > max_bytes else bytes(line)
            line, overlong = bytearray(), False
        line += rest
        if len(line) > max_bytes:
            del line[HEAD:]
            overlong = True
    if line:
        yield OversizedLine(bytes(line[:HEAD])) if overlong else bytes(line)


def parse_line(line: bytes | OversizedLine) -> JSONRPCMessage | InvalidLine | None:
    """The message in a line, None for a blank one, and what is to be said of any other."""
    if isinstance(line, OversizedLine):
        return _refusal(find_id(line.head), f"The line is longer than {MAX_LINE_BYTES:,} bytes")
    text = line.decode("utf-8", "replace").lstrip("\ufeff").strip()
    if not text:
        return None
    try:
        value = parse_json(text)
    except (ValueError, RecursionError):
        return InvalidLine(error_response(find_id(line[:HEAD]), PARSE_ERROR, "This is not JSON"))
    return _message(value)


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text, with half an emoji in it replaced. Raises ValueError or RecursionError."""
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError:
        return fix_json_surrogates(json.loads(text, parse_constant=_reject_constant))


def fix_body(body: bytes) -> bytes:
    """The body of a request with half an emoji in it replaced; the SDK refuses it otherwise."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    try:
        return json.dumps(parse_json(body)).encode()
    except (ValueError, RecursionError):
        return body


def encode_line(message: JSONRPCMessage) -> bytes:
    """The line of a message, whatever texts are in it."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except ValueError:  # half an emoji: UnicodeEncodeError, or pydantic's error around it
        value = fix_json_surrogates(message.model_dump(by_alias=True, exclude_unset=True))
        return json.dumps(value).encode() + b"\n"


def error_response(request_id: RequestId | None, code: int, what: str) -> JSONRPCError:
    """The error that answers what cannot be served."""
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=f"{what}."))


def find_id(head: bytes) -> RequestId | None:
    """The id of the request that a broken text begins with, if it can be made out."""
    text = head.decode("utf-8", "replace")
    depth = 0
    for part in _PARTS.finditer(text):
        if part[0] in "{[":
            depth += 1
        elif part[0] in "}]":
            depth -= 1
        elif depth == 1 and part[0] == '"id"' and (found := _ID.match(text, part.end())):
            return _valid_id(json.loads(found[1], strict=False))
    return None


def _message(value: Any) -> JSONRPCMessage | InvalidLine:
    if isinstance(value, list):
        return _refusal(None, "Batches are not served; send each message by itself")
    if not isinstance(value, dict):
        return _refusal(None, "A message is a JSON object")
    fields = cast("dict[str, Any]", value)
    # The id of an answer is one of ours, which an error would not mean.
    is_answer = "method" not in fields and not fields.keys().isdisjoint({"result", "error"})
    request_id = None if is_answer else _valid_id(fields.get("id"))
    if "id" in fields and not is_answer and request_id is None:
        return _refusal(None, "The id of a request is a text or a whole number")
    try:
        message = jsonrpc_message_adapter.validate_python(fields, by_name=False)
    except (ValidationError, RecursionError):
        return _refusal(request_id, _fault(fields))
    if "id" in fields and isinstance(message, JSONRPCNotification):
        return _refusal(request_id, "This is no request of JSON-RPC 2.0")
    return message


def _fault(fields: Mapping[str, Any]) -> str:
    """What is wrong with a message, and how it should be."""
    if fields.get("jsonrpc") != "2.0":
        return 'A message has "jsonrpc": "2.0"; this one does not'
    if "method" not in fields:
        return "A request has a method, an answer a result or an error; this message has none that is valid"
    if not isinstance(fields["method"], str):
        return "The method of a request is a text"
    return "The params of a request are a JSON object"


def _refusal(request_id: RequestId | None, what: str) -> InvalidLine:
    return InvalidLine(error_response(request_id, INVALID_REQUEST, what))


def _valid_id(value: Any) -> RequestId | None:
    if isinstance(value, str):
        return fix_json_surrogates(value) if len(value) <= MAX_ID_CHARS else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < MAX_ID else None
    return None


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
