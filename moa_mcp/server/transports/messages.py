"""JSON-RPC messages as lines of bytes: parses lines, makes errors for invalid ones, and encodes answers.

It does no I/O. The SDK drops a line that it cannot parse, and the client would wait for an answer forever.
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
"""The maximum size of a message in bytes. A longer line is refused and not kept in memory."""

HEAD = 4096
"""The number of bytes of an invalid line that are searched for its id."""

MAX_ID = 2**63
"""Numeric ids must be smaller than this, in absolute value."""

MAX_ID_CHARS = 1024
"""The maximum length of a text id, in characters."""

_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_ID = re.compile(r'\s{0,99}:\s{0,99}("(?:[^"\\]|\\.)*"|-?\d{1,18})(?=[\s,}])')


@dataclass(frozen=True, slots=True)
class OversizedLine:
    """A line that exceeds the maximum size. Only its beginning was kept."""

    head: bytes


@dataclass(frozen=True, slots=True)
class InvalidLine:
    """A line that is not a valid message, with the error to answer it."""

    error: JSONRPCError


def split_lines(chunks: Iterable[bytes], max_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes | OversizedLine]:
    """The lines in a stream of bytes, without line ends. Of a line longer than `max_bytes` only the head is kept."""
    line, too_long = bytearray(), False
    for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            line += part
            yield OversizedLine(bytes(line[:HEAD])) if too_long or len(line) > max_bytes else bytes(line)
            line, too_long = bytearray(), False
        line += rest
        if len(line) > max_bytes:
            del line[HEAD:]
            too_long = True
    if line:
        yield OversizedLine(bytes(line[:HEAD])) if too_long else bytes(line)


def parse_line(line: bytes | OversizedLine) -> JSONRPCMessage | InvalidLine | None:
    """The message in a line, None for a blank line, or an InvalidLine with the error to send."""
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
    """The value of a JSON text, with lone surrogates replaced. Raises ValueError or RecursionError."""
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError:
        return fix_json_surrogates(json.loads(text, parse_constant=_reject_constant))


def fix_body(body: bytes) -> bytes:
    """Replace lone surrogates in a request body, because the SDK refuses them."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    try:
        return json.dumps(parse_json(body)).encode()
    except (ValueError, RecursionError):
        return body


def encode_line(message: JSONRPCMessage) -> bytes:
    """A message as a line of UTF-8, with lone surrogates replaced."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except ValueError:  # a lone surrogate: UnicodeEncodeError, or pydantic's error around it
        value = fix_json_surrogates(message.model_dump(by_alias=True, exclude_unset=True))
        return json.dumps(value).encode() + b"\n"


def error_response(request_id: RequestId | None, code: int, what: str) -> JSONRPCError:
    """The JSON-RPC error for a request that cannot be served."""
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=f"{what}."))


def find_id(head: bytes) -> RequestId | None:
    """The id of the request at the beginning of a broken text, or None if it cannot be found."""
    text = head.decode("utf-8", "replace")
    depth = 0
    for token in _PARTS.finditer(text):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
        elif depth == 1 and token[0] == '"id"' and (found := _ID.match(text, token.end())):
            return _valid_id(json.loads(found[1], strict=False))
    return None


def _message(value: Any) -> JSONRPCMessage | InvalidLine:
    if isinstance(value, list):
        return _refusal(None, "Batches are not served; send each message by itself")
    if not isinstance(value, dict):
        return _refusal(None, "A message is a JSON object")
    fields = cast("dict[str, Any]", value)
    # The id of a response is one of the server's own ids, so an error must not carry it.
    is_answer = "method" not in fields and not fields.keys().isdisjoint({"result", "error"})
    request_id = None if is_answer else _valid_id(fields.get("id"))
    if "id" in fields and not is_answer and request_id is None:
        return _refusal(None, "The id of a request is a text or a whole number")
    try:
        message = jsonrpc_message_adapter.validate_python(fields, by_name=False)
    except (ValidationError, RecursionError):
        return _refusal(request_id, _describe_fault(fields))
    if "id" in fields and isinstance(message, JSONRPCNotification):
        return _refusal(request_id, "This is no request of JSON-RPC 2.0")
    return message


def _describe_fault(fields: Mapping[str, Any]) -> str:
    """Describe why a message is invalid, and what is expected."""
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
