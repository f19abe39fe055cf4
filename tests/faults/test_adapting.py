"""What a model refuses changes the next request: over real sockets, with the whole machinery around it."""

from __future__ import annotations

from typing import Any

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Draft, Run
from moa_mcp.domain.preset import Preset
from moa_mcp.runs.events import CallRetried, Event
from tests import clock
from tests.faults.fixtures import LONG_REPLY, Lab, failure_of, open_lab, panel, record_of
from tests.upstream import Answer, Fault, Reply, Request, in_turn

pytestmark = clock.jumping

ANSWER = Reply("The sky is blue because of Rayleigh scattering.", model="owl-1")

NO_STREAM = "Your organization must be verified to stream this model."
NO_USAGE = 'Bad Request: json: unknown field "stream_options"'
OLD_NAME = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


def refusing(key: str, message: str, limit: int | None = None) -> Any:
    """A model that refuses a key of the request, or values of it above a limit."""

    def answer(request: Request) -> Answer:
        value = request.body.get(key)
        refused = value if limit is None else value is not None and value > limit
        return Fault.status(400, message=message.format(value=value)) if refused else ANSWER

    return answer


def bodies(lab: Lab, model: str) -> list[dict[str, Any]]:
    return [dict(request.body) for request in lab.upstream.requests if request.model == model]


def limited(max_tokens: int) -> Preset:
    """A panel whose first proposer has a limit."""
    preset = panel(2)
    first, second = preset.proposers
    return preset.model_copy(update={"proposers": (first.model_copy(update={"max_tokens": max_tokens}), second)})


def notes_of(run: Run, identity: str) -> tuple[str, ...]:
    outcome = record_of(run, identity).outcome
    assert isinstance(outcome, Draft)
    return outcome.notes


async def test_a_model_that_may_not_be_streamed_is_asked_for_the_whole_answer_from_then_on() -> None:
    async with open_lab({"p1": refusing("stream", NO_STREAM)}) as lab:
        first, second = await lab.ask(), await lab.ask()

    assert [body["stream"] for body in bodies(lab, "p1")] == [True, False, False]
    assert "stream_options" not in bodies(lab, "p1")[1]
    for run in (first, second):
        assert notes_of(run, "1.1") == ("the answer was not streamed: the model refuses it",)


async def test_a_model_that_refuses_stream_options_is_streamed_without_them_from_then_on() -> None:
    async with open_lab({"p1": refusing("stream_options", NO_USAGE)}) as lab:
        first, second = await lab.ask(), await lab.ask()

    assert ["stream_options" in body for body in bodies(lab, "p1")] == [True, False, False]
    assert all(body["stream"] for body in bodies(lab, "p1"))
    assert notes_of(first, "1.1") == notes_of(second, "1.1") == ("stream_options was not sent: the model refuses it",)


async def test_max_tokens_goes_by_the_name_that_the_model_wants() -> None:
    preset = limited(700)
    async with open_lab({"p1": refusing("max_tokens", OLD_NAME)}, preset) as lab:
        first, _ = await lab.ask(), await lab.ask()
    limits = [(body.get("max_tokens"), body.get("max_completion_tokens")) for body in bodies(lab, "p1")]

    assert limits == [(700, None), (None, 700), (None, 700)]
    assert notes_of(first, "1.1") == ("max_tokens was sent as max_completion_tokens: the model wants that name",)


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "message",
    [
        "max_tokens: {value} > 8192, which is the maximum allowed number of output tokens for claude-3-5-haiku",
        "max_tokens is too large: {value}. This model supports at most 8192 completion tokens.",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
        "`max_tokens` must be less than 8,193",
    ],
)
async def test_max_tokens_is_lowered_to_what_the_model_takes_and_that_is_remembered(dialect: str, message: str) -> None:
    preset = limited(50_000)
    async with open_lab({"p1": refusing("max_tokens", message, 8192)}, preset, dialect=dialect) as lab:
        first, second = await lab.ask(), await lab.ask()

    assert [body["max_tokens"] for body in bodies(lab, "p1")] == [50_000, 8192, 8192]
    for run in (first, second):
        assert notes_of(run, "1.1") == ("max_tokens was lowered to 8,192: the model takes no more",)


