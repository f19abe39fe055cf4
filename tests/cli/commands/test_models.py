"""`moa-mcp models`: what providers offer now, each with its window and price; a failure is a line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moa_mcp.cli.group import run
from tests.upstream import Fault, upstream_thread

Capture = pytest.CaptureFixture[str]

OPENROUTER: Mapping[str, Mapping[str, Any]] = {
    "qwen/qwen3-coder": {"context_length": 262144, "pricing": {"prompt": "0.00000022", "completion": "0.00000095"}},
    "maker/priced": {"context_length": 8192, "pricing": {"prompt": "0.001", "completion": "0.001"}},
    "maker/plain": {},
}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of `lab`."""
    monkeypatch.setenv("LAB_API_KEY", "sk-lab-0123456789")


def declare(**providers: str) -> None:
    """Write config.yaml with these providers, and with the built-in local servers where nothing listens."""
    home = Path(os.environ["MOA_MCP_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    nowhere = dict.fromkeys(("ollama", "lmstudio", "vllm"), "base_url: http://127.0.0.1:9/v1")
    entries = (f"  {name}: {{{entry}}}\n" for name, entry in {**nowhere, **providers}.items())
    (home / "config.yaml").write_text("providers:\n" + "".join(entries), encoding="utf-8")


def test_each_model_has_its_window_and_the_price_that_holds_for_it(capsys: Capture) -> None:
    with upstream_thread(models=OPENROUTER) as upstream:
        prices = "prices: {maker/priced: {input_mtok: 2, output_mtok: 3}}"
        declare(lab=f"base_url: {upstream.base_url}, api_key_env: LAB_API_KEY, {prices}")

        assert run(["models", "lab"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "lab · 3 models",
        "    WINDOW   IN $/M  OUT $/M  MODEL",
        "         -        -        -  lab/maker/plain",
        "     8,192        2        3  lab/maker/priced",
        "   262,144     0.22     0.95  lab/qwen/qwen3-coder",
    ]


def test_one_that_fails_is_a_line_and_the_others_are_listed_and_no_key_is_shown(capsys: Capture) -> None:
    refused = Fault.status(401, message="Invalid key sk-lab-0123456789")
    with (
        upstream_thread(models=refused) as closed,
        upstream_thread(models=Fault.status(404)) as listless,
        upstream_thread(models=("small",)) as box,
    ):
        declare(
            closed=f"base_url: {closed.base_url}, api_key_env: LAB_API_KEY",
            listless=f"base_url: {listless.base_url}, api_key_env: LAB_API_KEY",
            box=f"base_url: {box.base_url}",
        )

        assert run(["models"]) == 0
        assert run(["models", "closed"]) == 1
    out, err = capsys.readouterr()
    said = " ".join(out.split())
    assert "closed: the provider refused the key; check the value of its key variable" in said
    assert "(Invalid key [key]; the key is in LAB_API_KEY)" in said
    assert "listless: it does not list its models (HTTP 404)" in said
    assert "- free free box/small" in said
    assert "mistral (MISTRAL_API_KEY)" in " ".join(err.split())
    assert "Not running: ollama, lmstudio, vllm." in err


def test_a_long_list_is_shortened_unless_its_provider_is_named(capsys: Capture) -> None:
    with upstream_thread(models=[f"m{n:03}" for n in range(321)]) as upstream:
        declare(box=f"base_url: {upstream.base_url}")
        run(["models"])
        short = capsys.readouterr().out.splitlines()
        run(["models", "box"])
        whole = capsys.readouterr().out.splitlines()

    assert (len(short), short[-1]) == (23, "301 more: moa-mcp models box, or --search TEXT")
    assert len(whole) == 323


def test_models_are_found_by_all_the_words_in_their_ids(capsys: Capture) -> None:
    with upstream_thread(models=OPENROUTER) as upstream:
        declare(box=f"base_url: {upstream.base_url}")
        run(["models", "--search", "CODER box"])
        found = capsys.readouterr().out
        run(["models", "--search", "nothing"])

    assert [line.split()[-1] for line in found.splitlines()] == ["model", "MODEL", "box/qwen/qwen3-coder"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "No id of a model has all of these words: nothing" in err


def test_json_has_the_same_facts_and_where_a_price_is_from(capsys: Capture) -> None:
    with upstream_thread(models=OPENROUTER) as upstream:
        declare(lab=f"base_url: {upstream.base_url}, api_key_env: LAB_API_KEY")
        run(["models", "lab", "--json", "--search", "qwen"])

    assert json.loads(capsys.readouterr().out) == [
        {
            "provider": "lab",
            "error": None,
            "models": [
                {
                    "model": "lab/qwen/qwen3-coder",
                    "window": 262144,
                    "price": {
                        "input_mtok": 0.22,
                        "output_mtok": 0.95,
                        "cache_read_mtok": None,
                        "cache_write_mtok": None,
                    },
                    "price_from": "provider",
                }
            ],
        }
    ]


def test_the_price_table_prices_what_a_list_does_not(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-0123456789")
    with upstream_thread(models=("gpt-4o-mini",)) as upstream:
        declare(openai=f"base_url: {upstream.base_url}, api_key_env: OPENAI_API_KEY")
        run(["models", "openai"])

    assert capsys.readouterr().out.splitlines()[-1].split() == ["-", "0.15", "0.6", "openai/gpt-4o-mini"]


@pytest.mark.parametrize(
    ("provider", "reason"),
    [
        ("lap", "There is no provider 'lap'. Known, nearest first: lab, "),
        ("demo", "Provider 'demo' has no address"),
    ],
)
def test_what_lists_no_models_is_refused_with_a_reason(provider: str, reason: str, capsys: Capture) -> None:
    declare(lab="base_url: http://127.0.0.1:9/v1")

    assert run(["models", provider]) == 2
    assert reason in capsys.readouterr().err


def test_a_provider_without_its_key_is_not_asked(capsys: Capture) -> None:
    declare()

    assert run(["models", "openai"]) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().out
