"""A key goes to its own provider and turns up nowhere else, whatever anybody does with it."""

from __future__ import annotations

import io
import json
import logging
import traceback
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from moa_mcp.api import open_service
from moa_mcp.cli.logs import SecretMasking
from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.errors import ProviderError
from moa_mcp.domain.model import ChatCall, Message, Run
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.registry import Registry
from moa_mcp.runs.events import Event, TextArrived
from moa_mcp.service.service import AskRequest
from moa_mcp.views import run as run_view
from tests.faults.fixtures import KEY, LONG, open_lab
from tests.upstream import Answer, Fault, Reply, Upstream, by_model

FORMS = (KEY, quote(KEY, safe=""), b64encode(KEY.encode()).decode())


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """All that any library logs, from DEBUG on, as a plain handler without any mask writes it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(before)


def leaks(text: str) -> list[str]:
    """The forms of the key that are in a text."""
    return [form for form in FORMS if form in text]


def shown(run: Run) -> str:
    """A run in every form in which anybody sees it."""
    return "\n".join(
        (
            repr(run),
            run_view.as_markdown(run, drafts=True),
            json.dumps(run_view.result(run, drafts=True)),
            json.dumps(run_view.as_json(run)),
            *(run_view.draft_markdown(record) for record in run.drafts),
        )
    )


@pytest.mark.parametrize(
    "answer",
    [
        Fault.status(401, message=f"Incorrect API key provided: {KEY}."),
        Fault.status(400, message=f"GET /v1?key={quote(KEY, safe='')} failed"),
        Fault.status(500, message=f"authorization {FORMS[2]} was refused"),
        Fault.error_in_body(401, message=f"bad key {KEY}"),
        Fault.error_event(1, message=f"bad key {KEY}"),
        Fault.redirect(f"http://127.0.0.1:9/?key={quote(KEY, safe='')}"),
        Reply(f"Your key is {KEY}, {FORMS[1]} or {FORMS[2]}.", pieces=23, model=KEY),
        Reply("Hm.", thinking=f"The key is {KEY}", pieces=2),
    ],
    ids=str,
)
async def test_a_key_that_a_provider_repeats_is_in_no_result_event_or_log(
    answer: Answer, everything_logged: io.StringIO
) -> None:
    pieces: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, TextArrived):
            pieces.append(event.piece)

    async with open_lab({"p1": answer, "chief": answer}) as lab:
        run = await lab.ask(handler=listen)
        assert KEY in lab.upstream.requests[0].headers["authorization"]

    assert leaks(shown(run)) == []
    assert leaks("".join(pieces)) == []
    assert leaks(everything_logged.getvalue()) == []


@pytest.mark.parametrize(
    "answer",
    [
        Fault.error_event(1, reply=Reply(model=KEY)),
        Fault.error_event(1, reply=Reply(model="x" * 195 + KEY)),
        Fault.malformed_event(1, Reply(LONG, model=KEY)),
        Reply("", refusal="r" * 190 + f" {KEY}", finish_reason="content_filter"),
        Reply("", finish_reason="x" * 30 + KEY),
        Reply("", finish_reason=KEY),
        Reply(f"{KEY} and {KEY} " * 100 + KEY[:12]),
    ],
    ids=[
        "served model of a failure",
        "long served model",
        "served model of a part",
        "refusal",
        "long finish reason",
        "finish reason",
        "loop",
    ],
)
async def test_no_part_of_a_key_is_left_where_what_a_provider_said_is_cut(answer: Answer) -> None:
    async with open_lab({"p1": answer, "chief": answer}) as lab:
        run = await lab.ask()

    assert [form for form in FORMS if form[:8] in shown(run)] == []


@pytest.mark.parametrize("name", ["stored.db", "runs.db"])
async def test_no_file_of_a_run_holds_a_key(tmp_path: Path, name: str) -> None:
    home = tmp_path / name.partition(".")[0]
    home.mkdir()
    script = by_model({"p1": Reply(f"It is {KEY}."), "p2": Fault.status(400, message=KEY)})
    async with Upstream(script) as upstream:
        config = f'providers:\n  lab: {{base_url: "{upstream.base_url}", api_key_env: LAB_KEY}}\n'
        (home / "config.yaml").write_text(config, encoding="utf-8")
        preset = {"proposers": ["lab/p1", "lab/p2"], "aggregator": "lab/chief"}
        (home / "presets").mkdir()
        (home / "presets" / "two.yaml").write_text(json.dumps(preset), encoding="utf-8")
        async with open_service({"MOA_MCP_HOME": str(home), "LAB_KEY": KEY}) as service:
            run = await service.ask(AskRequest("Why?", preset="two"))

    assert run.status == "completed"
    written = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert [form for form in FORMS if form.encode() in written] == []


@pytest.mark.parametrize("value", [f"{KEY}\n", f" {KEY}\r\n"])
async def test_a_stray_newline_around_a_key_is_taken_off(value: str) -> None:
    async with Upstream() as upstream:
        registry = Registry({"lab": Endpoint("lab", upstream.base_url, api_key_env="LAB_KEY")}, {"LAB_KEY": value})
        await registry.complete(_CALL, ignore_text)
        await registry.aclose()

        assert upstream.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("value", [f"{KEY}\nx-other: 1", f"{KEY} {KEY}", f"{KEY}\u00e9", f"{KEY}\x00"])
async def test_a_value_that_is_no_key_is_never_sent_and_never_shown(value: str) -> None:
    async with Upstream() as upstream:
        registry = Registry({"lab": Endpoint("lab", upstream.base_url, api_key_env="LAB_KEY")}, {"LAB_KEY": value})
        with pytest.raises(ProviderError) as caught:
            await registry.complete(_CALL, ignore_text)
        await registry.aclose()

        assert upstream.connections == []
    shown = "".join(traceback.format_exception(caught.value))
    assert leaks(shown) == []
    assert "LAB_KEY" in str(caught.value)


def test_a_log_of_ours_masks_every_form_of_every_key_even_in_a_traceback() -> None:
    masking = SecretMasking(
        "%(levelname)s %(message)s", {"LAB_API_KEY": KEY, "OTHER_TOKEN": "tok-12345678", "PATH": "/bin"}
    )
    try:
        raise ValueError(f"Illegal header value b'Bearer {KEY}'")
    except ValueError as error:
        record = logging.LogRecord(
            "x",
            logging.ERROR,
            "x",
            1,
            "%s",
            (f"?key={FORMS[1]} {FORMS[2]} tok-12345678 /bin",),
            (type(error), error, None),
        )
    line = masking.format(record)

    assert leaks(line) == []
    assert "tok-12345678" not in line
    assert line.startswith("ERROR ?key=[key] [key]")
    assert "/bin" in line


def test_a_log_masks_what_config_yaml_names_however_short_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOA_MCP_HOME", str(tmp_path))
    entry = f"{{base_url: https://lab.example, api_key_env: LAB_KEY, headers: {{x-team: $TEAM, x-pass: Basic {KEY}}}}}"
    (tmp_path / "config.yaml").write_text(f"providers:\n  lab: {entry}\n", encoding="utf-8")
    masking = SecretMasking("%(message)s", {"LAB_KEY": "EMPTY", "TEAM": "k"})
    line = masking.format(logging.LogRecord("x", logging.INFO, "x", 1, f"EMPTY, k, key, {KEY}", None, None))

    assert line == "[key], [key], key, [key]"


@pytest.mark.parametrize("session", ["0123456789abcdef0123456789abcdef", "01234567-89ab-cdef-0123-456789abcdef"])
def test_a_log_shows_the_beginning_of_a_session_and_the_whole_of_a_run(session: str) -> None:
    masking = SecretMasking("%(message)s", {})
    lines = [
        masking.format(logging.LogRecord(name, logging.WARNING, "x", 1, "No %s here", (session,), None))
        for name in ("mcp.server.sse", "moa_mcp.runs.scheduler")
    ]

    assert lines == ["No 01234567… here", f"No {session} here"]


async def test_a_proxy_is_used_only_where_the_configuration_says_so() -> None:
    async with Upstream() as proxy, Upstream() as upstream:
        environ = {"HTTP_PROXY": proxy.base_url.removesuffix("/v1")}
        for used in (False, True):
            registry = Registry({"lab": Endpoint("lab", upstream.base_url, local=True)}, environ, use_proxy_env=used)
            with suppress(ProviderError):
                await registry.complete(_CALL, ignore_text)
            await registry.aclose()

        assert (len(upstream.requests), len(proxy.requests)) == (1, 1)


_CALL = ChatCall("1.1", "proposer", 1, 1, "lab/owl", (Message("user", "Why?"),))
