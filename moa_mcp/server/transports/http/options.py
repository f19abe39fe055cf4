"""The options of the HTTP server. Unsafe options are refused before the server listens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from moa_mcp.domain.endpoints import is_loopback
from moa_mcp.domain.errors import InvalidRequest
from moa_mcp.providers.wire.keys import placeholder_in
from moa_mcp.service.service import LOCAL

MIN_TOKEN_CHARS = 16
"""The minimum length of a token in characters. Shorter tokens can be guessed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[!-+\--~]+")  # printable ASCII without the comma, which separates pairs
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """The address, protocols and access rules of the HTTP server.

    `faces` are "mcp" (Streamable HTTP) and "sse". `tokens` maps the name of an owner to the token; without tokens,
    every client is the owner `LOCAL`. `allowed_hosts` are the host names, with or without a port, that clients may
    use for the server. `json_response` and `stateless` apply only to "mcp". `max_connections` is the maximum of
    open connections; a further one closes an idle one.
    """

    faces: Sequence[str] = ("mcp", "sse")
    host: str = "127.0.0.1"
    port: int = 8000
    tokens: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    allowed_hosts: Sequence[str] = ()
    allow_configure: bool = False
    json_response: bool = False
    stateless: bool = False
    requests_per_minute: int = 6000
    max_connections: int = 512

    def check(self) -> None:
        """Raise InvalidRequest if the options let in strangers, or give an owner access to another owner's runs."""
        if LOCAL in self.tokens:
            raise InvalidRequest(
                f"MOA_MCP_TOKENS: the name {LOCAL} owns the runs of stdio and the command line, which its token would "
                "open to a client. Choose another name."
            )
        for host in self.allowed_hosts:
            if not _HOST.fullmatch(host):
                raise InvalidRequest(f"--allowed-host {host!r} is no name of a host. Give a name, or name:port.")
        if is_loopback(self.host):
            return
        if not self.tokens:
            raise InvalidRequest(
                f"--host {self.host} can be reached from other machines, so set MOA_MCP_TOKENS to name=token pairs, "
                "or listen on 127.0.0.1."
            )
        if not self.allowed_hosts:
            raise InvalidRequest(
                f"--host {self.host} can be reached by other names, so name those that clients may use with "
                "--allowed-host, or listen on 127.0.0.1."
            )

    def allows(self, name: str, port: int | None) -> bool:
        """Whether clients may use this host name, in lower case, and port."""
        if is_loopback(self.host) and name in {"127.0.0.1", "localhost", "[::1]", self.host.lower()}:
            return True
        return any((name, port) == (own, own_port or port) for own, own_port in map(host_and_port, self.allowed_hosts))


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Time limits of clients, in seconds, and the maximum of sessions per owner.

    `head_seconds` is the time for a whole request head, from the opening of the connection or the last response.
    A session at /mcp ends when it is idle for `session_seconds`, or when its owner has more than `max_sessions`.
    """

    head_seconds: float = 30.0
    body_seconds: float = 30.0
    session_seconds: float = 1800.0
    max_sessions: int = 256


def host_and_port(text: str) -> tuple[str, int | None]:
    """Split `name:port`, with the name in lower case. Raises ValueError for any other text."""
    found = _HOST.fullmatch(text)
    if found is None or int(found["port"] or 0) > 65535:
        raise ValueError("no host")
    return found["name"].lower(), int(found["port"]) if found["port"] else None


def parse_tokens(text: str) -> dict[str, str]:
    """The tokens in `name=token,name=token`, by name. Raises InvalidRequest, without the token in its text."""
    tokens: dict[str, str] = {}
    pairs = [pair.strip() for pair in text.split(",") if pair.strip()]
    for number, pair in enumerate(pairs, 1):
        name, equals, token = [part.strip() for part in pair.partition("=")]
        where = f"MOA_MCP_TOKENS, pair {number}"
        if not equals or not _NAME.fullmatch(name):
            raise InvalidRequest(f"{where}: expected name=token, with a name of letters, digits, dots and dashes.")
        if len(token) < MIN_TOKEN_CHARS or not _TOKEN.fullmatch(token):
            raise InvalidRequest(
                f"{where}: the token of {name} needs at least {MIN_TOKEN_CHARS} printable characters without spaces. "
                'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        if placeholder_in(token):
            raise InvalidRequest(
                f"{where}: the token of {name} is a placeholder that was not filled in. Give it a value."
            )
        if name in tokens or token in tokens.values():
            raise InvalidRequest(f"{where}: the name {name} or its token is there twice. Give each its own.")
        tokens[name] = token
    return tokens