async def test_the_anthropic_default_is_lowered_too() -> None:
    message = "max_tokens: {value} > 8192, which is the maximum allowed number of output tokens"
    async with open_lab({"p1": refusing("max_tokens", message, 8192)}, dialect="anthropic") as lab:
        await lab.ask()
        await lab.ask()

    assert [body["max_tokens"] for body in bodies(lab, "p1")] == [32_000, 8192, 8192]


@pytest.mark.parametrize(
    "message",
    [
        "input length and `max_tokens` exceed context limit: 5000 + {value} > 12000, decrease input length",
        "'max_tokens' is too large: {value}. The maximum context length is 12000 tokens ({value} > 12000 - 5000)",
    ],
)
async def test_max_tokens_is_lowered_to_what_fits_beside_the_messages_for_that_call(message: str) -> None:
    preset = limited(32_000)
    async with open_lab({"p1": refusing("max_tokens", message, 7000)}, preset) as lab:
        run = await lab.ask()
        await lab.ask()

    assert [body["max_tokens"] for body in bodies(lab, "p1")] == [32_000, 7000, 32_000, 7000]
    assert notes_of(run, "1.1") == ("max_tokens was lowered to 7,000: no more fits beside the messages",)


async def test_a_model_with_several_refusals_is_asked_until_none_is_left() -> None:
    def picky(request: Request) -> Answer:
        for key, message in (("stream_options", NO_USAGE), ("max_tokens", OLD_NAME), ("stream", NO_STREAM)):
            if request.body.get(key):
                return Fault.status(400, message=message)
        return ANSWER

    async with open_lab({"p1": picky}, limited(700)) as lab:
        first, _ = await lab.ask(), await lab.ask()

    assert (len(bodies(lab, "p1")), len(notes_of(first, "1.1"))) == (5, 3)
    assert record_of(first, "1.1").attempts == 4


def windowed(window: int, message: str, **beside: str) -> Any:
    """A model with a small window, which says so in its own words."""

    def answer(request: Request) -> Answer:
        text = "".join(str(turn["content"]) for turn in request.body["messages"])
        tokens = len(text) // 4
        if tokens <= window:
            return LONG_REPLY
        numbers = {name: tokens if value == "tokens" else window for name, value in beside.items()}
        words = message.format(tokens=tokens, window=window)
        return Fault.status(400, body={"error": {"message": words, "type": "invalid_request_error", **numbers}})

    return answer


LONG_DRAFT = Reply(" ".join(f"word{number}" for number in range(2000)))


@pytest.mark.parametrize(
    ("message", "beside", "requests"),
    [
        ("the request exceeds the available context size", {"n_prompt_tokens": "tokens", "n_ctx": "window"}, 2),
        ("This model's maximum prompt length is {window} but the request contains {tokens} tokens.", {}, 2),
        ("The input token count ({tokens}) exceeds the maximum number of tokens allowed ({window}).", {}, 2),
        ("prompt is too long: {tokens} tokens > {window} maximum", {}, 2),
        ("Range of input length should be [1, {window}]", {}, 2),
        ("Context size has been exceeded.", {}, 4),
        ("Input is too long for requested model.", {}, 4),
    ],
)
async def test_drafts_are_shortened_until_they_fit_the_window_and_the_question_is_not(
    message: str, beside: dict[str, str], requests: int
) -> None:
    question = "Why is the sky blue? " * 30
    async with open_lab({"chief": windowed(4096, message, **beside)}, panel(6), otherwise=LONG_DRAFT) as lab:
        run = await lab.ask(question)
    asked = [request.prompt for request in lab.upstream.requests if request.model == "chief"]

    assert (run.status, run.degraded, run.answer) == ("completed", False, LONG_REPLY.text.strip())
    assert len(asked) == requests
    assert len(asked[-1]) > 4096 * 4 * 0.25  # no more is cut than needed
    assert all(question in text for text in asked)
    length = len(asked[0]) - len("\n\n")  # between the two messages
    assert any(f"of {length:,} characters were left out" in note for note in run.notes)


