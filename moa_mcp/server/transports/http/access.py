"""Access control over HTTP: the checks on a request before the protocol handles it.

A page in a browser can send requests to any address. Host shows which server the page addresses, Origin where the
page comes from. Both are parsed, because a comparison by prefix can be tricked.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from math import ceil

from starlette.responses import Response

from moa_mcp.providers.loop_guard import loop_problem
from moa_mcp.server.transports.http.options import HttpOptions, host_and_port
from moa_mcp.service.service import LOCAL

_ORIGIN = re.compile(r"https?://(?P<host>[^/?#@\s]+)")
_CHALLENGE = 'Bearer realm="moa-mcp"'


def reject(status: int, why: str, **headers: str) -> Response:
    """The response to a refused request. `why` is a text for people; in names of headers, `_` stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(f"{why}\n", status, named, media_type="text/plain")


class AccessControl:
    """Checks requests by their headers."""

    def __init__(self, options: HttpOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._rate_limit = RateLimit(options.requests_per_minute, clock)

    def refuse(self, headers: Mapping[str, str]) -> Response | None:
        """The refusal for headers that are not allowed with any token, or None."""
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may use the other header to find the end of the request (RFC 9112, 6.3).
            return reject(400, "A request has a Content-Length or a Transfer-Encoding, not both.")
        if not self._allows(headers.get("host", "")):
            return reject(421, "This server does not accept that host name; allow it with --allowed-host.")
        origin = headers.get("origin")
        if origin is not None and not ((found := _ORIGIN.fullmatch(origin)) and self._allows(found["host"])):
            return reject(403, "Pages of that origin may not use this server.")
        if why := loop_problem(headers):
            return reject(508, why)
        return None

    def owner(self, headers: Mapping[str, str]) -> str | Response:
        """The owner of a request, or the refusal. The names in `headers` must be in lower case."""
        owner = self._token_owner(headers.get("authorization", ""))
        if owner is None:
            given = "authorization" in headers
            challenge = f'{_CHALLENGE}, error="invalid_token"' if given else _CHALLENGE
            return reject(401, "Send one of the server's tokens as a bearer token.", www_authenticate=challenge)
        if wait := self._rate_limit.wait(owner):
            return reject(429, "Too many requests. Wait, then go on.", retry_after=str(wait))
        return owner

    def _allows(self, host: str) -> bool:
        try:
            return self._options.allows(*host_and_port(host))
        except ValueError:
            return False

    def _token_owner(self, authorization: str) -> str | None:
        if not self._options.tokens:
            return LOCAL
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        # Compare every token in constant time, so that the duration reveals nothing about a token.
        sent = given.strip().encode("utf-8", "replace")
        owners = [name for name, token in self._options.tokens.items() if hmac.compare_digest(sent, token.encode())]
        return owners[0] if owners else None


class RateLimit:
    """The rate limit of each owner: `a_minute` requests a minute, of which a tenth may come at once."""

    def __init__(self, a_minute: int, clock: Callable[[], float]) -> None:
        self._seconds_per_request = 60 / a_minute
        self._at_once = max(1.0, a_minute / 10)
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, owner: str) -> int:
        """Count a request. 0 if it is allowed, else the seconds to wait before a retry."""
        now = self._clock()
        left, last = self._left.get(owner, (self._at_once, now))
        left = min(self._at_once, left + (now - last) / self._seconds_per_request)
        self._left[owner] = (left - 1 if left >= 1 else left, now)
        return 0 if left >= 1 else ceil((1 - left) * self._seconds_per_request)


class RequestLimits:
    """Limits concurrent requests: `most` in total and fewer per owner, so that one owner cannot block the others.

    An owner can have three quarters of `most`, and half of `most` as streams, because a stream also needs posts.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._requests: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()

    @contextmanager
    def hold(self, owner: str, *, stream: bool) -> Generator[Response | None]:
        """Count a request for the duration of the block. Yields the refusal if it exceeds a limit."""
        rejection = self._refuse(owner, stream=stream)
        counts = [] if rejection else [self._requests, self._streams] if stream else [self._requests]
        for count in counts:
            count[owner] += 1
        try:
            yield rejection
        finally:
            for count in counts:
                count[owner] -= 1

    def _refuse(self, owner: str, *, stream: bool) -> Response | None:
        if self._requests.total() >= self._most:
            why = f"All {self._most} connections are in use. Try again shortly."
            return reject(503, why, retry_after="1")
        if stream and self._streams[owner] >= (most := max(1, self._most // 2)):
            why = f"{most} of your streams are open, which is the maximum. Close one first."
            return reject(429, why, retry_after="1")
        if self._requests[owner] >= (most := max(1, self._most * 3 // 4)):
            why = f"{most} of your requests are in progress, which is the maximum. Wait for one to end."
            return reject(429, why, retry_after="1")
        return None
