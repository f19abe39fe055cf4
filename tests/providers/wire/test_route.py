"""A provider is reached over TLS, through a proxy or through a Unix socket, or it is said why not."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from moa_mcp.config.settings import settings_from
from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.wire.route import route_to
from tests.upstream import Upstream
from tests.upstream.relay import behind_socket, behind_tls

MakeCall = Callable[..., Call]

_CA = trustme.CA(organization_name="moa-mcp", organization_unit_name="Tests")
_HASH = "209ee450"
"""The hash of that name, under which OpenSSL looks for the file of the authority in a folder."""


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """The file of a certificate authority that no system knows."""
    file = tmp_path / "company.pem"
    _CA.cert_pem.write_to_path(str(file))
    return file


def certified(*names: str, until: datetime | None = None) -> ssl.SSLContext:
    """A server's context, with a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Its stubs name a type of pyOpenSSL, which is not there.
    _CA.issue_cert(*names, not_after=until).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


async def ask(
    call: Call, endpoint: Endpoint, environ: dict[str, str] | None = None, *, use_proxy_env: bool = False
) -> None:
    registry = Registry({"lab": endpoint}, environ or {}, use_proxy_env=use_proxy_env)
    try:
        await registry.complete(call, ignore_text)
    finally:
        await registry.aclose()


async def refusal(call: Call, endpoint: Endpoint, environ: dict[str, str] | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await ask(call, endpoint, environ, use_proxy_env=True)
    return caught.value


async def test_a_private_ca_is_trusted_where_the_configuration_names_it(make_call: MakeCall, ca_file: Path) -> None:
    async with Upstream() as upstream, behind_tls(upstream, certified("localhost")) as url:
        await ask(make_call(), Endpoint("lab", url, ca_file=str(ca_file)))

        assert len(upstream.requests) == 1


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"])
async def test_a_private_ca_is_trusted_where_the_environment_names_its_file(
    make_call: MakeCall, ca_file: Path, variable: str
) -> None:
    async with Upstream() as upstream, behind_tls(upstream, certified("localhost")) as url:
        await ask(make_call(), Endpoint("lab", url), {variable: str(ca_file), "SSL_CERT_DIR": "/nowhere"})

        assert len(upstream.requests) == 1


async def test_a_private_ca_is_trusted_where_the_environment_names_its_folder(
    make_call: MakeCall, ca_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "hashed"
    folder.mkdir()
    (folder / f"{_HASH}.0").write_bytes(ca_file.read_bytes())
    async with Upstream() as upstream, behind_tls(upstream, certified("localhost")) as url:
        await ask(make_call(), Endpoint("lab", url), {"SSL_CERT_DIR": f"/nowhere:{folder}"})

        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("names", "until", "trusts", "advice"),
    [
        (("localhost",), None, False, "its CA is not trusted here; name its file in the provider's ca_file"),
        (("elsewhere.example",), None, True, "use a name in base_url that the certificate has"),
        (("localhost",), datetime(2020, 1, 1, tzinfo=UTC), True, "the clock of this computer is wrong"),
    ],
    ids=["unknown authority", "another name", "expired"],
)
async def test_a_certificate_that_is_not_accepted_is_named_with_what_to_do_and_nothing_is_sent(
    make_call: MakeCall, ca_file: Path, names: tuple[str, ...], until: datetime | None, trusts: bool, advice: str
) -> None:
    async with Upstream() as upstream, behind_tls(upstream, certified(*names, until=until)) as url:
        error = await refusal(make_call(), Endpoint("lab", url, ca_file=str(ca_file) if trusts else None))

        assert upstream.requests == []
    assert (error.reason, error.should_retry, error.reached) == (Reason.TLS, False, False)
    assert advice in str(error)
    assert "check the network" not in str(error)


async def test_a_ca_file_without_a_certificate_is_told(make_call: MakeCall, tmp_path: Path) -> None:
    for file in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        error = await refusal(make_call(), Endpoint("lab", "https://localhost:1/v1", ca_file=str(file)))

        assert "ca_file of provider lab holds no PEM certificate" in str(error)
        (tmp_path / "empty.pem").write_text("nothing")


async def test_a_provider_is_asked_through_a_unix_socket(make_call: MakeCall, tmp_path: Path) -> None:
    async with Upstream() as upstream, behind_socket(upstream, tmp_path / "Lab.sock") as url:
        endpoint = settings_from(f'providers:\n  lab: {{base_url: "{url}"}}').endpoints["lab"]
        await ask(make_call(), endpoint)

        assert [request.path for request in upstream.requests] == ["/v1/chat/completions"]
    assert endpoint.local


LAB = Endpoint("lab", "https://lab.example/v1")
PLAIN = Endpoint("lab", "http://10.1.2.3:8000/v1")


@pytest.mark.parametrize(
    ("endpoint", "environ", "proxy"),
    [
        (LAB, {}, None),
        (LAB, {"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        (LAB, {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        (LAB, {"HTTPS_PROXY": "http://upper", "https_proxy": "http://lower"}, "http://lower"),
        (LAB, {"HTTP_PROXY": "http://proxy"}, None),
        (LAB, {"ALL_PROXY": "http://proxy"}, "http://proxy"),
        (LAB, {"ALL_PROXY": "socks5://proxy", "HTTPS_PROXY": "http://proxy"}, "http://proxy"),
        (LAB, {"ALL_PROXY": "socks5://proxy", "NO_PROXY": "lab.example"}, None),
        (PLAIN, {"HTTP_PROXY": "http://proxy"}, "http://proxy"),
        *((LAB, {"HTTPS_PROXY": "http://proxy", "NO_PROXY": no}, None) for no in ("*", "x, .example", "Lab.Example")),
        *((PLAIN, {"HTTP_PROXY": "http://proxy", "no_proxy": no}, None) for no in ("10.0.0.0/8", "10.1.2.3:8000")),
        (PLAIN, {"HTTP_PROXY": "http://proxy", "NO_PROXY": "example,,3"}, "http://proxy"),
    ],
)
def test_the_proxy_of_the_environment_is_taken_unless_no_proxy_names_the_host(
    endpoint: Endpoint, environ: dict[str, str], proxy: str | None
) -> None:
    assert route_to(endpoint, environ, use_proxy_env=True).proxy == proxy
    assert route_to(endpoint, environ).proxy is None


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
async def test_a_socks_proxy_is_refused_in_words_and_never_gone_around(make_call: MakeCall, variable: str) -> None:
    error = await refusal(make_call(), LAB, {variable: "socks5h://user:secret@127.0.0.1:1080"})

    assert f"{variable} names a socks5h proxy, and only HTTP proxies are known here" in str(error)
    assert "secret" not in str(error)
    assert error.should_retry is False


async def test_a_provider_that_cannot_be_reached_is_told_with_the_proxy_that_is_not_used(make_call: MakeCall) -> None:
    nowhere = Endpoint("lab", "http://192.0.2.1.invalid:1/v1")
    with pytest.raises(ProviderError) as caught:
        await ask(make_call(), nowhere, {"HTTP_PROXY": "http://proxy:3128"})

    assert "HTTP_PROXY is set, but network.use_proxy_env is not" in str(caught.value)