async def test_a_request_that_is_too_large_for_the_accounts_minute_is_shortened_and_not_waited_for() -> None:
    message = (
        "Request too large for model `owl` in organization `org_1` on tokens per minute (TPM): Limit {window}, "
        "Requested {tokens}, please reduce your message size and try again."
    )
    async with open_lab({"chief": windowed(6000, message)}, panel(6), otherwise=LONG_DRAFT) as lab:
        run = await lab.ask()

    assert (run.degraded, lab.hits("chief"), record_of(run, "2.1").seconds) == (False, 2, 0)


async def test_max_tokens_is_lowered_where_the_account_may_not_have_that_many_a_minute() -> None:
    def small(request: Request) -> Answer:
        wanted = len(request.question) // 4 + request.body["max_tokens"]
        message = f"Request too large for model `owl` on tokens per minute (TPM): Limit 6000, Requested {wanted}, …"
        return ANSWER if wanted <= 6000 else Fault.status(413, message=message, code="rate_limit_exceeded")

    async with open_lab({"p1": small}, limited(8000)) as lab:
        run = await lab.ask()

    assert (run.degraded, lab.hits("p1")) == (False, 2)
    assert "max_tokens was lowered to " in notes_of(run, "1.1")[0]


async def test_a_value_that_was_left_out_once_is_not_remembered_with_what_is_learned_after_it() -> None:
    def picky(request: Request) -> Answer:
        if request.body.get("max_tokens", 0) > 500:
            return Fault.status(400, message="max_tokens is too large")
        return Fault.status(400, message=NO_USAGE) if "stream_options" in request.body else ANSWER

    async with open_lab({"p1": picky}, limited(700)) as lab:
        await lab.ask()
        lab.preset = limited(400)
        await lab.ask()

    assert [body.get("max_tokens") for body in bodies(lab, "p1")] == [700, None, None, 400]


async def test_a_model_that_is_being_loaded_is_waited_for_and_the_run_says_so() -> None:
    loading = Fault.status(503, body={"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}})
    waits: list[Reason] = []

    def listen(event: Event) -> None:
        if isinstance(event, CallRetried):
            waits.append(event.reason)

    async with open_lab({"p1": in_turn(*[loading] * 6, LONG_REPLY)}) as lab:
        run = await lab.ask(handler=listen)

    assert (run.degraded, run.notes, waits) == (False, (), [Reason.LOADING] * 6)
    assert 30 < record_of(run, "1.1").seconds < 60


async def test_a_wait_that_the_body_asks_for_is_kept() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "4s"}]
    busy = Fault.status(429, body=[{"error": {"code": 429, "message": "Quota exceeded.", "details": details}}])
    async with open_lab({"p1": in_turn(busy, LONG_REPLY)}) as lab:
        run = await lab.ask()

    assert (record_of(run, "1.1").outcome.usage.retries, record_of(run, "1.1").seconds) == (1, 4)


async def test_a_days_quota_is_not_asked_for_again() -> None:
    message = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
    async with open_lab({"p1": Fault.status(429, message=message)}) as lab:
        run = await lab.ask()

    assert (failure_of(run, "1.1").reason, lab.hits("p1")) == (Reason.BILLING, 1)


async def test_a_wrong_address_names_base_url_and_does_not_rest() -> None:
    missing = Fault.status(404, body={"detail": "Not Found"})
    async with open_lab({"p1": missing}) as lab:
        first, second = await lab.ask(), await lab.ask()

    assert (failure_of(first, "1.1").reason, lab.hits("p1")) == (Reason.WRONG_URL, 2)
    assert "providers.lab.base_url" in str(failure_of(second, "1.1"))
    assert "Not Found" in str(failure_of(second, "1.1"))


async def test_a_refused_key_names_its_variable_and_keeps_the_providers_words() -> None:
    async with open_lab({"p1": Fault.status(401, message="This key has been revoked.")}) as lab:
        first, second = await lab.ask(), await lab.ask()

    assert "(This key has been revoked.; the key is in LAB_KEY)" in str(failure_of(first, "1.1"))
    assert failure_of(second, "1.1").reason is Reason.COOLING
    assert "LAB_KEY" in str(failure_of(second, "1.1"))


async def test_an_empty_reply_hints_at_the_context() -> None:
    async with open_lab({"p1": Fault.empty_body()}) as lab:
        run = await lab.ask()

    assert "exceed the model's context" in str(failure_of(run, "1.1"))
