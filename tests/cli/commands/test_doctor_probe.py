"""`moa-mcp doctor --probe`: each model is asked once in the way of a run, and what it answers is said."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from moa_mcp.api import open_service
from moa_mcp.cli.group import run
from moa_mcp.domain.spend import Spend
from moa_mcp.service.service import LOCAL
from tests.cli.fixtures import write_home
from tests.upstream import Fault, Reply, Request, upstream_thread
from tests.upstream.scripts import Answer

Capture = pytest.CaptureFixture[str]

PANEL = """\
proposers: [{model: lab/north, temperature: 0.7}, lab/south]
aggregator: {model: lab/chief, fallbacks: [lab/deputy]}
"""
PRICED = "prices: {north: {input_mtok: 1, output_mtok: 10}, chief: {input_mtok: 1, output_mtok: 10}}"

pytestmark = pytest.mark.usefixtures("key")


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of `lab`."""
    monkeypatch.setenv("LAB_API_KEY", "sk-lab-0123456789")


def answer(request: Request) -> Answer:
    """North is picky, the deputy is not there."""
    if request.model == "north" and "temperature" in request.body:
        return Fault.status(400, message="Unsupported parameter: 'temperature' is not supported with this model.")
    if request.model == "deputy":
        return Fault.status(404, message="The model `deputy` does not exist")
    usage = (None, None) if request.model == "south" else (12, 20)
    return Reply("one two three", model=f"{request.model}-2026", input_tokens=usage[0], output_tokens=usage[1])


def add_to_lab(home: Path, more: str) -> None:
    """Add keys to the provider `lab`."""
    config = home / "config.yaml"
    config.write_text(config.read_text("utf-8").replace("LAB_API_KEY}", f"LAB_API_KEY, {more}}}"), "utf-8")


async def spent_and_stored() -> tuple[Spend, int]:
    """What is booked for today, and the number of runs that are kept."""
    async with open_service() as service:
        return await service.store.spent(LOCAL), await service.store.count(LOCAL)


def sections(text: str) -> dict[str, str]:
    """What is said about each model, on one line, by its id."""
    found, model = dict[str, str](), ""
    for line in text.partition("Asking ")[2].splitlines():
        head = line[:8].strip()
        if head:
            model = line[8:].split(" · ")[0]
            found[model] = head
        elif line.strip():
            found[model] += f" {line.strip()}"
    return found


def test_it_says_the_price_first_and_then_what_works(capsys: Capture) -> None:
    with upstream_thread(answer, models=("north",)) as upstream:
        add_to_lab(write_home(upstream.base_url, PANEL), PRICED)

        assert run(["doctor", "--probe"]) == 0
        asked = sorted(request.model for request in upstream.ledger.requests if request.method == "POST")
    out = capsys.readouterr().out
    said = sections(out)
    first = " ".join(out.partition("Asking ")[2].split("works ")[0].split())
    assert first == "4 models to count to ten: at most $0.0103; no price is known for lab/south, lab/deputy."
    assert asked == ["chief", "deputy", "north", "north", "south"]
    assert said["lab/chief"] == (
        "works key accepted, model known, streamed, usage reported (12 tokens in, 20 out), window unknown, "
        "answered by chief-2026"
    )
    assert said["lab/north"].endswith("temperature was not sent: the model refuses it")
    assert "usage not reported" in said["lab/south"]
    assert "the provider does not know this model" in said["lab/deputy"]
    assert "panel works, but its fallbacks lab/deputy do not." in " ".join(out.split())


def test_a_model_that_the_preset_needs_and_that_does_not_answer_is_exit_code_1_and_no_key_is_shown(
    capsys: Capture,
) -> None:
    refused = Fault.status(401, message="Incorrect API key provided: sk-lab-0123456789")
    with upstream_thread(lambda _: refused) as upstream:
        write_home(upstream.base_url, PANEL)

        assert run(["doctor", "--probe"]) == 1
    out = capsys.readouterr().out
    assert "the key is in LAB_API_KEY" in sections(out)["lab/north"]
    assert "panel does not work as it should: it needs lab/chief, lab/north, lab/south." in " ".join(out.split())
    assert "0123456789" not in out


