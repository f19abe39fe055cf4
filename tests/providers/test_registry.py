"""Calls reach their endpoints with their keys, or are not sent at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio
import pytest

from moa_mcp.domain.endpoints import BUILTIN, Endpoint
from moa_mcp.domain.errors import InvalidRequest, MissingKey, ProviderError, Reason
from moa_mcp.domain.model import Call
from moa_mcp.domain.sampling import FrozenDict
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.registry import Registry
from tests import clock
from tests.results import as_draft
from tests.upstream import Fault, Upstream, in_turn

OpenLab = Callable[..., AbstractAsyncContextManager[Registry]]


async def test_each_call_goes_to_the_endpoint_that_its_model_names_with_that_ones_key(
    make_call: Callable[..., Call],
) -> None:
    async with Upstream() as one, Upstream() as two:
        endpoints = {
            "one": Endpoint("one", one.base_url, api_key_env="ONE_KEY"),
            "two": Endpoint("two", two.base_url, "anthropic", api_key_env="TWO_KEY"),
        }
        registry = Registry(endpoints, {"ONE_KEY": "sk-1", "TWO_KEY": "sk-2"})
        await registry.complete(make_call(model="one/maker/owl"), ignore_text)
        await registry.complete(make_call(model="two/lynx"), ignore_text)
        await registry.aclose()

        assert [(r.model, r.headers.get("authorization")) for r in one.requests] == [("maker/owl", "Bearer sk-1")]
        assert [(r.model, r.headers.get("x-api-key")) for r in two.requests] == [("lynx", "sk-2")]


async def test_the_demo_answers_without_a_network(make_call: Callable[..., Call]) -> None:
    draft = as_draft(await Registry(BUILTIN, {}).complete(make_call(model="demo/owl"), ignore_text))

    assert "no model was called" in draft.text
    assert draft.usage.cost_usd == 0.0


async def test_an_unknown_dialect_is_refused_with_the_known_ones_and_nothing_is_sent(
    make_call: Callable[..., Call],
) -> None:
    async with Upstream() as upstream:
        registry = Registry({"lab": Endpoint("lab", upstream.base_url, "opnai")}, {})
        with pytest.raises(ProviderError) as caught:
            await registry.complete(make_call(model="lab/owl"), ignore_text)

        assert upstream.connections == []
    assert "There is no dialect 'opnai'. Known, nearest first: 'openai', " in str(caught.value)


@pytest.mark.parametrize(
    ("key", "reason"), [("", Reason.MISSING_KEY), (" ", Reason.MISSING_KEY), ("sk 1", Reason.AUTH)]
)
async def test_a_call_without_a_good_key_is_never_sent(
    make_call: Callable[..., Call], open_lab: OpenLab, key: str, reason: Reason
) -> None:
    async with Upstream() as upstream, open_lab(upstream.base_url, key=key) as lab:
        with pytest.raises(ProviderError) as caught:
            await lab.complete(make_call(), ignore_text)

        assert upstream.connections == []
    assert caught.value.reason is reason
    assert "LAB_KEY" in str(caught.value)


async def test_a_call_to_no_declared_provider_fails_and_says_so(make_call: Callable[..., Call]) -> None:
    with pytest.raises(ProviderError) as caught:
        await Registry({}, {}).complete(make_call(), ignore_text)

    assert caught.value.reason is Reason.UNKNOWN_MODEL
    assert "'lab'" in str(caught.value)


async def test_an_endpoint_gets_no_more_calls_at_a_time_than_it_allows(
    make_call: Callable[..., Call], open_lab: OpenLab
) -> None:
    async with Upstream() as upstream, open_lab(upstream.base_url, max_concurrency=2) as lab:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as calls:
                for _ in range(8):
                    calls.start_soon(lab.complete, make_call(), ignore_text)

        assert (len(upstream.requests), upstream.ledger.peak_in_flight) == (8, 2)


async def test_a_call_waits_for_its_turn_without_using_up_its_time(
    make_call: Callable[..., Call], open_lab: OpenLab
) -> None:
    reasons: list[Reason] = []

    async def ask(lab: Registry) -> None:
        try:
            await lab.complete(make_call(timeout_seconds=0.1), ignore_text)
        except ProviderError as error:
            reasons.append(error.reason)

    async with Upstream(in_turn(Fault.hang())) as upstream:
        async with open_lab(upstream.base_url, max_concurrency=1) as lab, anyio.create_task_group() as calls:
            for _ in range(3):
                calls.start_soon(ask, lab)

        assert (reasons, len(upstream.requests)) == ([Reason.TIMEOUT] * 3, 3)


def test_a_model_is_usable_when_its_provider_is_known_and_its_key_is_set() -> None:
    registry = Registry(BUILTIN, {"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": " "})
    models = ("openai/owl", "groq/owl", "ollama/owl", "demo/owl", "nowhere/owl")

    assert [registry.is_usable(model) for model in models] == [True, False, True, True, False]
    assert [registry.missing_key(model) for model in models] == [None, "GROQ_API_KEY", None, None, None]


def test_every_missing_key_is_named_at_once() -> None:
    models = ("openai/owl", "groq/a", "groq/b", "mistral/owl", "demo/owl")

    with pytest.raises(MissingKey) as caught:
        Registry(BUILTIN, {"OPENAI_API_KEY": "sk-1"}).check_usable(models)

    assert caught.value.variables == ("GROQ_API_KEY", "MISTRAL_API_KEY")


def test_a_provider_that_is_not_declared_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidRequest, match=r"'opnrouter'.*nearest first: openrouter, "):
        Registry(BUILTIN, {}).check_usable(["opnrouter/maker/owl"])


def test_a_placeholder_that_a_client_did_not_expand_is_a_missing_key_and_told() -> None:
    registry = Registry(BUILTIN, {"OPENROUTER_API_KEY": "${OPENROUTER_API_KEY}"})

    assert not registry.is_usable("openrouter/maker/owl")
    with pytest.raises(MissingKey, match=r"OPENROUTER_API_KEY holds the placeholder \$\{OPENROUTER_API_KEY\}: your"):
        registry.check_usable(["openrouter/maker/owl"])


def test_models_that_could_all_be_asked_pass() -> None:
    Registry(BUILTIN, {"GROQ_API_KEY": "sk-1"}).check_usable(["groq/owl", "demo/owl"])


@clock.jumping
async def test_a_local_endpoint_that_answers_tells_its_own_names_of_its_models() -> None:
    async with Upstream(models=("owl", "maker/lynx")) as upstream:
        registry = Registry({"ollama": Endpoint("ollama", upstream.base_url, local=True)}, {})
        models = await registry.local_models("ollama")
        await registry.aclose()

    assert models == ["owl", "maker/lynx"]


async def test_a_local_endpoint_where_nobody_listens_has_no_models() -> None:
    async with Upstream() as upstream:
        gone = upstream.base_url
    registry = Registry({"ollama": Endpoint("ollama", gone, local=True)}, {})

    assert await registry.local_models("ollama") == []
    await registry.aclose()


@clock.jumping
async def test_a_local_endpoint_that_does_not_answer_is_not_waited_for() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as silent:
        port = silent.extra(anyio.abc.SocketAttribute.local_port)
        registry = Registry({"ollama": Endpoint("ollama", f"http://127.0.0.1:{port}/v1", local=True)}, {})
        started = anyio.current_time()
        assert await registry.local_models("ollama") == []
        assert anyio.current_time() - started == 0.5
        await registry.aclose()


async def test_closing_closes_every_connection(make_call: Callable[..., Call], open_lab: OpenLab) -> None:
    async with Upstream() as upstream:
        async with open_lab(upstream.base_url) as lab:
            await lab.complete(make_call(), ignore_text)
            assert [connection.closed_at for connection in upstream.connections] == [None]
        with anyio.fail_after(5):
            await upstream.until_closed()


def test_importing_the_registry_loads_no_http_client_and_no_price_table() -> None:
    heavy = "{'httpx', 'httpx_aiohttp', 'aiohttp', 'genai_prices', 'mcp'}"
    program = f"import sys, moa_mcp.providers.registry; sys.exit(not {heavy}.isdisjoint(sys.modules))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_a_list_of_models_that_is_refused_names_the_variable_and_not_the_key(open_lab: OpenLab) -> None:
    refused = Fault.status(401, message="Incorrect API key provided: sk-lab-secret")
    async with Upstream(models=refused) as upstream, open_lab(upstream.base_url) as registry:
        with pytest.raises(ProviderError) as caught:
            await registry.served_models("lab")

        assert caught.value.full_detail == "Incorrect API key provided: [key]; the key is in LAB_KEY"


async def test_all_models_of_anthropic_are_asked_for_with_the_query_of_the_endpoint(open_lab: OpenLab) -> None:
    async with Upstream() as upstream, open_lab(upstream.base_url, "anthropic", query=FrozenDict({"a": "b"})) as lab:
        listed = await lab.served_models("lab")

        assert [model.name for model in listed] == ["test-model"]
        assert [request.query for request in upstream.requests] == ["limit=1000&a=b"]


async def test_a_local_server_whose_key_is_not_set_lists_no_models() -> None:
    registry = Registry({"box": Endpoint("box", "http://127.0.0.1:9/v1", api_key_env="BOX_KEY", local=True)}, {})

    assert await registry.local_models("box") == []
