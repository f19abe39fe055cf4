"""`scripts/live` asks nothing without --yes, finds nothing where all is as expected, and reports what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moa_mcp.domain.endpoints import BUILTIN, split_model
from moa_mcp.domain.errors import InvalidRequest
from scripts import live
from tests.cli.fixtures import write_home
from tests.upstream import Fault, Reply, Request, Script, upstream_thread
from tests.upstream.scripts import Answer

Capture = pytest.CaptureFixture[str]
KEY = "sk-lab-0123456789"
GOOD = Reply("6 times 7 is 42.", model="owl-2026-01-01", input_tokens=20, output_tokens=10)


def provider(reply: Answer) -> Script:
    """A provider as it is expected, except for its reply to the panel."""

    def answer(request: Request) -> Answer:
        if request.headers["authorization"] != f"Bearer {KEY}":
            return Fault.status(401, message="Incorrect API key provided.")
        if request.model != "owl":
            return Fault.status(404, message=f"The model `{request.model}` does not exist")
        return Fault.endless_tokens(every=0.01) if request.question == live.LONG_QUESTION else reply

    return answer


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of `lab`."""
    monkeypatch.setenv("LAB_API_KEY", KEY)


def ask(script: Script, *arguments: str) -> tuple[int, list[Request]]:
    """Run it on the provider `lab`; return its exit code and the requests that asked a model."""
    with upstream_thread(script, models=("owl",)) as upstream:
        config = write_home(upstream.base_url) / "config.yaml"
        prices = "prices: {owl: {input_mtok: 1, output_mtok: 4}}}"
        config.write_text(config.read_text("utf-8").replace("LAB_API_KEY}", f"LAB_API_KEY, {prices}"), "utf-8")
        code = live.live.main(["-m", "lab/owl", *arguments], standalone_mode=False)
        upstream.until(lambda seen: seen.open == 0)  # the cancelled call, too
        return code, [request for request in upstream.requests if request.method == "POST"]


def test_without_yes_it_names_the_price_and_sends_nothing(capsys: Capture) -> None:
    code, requests = ask(provider(GOOD))

    assert (code, requests) == (0, [])
    assert "lab/owl: at most $0.0088" in capsys.readouterr().out


def test_a_provider_as_expected_has_no_differences_and_its_long_answer_is_stopped(capsys: Capture) -> None:
    code, requests = ask(provider(GOOD), "--yes")

    assert code == 0
    assert len(requests) == 6
    assert capsys.readouterr().out.splitlines()[-1].endswith("· as expected")


def test_what_differs_is_reported(capsys: Capture) -> None:
    costly = {"prompt_tokens": 20, "completion_tokens": 10, "cost": 0.1}
    code, _ = ask(provider(replace(GOOD, model="hare", finish_reason="length", usage_report=costly)), "--yes")

    assert code == 1
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "  finish reason: length",
        "  served model: hare",
        "  price: $0.100000 for a call, where the price table says $0.000060",
    ]


def test_a_provider_that_reports_no_usage_and_answers_any_key_and_any_model_is_reported(capsys: Capture) -> None:
    code, _ = ask(lambda _: replace(GOOD, input_tokens=None), "--yes")

    assert code == 1
    assert {line.strip() for line in capsys.readouterr().out.splitlines()} >= {
        "usage: not reported",
        "wrong model id: it was answered",
        "wrong key: it was answered",
    }


def test_without_a_key_it_names_the_variables() -> None:
    with pytest.raises(InvalidRequest, match="OPENAI_API_KEY"):
        live.live.main([], standalone_mode=False)


def test_the_models_to_ask_are_of_built_in_providers_that_need_a_key_each_once() -> None:
    assert [split_model(model)[0] for model in live.MODELS] == [
        name for name, endpoint in BUILTIN.items() if endpoint.api_key_env
    ]