def test_it_is_booked_for_the_day_and_not_kept_as_a_run() -> None:
    with upstream_thread(answer) as upstream:
        home = write_home(upstream.base_url, "layers: 1\naggregator: lab/chief\n")
        add_to_lab(home, PRICED)
        run(["doctor", "--probe"])

    spent, stored = anyio.run(spent_and_stored)
    assert (spent.calls, spent.tokens, round(spent.usd, 6), stored) == (1, 32, 0.000212, 0)


def test_a_day_without_room_refuses_it_before_anything_is_sent(capsys: Capture) -> None:
    with upstream_thread(answer) as upstream:
        home = write_home(upstream.base_url, PANEL)
        with (home / "config.yaml").open("a", encoding="utf-8") as file:
            file.write("limits: {max_calls_per_day: 3}\n")

        assert run(["doctor", "--probe"]) == 2
        assert not any(request.method == "POST" for request in upstream.ledger.requests)
    assert "max_calls_per_day" in capsys.readouterr().err


def test_the_window_that_the_server_names_is_said(capsys: Capture) -> None:
    with upstream_thread(answer, models={"chief": {"max_model_len": 4096}}) as upstream:
        write_home(upstream.base_url, "layers: 1\naggregator: lab/chief\n")
        run(["doctor", "--probe"])

    assert "window 4,096" in sections(capsys.readouterr().out)["lab/chief"]


def test_another_preset_is_probed_by_its_name_and_only_with_the_flag(capsys: Capture) -> None:
    with upstream_thread(answer) as upstream:
        home = write_home(upstream.base_url, PANEL)
        (home / "presets" / "one.yaml").write_text("layers: 1\naggregator: lab/south\n", encoding="utf-8")

        assert run(["doctor", "--probe", "-p", "one"]) == 0
        assert [request.model for request in upstream.ledger.requests if request.method == "POST"] == ["south"]
    assert run(["doctor", "-p", "one"]) == 2
    assert "Add --probe" in capsys.readouterr().err


def test_the_model_of_embeddings_is_asked_too(capsys: Capture) -> None:
    with upstream_thread(answer) as upstream:
        home = write_home(upstream.base_url, "layers: 1\naggregator: lab/chief\n")
        with (home / "config.yaml").open("a", encoding="utf-8") as file:
            file.write("embeddings: lab/vectors\n")
        run(["doctor", "--probe"])

    assert "key accepted, model known, vectors of " in sections(capsys.readouterr().out)["lab/vectors"]


def test_a_model_whose_key_is_missing_is_named_and_the_others_are_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    with upstream_thread(answer) as upstream:
        write_home(upstream.base_url, "layers: 1\naggregator: {model: openai/gpt-5-mini, fallbacks: [lab/chief]}\n")

        assert run(["doctor", "--probe"]) == 2
    said = sections(capsys.readouterr().out)
    assert said["openai/gpt-5-mini"].startswith("unasked The panel (openai/gpt-5-mini) needs OPENAI_API_KEY")
    assert said["lab/chief"].startswith("works")


def test_a_model_that_only_thinks_up_to_the_limit_works(capsys: Capture) -> None:
    thinking = Reply("", thinking="Hm. " * 50, finish_reason="length")
    with upstream_thread(lambda _: thinking) as upstream:
        write_home(upstream.base_url, "layers: 1\naggregator: {model: lab/chief, effort: high}\n")

        assert run(["doctor", "--probe"]) == 0
        assert upstream.ledger.requests[-1].body["reasoning_effort"] == "high"
    assert "it thought until the limit" in sections(capsys.readouterr().out)["lab/chief"]


def test_the_demo_has_nothing_to_probe(capsys: Capture) -> None:
    home = write_home("http://127.0.0.1:9/v1")
    (home / "config.yaml").write_text("default_preset: demo\n", encoding="utf-8")

    assert run(["doctor", "--probe"]) == 0
    assert "demo calls no model" in capsys.readouterr().out
