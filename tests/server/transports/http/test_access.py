"""Who is let in over HTTP: by which name, from which page, with which token, how often."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from starlette.responses import Response

from moa_mcp.domain.errors import InvalidRequest
from moa_mcp.server.transports.http.access import AccessControl, RateLimit, RequestLimits
from moa_mcp.server.transports.http.options import HttpOptions, parse_tokens
from moa_mcp.service.service import LOCAL

ANNE, BEN = "anne-0123456789abcdef", "ben-0123456789abcdef"
TOKENS = {"anne": ANNE, "ben": BEN}


def checked(options: HttpOptions, **named: str) -> str | int:
    """The owner, or the status of the refusal."""
    access, headers = AccessControl(options, lambda: 0.0), {"host": "127.0.0.1:8000", **named}
    result = access.refuse(headers) or access.owner(headers)
    return result.status_code if isinstance(result, Response) else result


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "127.0.0.1"])
def test_on_loopback_its_own_names_are_served(host: str) -> None:
    assert checked(HttpOptions(), host=host) == LOCAL


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", "evil.example", "evil.example:8000", "127.0.0.1.evil.example:8000", "localhost.evil.example"),
        *("127.0.0.1:1@evil.example", "evil.example@127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999"),
        *("127.0.0.1:8000/", "127.0.0.1 evil", "[::1", "::1", "0.0.0.0:8000", "127.0.0.1,evil", "localhost."),
    ],
)
def test_any_other_name_is_misdirected(host: str) -> None:
    assert checked(HttpOptions(), host=host) == 421


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8000", "http://localhost", "https://localhost:6274", "http://[::1]:1"]
)
def test_pages_of_this_machine_are_served(origin: str) -> None:
    assert checked(HttpOptions(), origin=origin) == LOCAL


@pytest.mark.parametrize(
    "origin",
    [
        *("", "null", "http://evil.example", "http://localhost.evil.example:80", "http://127.0.0.1:1@evil.example"),
        *("http://evil.example@127.0.0.1", "http://127.0.0.1:8000/", "http://127.0.0.1:8000?x", "file://127.0.0.1"),
        *("127.0.0.1:8000", "http://", "http://127.0.0.1:8000 http://evil.example", "http://127.0.0.1\\@evil"),
    ],
)
def test_pages_from_elsewhere_are_forbidden(origin: str) -> None:
    assert checked(HttpOptions(), origin=origin) == 403


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("moa.lan", True),
        ("moa.lan:9", True),
        ("MOA.lan", True),
        ("other.lan:81", True),
        ("other.lan:82", False),
        ("other.lan", False),
        ("127.0.0.1:8000", False),
    ],
)
def test_elsewhere_only_the_allowed_names_are_served(host: str, served: bool) -> None:
    options = HttpOptions(host="0.0.0.0", tokens=TOKENS, allowed_hosts=["moa.lan", "other.lan:81"])
    options.check()

    assert checked(options, host=host, authorization=f"Bearer {ANNE}") == ("anne" if served else 421)


@pytest.mark.parametrize(
    ("authorization", "result"),
    [
        (f"Bearer {ANNE}", "anne"),
        (f"bearer {BEN}", "ben"),
        (f"Bearer {ANNE}x", 401),
        (f"Bearer {ANNE[:-1]}", 401),
        (f"Basic {ANNE}", 401),
        (ANNE, 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer \udcff", 401),
    ],
)
def test_a_token_names_the_owner_of_the_runs(authorization: str, result: str | int) -> None:
    assert checked(HttpOptions(tokens=TOKENS), authorization=authorization) == result


def test_the_answer_to_a_request_without_a_token_asks_for_a_bearer_token() -> None:
    refused = AccessControl(HttpOptions(tokens=TOKENS), lambda: 0.0).owner({})

    assert isinstance(refused, Response)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="moa-mcp"')


def test_a_request_of_a_panel_is_refused() -> None:
    assert checked(HttpOptions(), **{"x-moa-depth": "1"}) == 508
    assert checked(HttpOptions(), **{"x-moa-depth": "0"}) == LOCAL


def test_each_owner_has_so_many_requests_a_minute() -> None:
    now = 0.0
    rate = RateLimit(60, lambda: now)

    assert [rate.wait("anne") for _ in range(8)] == [0] * 6 + [1] * 2
    assert rate.wait("ben") == 0
    now = 1.5
    assert [rate.wait("anne") for _ in range(2)] == [0, 1]


def begun(request_limits: RequestLimits, tasks: ExitStack, owner: str, *, stream: bool = False) -> int | None:
    """Begin a request that goes on as long as `tasks`; the status of the refusal, None if it is served."""
    refused = tasks.enter_context(request_limits.hold(owner, stream=stream))
    return refused.status_code if refused else None


def test_no_owner_takes_all_requests_and_no_streams_take_all_of_an_owners() -> None:
    request_limits = RequestLimits(8)
    with ExitStack() as anne, ExitStack() as ben:
        assert [begun(request_limits, anne, "anne", stream=True) for _ in range(5)] == [None] * 4 + [429]
        assert [begun(request_limits, anne, "anne") for _ in range(3)] == [None] * 2 + [429]
        assert [begun(request_limits, ben, "ben") for _ in range(3)] == [None] * 2 + [503]
        anne.close()
        assert [begun(request_limits, ben, "ben", stream=True) for _ in range(5)] == [None] * 4 + [429]
    assert begun(request_limits, ExitStack(), "anne", stream=True) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("anne=${ANNES_LONG_TOKEN}", "the token of anne is a placeholder"),
        ("anne", "name=token"),
        ("=0123456789abcdef", "name=token"),
        ("an ne=0123456789abcdef", "name=token"),
        ("anne=hush", "at least 16"),
        ("anne=0123456789 abcdef", "at least 16"),
        ("anne=0123456789abcdef,anne=fedcba9876543210", "twice"),
        ("anne=0123456789abcdef,ben=0123456789abcdef", "twice"),
    ],
)
def test_weak_tokens_are_refused_without_showing_them(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as refused:
        parse_tokens(text)
    assert not [pair for pair in text.split(",") if (token := pair.partition("=")[2]) and token in str(refused.value)]


def test_tokens_are_pairs_with_commas_between_them() -> None:
    assert parse_tokens(f" anne={ANNE}, ben={BEN}= ,") == {"anne": ANNE, "ben": f"{BEN}="}
    assert parse_tokens("") == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (HttpOptions(host="0.0.0.0", allowed_hosts=["moa.lan"]), "MOA_MCP_TOKENS"),
        (HttpOptions(host="::", tokens=TOKENS), "--allowed-host"),
        (HttpOptions(host="moa.lan", tokens=TOKENS), "--allowed-host"),
        (HttpOptions(allowed_hosts=["http://moa.lan"]), "no name of a host"),
        (HttpOptions(tokens={"anne": ANNE, "local": BEN}), "Choose another name"),
    ],
)
def test_what_would_let_strangers_in_does_not_start(options: HttpOptions, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        options.check()
