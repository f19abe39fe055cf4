"""Vectors that need no model: the hashed bag of words of a text, the same on every machine."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from typing import Any

from tests.upstream.reply import Reply
from tests.upstream.request import Request

_DIMENSIONS = 64


def vector(text: str, dimensions: int = _DIMENSIONS) -> list[float]:
    """Embed a text: texts that share words point the same way. The length is 1, or 0 without words."""
    counts = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        digest = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
        counts[digest % dimensions] += 1 if digest >> 63 else -1
    length = math.hypot(*counts) or 1
    return [count / length for count in counts]


def embeddings_body(request: Request, reply: Reply) -> dict[str, Any]:
    """Answer a request for embeddings; the tokens it says it used are the words of the input."""
    given = request.body.get("input", "")
    texts: list[str] = [given] if isinstance(given, str) else [str(text) for text in given]
    dimensions = int(request.body.get("dimensions") or _DIMENSIONS)
    as_base64 = request.body.get("encoding_format") == "base64"
    vectors = [vector(text, dimensions) for text in texts]
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(each) if as_base64 else each}
        for index, each in enumerate(vectors)
    ]
    tokens = sum(len(text.split()) for text in texts)
    usage = {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if reply.usage else {}
    model = request.model if reply.model is None else reply.model
    return {"object": "list", "data": data, "model": model, **usage}


def _packed(each: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode()
