"""Decodes a compressed body.

Every request asks for no compression, but some servers and gateways compress all the same, and some name an encoding
that they did not apply (gzip, none, utf-8). So the first bytes of the body decide; a body without the header stays as
it is.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator

from moa_mcp.domain.errors import ProviderError, Reason

MAX_PIECE = 64 * 1024
"""The most decoded bytes at a time: a decompression bomb is read no further than the limit of its reader."""

_OPENING = 16
"""The bytes that decide. Compressed data of this length is no valid UTF-8 without control characters."""

_GZIP = b"\x1f\x8b"
_RAW, _ZLIB, _GZIP_FORMAT = -15, 15, 31
"""The formats as `wbits` of zlib."""


async def decoded(chunks: AsyncIterable[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The decoded bytes of a body whose content encoding is called `encoding`. A damaged body ends at its damage.

    Raises:
        ProviderError: MALFORMED, for an encoding that cannot be decoded.
    """
    source, opening = aiter(chunks), b""
    while len(opening) < _OPENING and (chunk := await anext(source, b"")):
        opening += chunk
    inflater = None if _is_text(opening) else _Inflater(_format(encoding, opening))
    for piece in inflater.feed(opening) if inflater else (opening,):
        yield piece
    async for chunk in source:
        for piece in inflater.feed(chunk) if inflater else (chunk,):
            yield piece


class _Inflater:
    """Inflates a body; gzip may have several members, one after another."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._member = zlib.decompressobj(wbits)
        self._is_damaged = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes of `data`, in pieces of at most MAX_PIECE bytes."""
        piece = b""
        while (data or len(piece) == MAX_PIECE) and not self._is_damaged:
            try:
                piece = self._member.decompress(data, MAX_PIECE)
            except zlib.error:
                self._is_damaged = True
                return
            if piece:
                yield piece
            data = self._member.unconsumed_tail
            if self._member.eof:
                data, self._member = self._member.unused_data, zlib.decompressobj(self._wbits)


def _format(encoding: str, opening: bytes) -> int:
    if opening.startswith(_GZIP):
        return _GZIP_FORMAT
    if encoding != "deflate":
        raise ProviderError(Reason.MALFORMED, f"content encoding {encoding}, which was not asked for")
    is_zlib = opening[0] & 0x0F == 8 and int.from_bytes(opening[:2]) % 31 == 0  # RFC 1950; some servers leave it out
    return _ZLIB if is_zlib else _RAW


def _is_text(opening: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(opening)  # a character may be cut off at the end
    except UnicodeDecodeError:
        return False
    return "".join(text.split()).removeprefix("\ufeff").isprintable()
