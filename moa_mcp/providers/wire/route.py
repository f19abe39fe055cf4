"""How an endpoint is reached: its URL, the proxy or the Unix socket on the way, and the certificates that are trusted.

Imported with `http.py` for the first call. A TLS context is made for the first endpoint that needs one.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import aiohttp
import certifi
import httpx

from moa_mcp.domain.endpoints import SOCKET_SCHEME, Endpoint, is_loopback
from moa_mcp.domain.errors import ProviderError, Reason

KEEP_ALIVE_SECONDS = 30
MAX_HEADER = 64 * 1024
"""The most bytes of a header of a reply, and of its status line. Gateways report policies and traces in headers."""
MAX_HEADERS = 2000

CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""The variables with which other programs are given certificate authorities, as files or as folders."""

_SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older Fedora and RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, FreeBSD
)
"""Where systems keep their authorities, for a Python whose OpenSSL was built to look elsewhere."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way to an endpoint. `url` has no path of a request yet, `query` ends it.

    `socket` is the path of a Unix socket. `unused_proxy` is the variable of a proxy that is set and not used.
    `authorities` are the files and folders of certificates that are trusted besides those of the system.
    """

    url: str
    query: str = ""
    socket: str | None = None
    proxy: str | None = None
    unused_proxy: str | None = None
    authorities: tuple[str, ...] = ()

    @property
    def is_encrypted(self) -> bool:
        """Whether there is TLS on the way."""
        return any(url.startswith("https:") for url in (self.url, self.proxy or ""))

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context. Without TLS on the way it is an empty one, which trusts nobody and takes no time."""
        return _trusting(self.authorities) if self.is_encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def connect(self, context: ssl.SSLContext) -> aiohttp.ClientSession:
        """A session without a connection limit, because a wrapper (`ConcurrencyLimit`) limits concurrent calls.

        Without `trust_env`: it would also send passwords from ~/.netrc.
        """
        connector = (
            aiohttp.UnixConnector(self.socket, limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
            if self.socket
            else aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=KEEP_ALIVE_SECONDS)
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            max_headers=MAX_HEADERS,
        )


def route_to(endpoint: Endpoint, environ: Mapping[str, str], *, use_proxy_env: bool = False) -> Route:
    """The way to an endpoint.

    Raises:
        ProviderError: its `ca_file` cannot be read, or its proxy is of a kind that is not known.
    """
    parts = urlsplit(endpoint.base_url)
    query = f"?{urlencode(endpoint.query)}" if endpoint.query else ""
    if parts.scheme == SOCKET_SCHEME:
        return Route(f"http://localhost{parts.path.rstrip('/')}", query, socket=_socket(unquote(parts.netloc)))
    variable, proxy = _proxy(parts, environ)
    if proxy and use_proxy_env and not proxy.startswith(("http://", "https://")):
        raise ProviderError(
            Reason.CONNECTION,
            f"{variable} names a {proxy.partition(':')[0]} proxy, and only HTTP proxies are known here; name one, or "
            f"the host in NO_PROXY",
            should_retry=False,
        )
    is_unused = proxy and not use_proxy_env and not is_loopback(parts.hostname or "")
    route = Route(
        endpoint.base_url.rstrip("/"),
        query,
        proxy=proxy if proxy and use_proxy_env else None,
        unused_proxy=variable if is_unused else None,
    )
    return replace(route, authorities=_authorities(endpoint, environ)) if route.is_encrypted else route


def tls_error(error: aiohttp.ClientSSLError) -> ProviderError:
    """The error for a server whose TLS or certificate is not accepted. It says what is wrong and what to do."""
    if not isinstance(error, aiohttp.ClientConnectorCertificateError):
        words = f"{error.strerror or error}; does the server speak TLS at this port?"
        return ProviderError(Reason.CONNECTION, words, should_retry=False)
    cause = error.certificate_error
    what = getattr(cause, "verify_message", None) or str(cause)
    match getattr(cause, "verify_code", None):
        case 9 | 10:  # not yet valid, expired
            advice = "the certificate has to be renewed, or the clock of this computer is wrong"
        case 62 | 64:  # another host name, another address
            advice = "use a name in base_url that the certificate has"
        case _:
            advice = "its CA is not trusted here; name its file in the provider's ca_file or in SSL_CERT_FILE"
    return ProviderError(Reason.TLS, f"{what}: {advice}", should_retry=False)


@cache
def _trusting(authorities: tuple[str, ...]) -> ssl.SSLContext:
    """A context that trusts the system's authorities and these files and folders.

    It is not `ssl.create_default_context`: since Python 3.13 that refuses certificates which many companies use.
    """
    if sys.platform == "darwin" or sys.platform == "win32":
        import truststore

        # On Linux it would read all authorities again for every connection, which blocks for 40 ms.
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        if not _has_system_store(context):
            context.load_verify_locations(next(filter(_is_file, _SYSTEM_FILES), certifi.where()))
    for path in authorities:
        context.load_verify_locations(*((None, path) if Path(path).is_dir() else (path,)))
    return context


def _has_system_store(context: ssl.SSLContext) -> bool:
    folder = ssl.get_default_verify_paths().capath  # its files are read when one is needed
    return context.cert_store_stats()["x509_ca"] > 0 or bool(folder and any(Path(folder).glob("*.[0-9]")))


def _is_file(path: str) -> bool:
    return Path(path).is_file()


def _authorities(endpoint: Endpoint, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The files and folders of authorities that the entry and the environment name; a stale variable is ignored."""
    named = (
        path for name in CA_VARIABLES for path in environ.get(name, "").split(":" if name.endswith("DIR") else "\0")
    )
    found = tuple(path for path in named if path and _is_readable(path))
    if endpoint.ca_file is None:
        return found
    own = str(Path(endpoint.ca_file).expanduser())
    if not _is_readable(own):
        raise ProviderError(
            Reason.TLS, f"the ca_file of provider {endpoint.name} holds no PEM certificate", should_retry=False
        )
    return (own, *found)


def _is_readable(path: str) -> bool:
    """Whether a file holds certificates; a folder is read when it is needed."""
    if Path(path).is_dir():
        return True
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):
        return False
    return True


def _socket(path: str) -> str:
    if sys.platform == "win32":
        raise ProviderError(Reason.CONNECTION, "Unix sockets are not known on Windows", should_retry=False)
    return path


def _proxy(url: SplitResult, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that names a proxy for this URL, and the proxy's own URL; empty texts if there is none.

    As in curl and Python, a variable in lower case counts more, and ALL_PROXY is for what has none of its own.
    """
    if _goes_directly(url, _either(environ, "no_proxy")[1]):
        return "", ""
    found = (_either(environ, f"{kind}_proxy") for kind in (url.scheme, "all"))
    variable, proxy = next((pair for pair in found if pair[1]), ("", ""))
    return variable, proxy if "://" in proxy or not proxy else f"http://{proxy}"


def _goes_directly(url: SplitResult, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host: as `*`, a host, a domain with all below it, or a block of addresses."""
    host = url.hostname or ""
    entries = [entry.strip().lower() for entry in no_proxy.split(",") if entry.strip()]
    if not {"*", host, url.netloc.lower()}.isdisjoint(entries):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return any(host.endswith(f".{entry.lstrip('*.')}") for entry in entries)
    return any(address in block for block in map(_block, entries) if block)


def _block(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _either(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    spelled = name if environ.get(name) else name.upper()
    return spelled, environ.get(spelled, "").strip()


def proxy_of(route: Route) -> httpx.Proxy | None:
    """The proxy of a route, for a transport."""
    return httpx.Proxy(route.proxy) if route.proxy else None
