"""What a person may say of a provider, and what is refused with file, line and the key that was meant."""

from __future__ import annotations

import pytest

from moa_mcp.config.settings import settings_from
from moa_mcp.domain.endpoints import Endpoint, ModelPrice
from moa_mcp.domain.errors import InvalidConfig
from moa_mcp.domain.sampling import Sampling

EVERY_KEY = """\
providers:
  lab:
    base_url: https://lab.example/v1
    api_key_env: LAB_KEY
    auth: api-key
    headers: {X-Team: "${TEAM} of $PLACE", X-Price: "$$5"}
    query: {api-version: 2024-10-21, retries: 3}
    extra_body: {provider: {order: [a], sort: price}}
    models: {owl: {top_k: 20, stop: END, extra_body: {provider: {sort: speed}}}}
    prices: {owl: {input_mtok: 1, output_mtok: 2.5, cache_read_mtok: 0.1}}
    stream: false
    first_token_seconds: 300
    ca_file: /etc/company.pem
    local: true
"""


def provider(line: str, base_url: str = "https://lab.example/v1") -> Endpoint:
    return settings_from(f"providers:\n  lab:\n    base_url: {base_url}\n    {line}\n").endpoints["lab"]


def refusal(line: str, base_url: str = "https://lab.example/v1") -> str:
    with pytest.raises(InvalidConfig) as refused:
        provider(line, base_url)
    return str(refused.value)


def test_every_key_reaches_the_endpoint() -> None:
    lab = settings_from(EVERY_KEY).endpoints["lab"]

    assert lab.variables == ("LAB_KEY", "TEAM", "PLACE")
    assert lab.query == {"api-version": "2024-10-21", "retries": "3"}
    assert lab.prices == {"owl": ModelPrice(1, 2.5, 0.1)}
    assert (lab.auth, lab.stream, lab.first_token_seconds, lab.local) == ("api-key", False, 300, True)
    assert (lab.ca_file, {lab: "it is a key"}[lab]) == ("/etc/company.pem", "it is a key")


def test_the_settings_of_a_call_win_over_those_of_its_model_and_these_over_those_of_its_provider() -> None:
    lab = settings_from(EVERY_KEY).endpoints["lab"]
    asked = lab.sampling("owl", Sampling(top_k=5, extra_body={"provider": {"order": ["b"]}}))  # type: ignore[arg-type]

    assert (asked.top_k, asked.stop) == (5, ("END",))
    assert asked.extra_body == {"provider": {"order": ["b"], "sort": "speed"}}
    assert lab.sampling("lynx", None).extra_body == {"provider": {"order": ["a"], "sort": "price"}}


def test_an_entry_for_a_built_in_provider_keeps_what_it_does_not_name() -> None:
    settings = settings_from("providers: {openrouter: {headers: {X-Title: moa}}, ollama: {first_token_seconds: 240}}")

    assert settings.endpoints["openrouter"].api_key_env == "OPENROUTER_API_KEY"
    assert settings.endpoints["ollama"].local


def test_a_persons_word_decides_what_is_free() -> None:
    keyed = "http://127.0.0.1:4000/v1\n    api_key_env: LAB_KEY"

    assert provider("local: true", keyed).local
    assert not provider("local: false", "http://127.0.0.1:4000/v1").local


@pytest.mark.parametrize("key", ["model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "tools"])
def test_what_moa_mcp_sets_itself_is_refused_in_an_extra_body(key: str) -> None:
    assert refusal(f"extra_body:\n      top_a: 1\n      {key}: 1").startswith(
        f"config.yaml, line 6: providers.lab.extra_body.{key}: extra_body may not have this key"
    )
    assert f"models.owl.extra_body.{key}: " in refusal(f"models: {{owl: {{extra_body: {{{key}: 1}}}}}}")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("x-team: ${lab", "this value has a $ that names no variable"),
        ("x-team: ${LAB_KEY:-none}", "this value has a $ that names no variable"),
        ("x-team: $1", "this value has a $ that names no variable"),
        ('x-team: "a\\nx-other: b"', "a header cannot carry this value"),
        ("x-team: é", "a header cannot carry this value"),
        ('"x team": a', "this is not the name of a header"),
        ("Host: a", "moa-mcp sets this header itself"),
        ("content-length: '3'", "moa-mcp sets this header itself"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(header: str, problem: str) -> None:
    message = refusal(f"headers:\n      {header}")

    assert message.startswith("config.yaml, line 5: providers.lab.headers.")
    assert problem in message


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("api_base", "base_url"),
        ("api_key", "api_key_env"),
        ("default_headers", "headers"),
        ("extra_headers", "headers"),
        ("default_query", "query"),
        ("api_version", "query"),
        ("proxy", "network.use_proxy_env"),
        ("price", "prices"),
        ("streaming", "stream"),
        ("free", "local"),
        ("timeout", "first_token_seconds"),
        ("ssl_verify", "ca_file"),
        ("max_parallel_requests", "max_concurrency"),
        ("custom_llm_provider", "dialect"),
    ],
)
def test_the_names_of_other_programs_lead_to_the_key_that_is_meant(key: str, meant: str) -> None:
    assert f"unknown key {key!r} (did you mean {meant!r}?)" in refusal(f"{key}: 1")


PRIVATE = [
    "192.168.1.7:8000", "10.0.0.1", "172.16.0.1", "100.64.0.9", "169.254.10.10", "[fd00::1]:80", "host.docker.internal",
    "box.local", "ollama:11434", "nas.lan",
]  # fmt: skip
PUBLIC = [
    "lab.example", "8.8.8.8", "0.0.0.0", "134744072", "0x8080808", "224.0.0.1", "[2001:4860:4860::8888]",
    "[::ffff:8.8.8.8]", "local.example", "127.0.0.1.evil.example", "10.1", "lab.local.example",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
def test_http_to_a_private_host_is_for_whom_allows_it(host: str) -> None:
    url = f"http://{host}/v1"

    assert provider("allow_http: true", f'"{url}"').base_url == url
    assert "or allow_http: true beside it, as this host is private" in refusal("max_concurrency: 2", f'"{url}"')


@pytest.mark.parametrize("host", PUBLIC)
def test_http_to_a_public_host_is_refused_whatever_is_allowed(host: str) -> None:
    message = refusal("allow_http: true", f'"http://{host}/v1"')

    assert message.startswith("config.yaml, line 3: providers.lab.base_url: http is for this computer only")
    assert "allow_http is for private hosts only" in message


@pytest.mark.parametrize("url", ["http+unix://run%2Flab.sock/v1", "http+unix:///run/lab.sock"])
def test_the_path_of_a_socket_is_absolute_and_quoted(url: str) -> None:
    assert "this path of a socket is not absolute" in refusal("max_concurrency: 2", url)


@pytest.mark.parametrize("line", ["ca_file: company.pem", "auth: basic", "first_token_seconds: 0", "headers: {a: 1}"])
def test_a_value_that_does_not_fit_is_refused(line: str) -> None:
    assert refusal(line).startswith(f"config.yaml, line 4: providers.lab.{line.partition(':')[0]}")
