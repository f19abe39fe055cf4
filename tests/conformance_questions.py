"""The tools of the conformance suite that ask the client something.

In the older era they do it by a request of their own, in the newer one with a result that asks; the repeated call
brings the answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import (
    INVALID_PARAMS,
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitationCapability,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    GetPromptResult,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    PromptMessage,
    SamplingMessage,
    TextContent,
)

from moa_mcp.server.build import MoAServer
from moa_mcp.server.context import Context
from tests.conformance_fixtures import Fixture, text_result


def strings(*names: str) -> dict[str, Any]:
    """A form of fields that are to be filled with text."""
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}


def form(message: str, schema: dict[str, Any]) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def question(text: str, most: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=most))


DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
_TITLED = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second", "Third"), 1)]
_PLAIN = ["option1", "option2", "option3"]
ENUMS = {
    "untitledSingle": {"type": "string", "enum": _PLAIN},
    "titledSingle": {"type": "string", "oneOf": _TITLED},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _PLAIN}},
    "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
}


async def _samples(server: MoAServer, context: Context, params: Any) -> Any:
    request = question(params.arguments["prompt"], 100)
    # On the stream of the call: the client may not have opened the one for everything else yet.
    related = ServerMessageMetadata(related_request_id=context.request_id)
    answer = await context.session.send_request(request, CreateMessageResult, metadata=related)
    return text_result(f"LLM response: {getattr(answer.content, 'text', '')}")


async def _elicits(server: MoAServer, context: Context, params: Any) -> Any:
    schema = strings("username", "email")
    answer = await context.session.elicit_form(params.arguments["message"], schema, context.request_id)
    return text_result(f"User response: action={answer.action}, content={answer.content}")


def elicits(properties: dict[str, Any]) -> Any:
    async def run(server: MoAServer, context: Context, params: Any) -> Any:
        schema = {"type": "object", "properties": properties}
        answer = await context.session.elicit_form("Fill this in.", schema, context.request_id)
        return text_result(f"Elicitation completed: action={answer.action}, content={answer.content}")

    return run


NAME = form("What is your name?", strings("name"))
CONFIRM = form("Please confirm", {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]})
ROOTS = ListRootsRequest()
SEVERAL = {"user_name": NAME, "greeting": question("Generate a greeting", 50), "client_roots": ROOTS}


def asks(requests: dict[str, Any], kinds: Mapping[str, type[Any]], *, state: str | None = None) -> Any:
    """A tool that asks for all of `requests`, until all are answered in kind, and then says the answers."""

    async def run(server: MoAServer, context: Context, params: Any) -> Any:
        answers = given(params)
        check_state(params, state)
        if all(isinstance(answers.get(name), kind) for name, kind in kinds.items()):
            return text_result(f"state-ok {' '.join(str(answers[name]) for name in kinds)}")
        return InputRequiredResult(input_requests=requests, request_state=state and sealed(state))

    return run


def given(params: Any) -> Mapping[str, Any]:
    """The answers that a repeated call brings, by the names of the questions."""
    return params.input_responses or {}


def sealed(state: str) -> str:
    """A state that cannot be changed unnoticed; it is a secret to nobody."""
    return f"{state}.{hashlib.sha256(f'conformance {state}'.encode()).hexdigest()}"


def check_state(params: Any, *states: str | None) -> None:
    known = [sealed(state) for state in states if state]
    if known and params.request_state is not None and params.request_state not in known:
        raise MCPError(INVALID_PARAMS, "The request state was changed on the way.")


async def _in_rounds(server: MoAServer, context: Context, params: Any) -> Any:
    check_state(params, "one", "two")
    answers = given(params)
    if params.request_state == sealed("two") and "step2" in answers:
        return text_result("Both steps are done.")
    if params.request_state == sealed("one") and "step1" in answers:
        second = form("Step 2: What is your favorite color?", strings("color"))
        return InputRequiredResult(input_requests={"step2": second}, request_state=sealed("two"))
    first = form("Step 1: What is your name?", strings("name"))
    return InputRequiredResult(input_requests={"step1": first}, request_state=sealed("one"))


async def _asks_what_the_client_can(server: MoAServer, context: Context, params: Any) -> Any:
    if params.input_responses:
        return text_result("Answered.")
    capabilities = context.session.client_capabilities or ClientCapabilities()
    requests: dict[str, Any] = {}
    if isinstance(capabilities.elicitation, ElicitationCapability):
        requests["user_name"] = NAME
    if capabilities.sampling is not None:
        requests["greeting"] = SEVERAL["greeting"]
    return InputRequiredResult(input_requests=requests) if requests else text_result("The client can be asked nothing.")


def prompt(params: Any) -> GetPromptResult | InputRequiredResult:
    """The prompt that asks for its context first."""
    answer = given(params).get("user_context")
    if not isinstance(answer, ElicitResult):
        return InputRequiredResult(
            input_requests={"user_context": form("What context should the prompt use?", strings("context"))}
        )
    text = f"Use this context: {(answer.content or {}).get('context')}"
    return GetPromptResult(messages=[PromptMessage(role="user", content=TextContent(text=text))])


_ONE = {"user_name": ElicitResult}
_CAPITAL = {"capital_question": question("What is the capital of France?", 100)}
_KINDS = {"user_name": ElicitResult, "greeting": CreateMessageResult, "client_roots": ListRootsResult}
_PREFIX = "test_input_required_result_"

TOOLS = {
    "test_sampling": Fixture(_samples, strings("prompt")),
    "test_elicitation": Fixture(_elicits, strings("message")),
    "test_elicitation_sep1034_defaults": Fixture(elicits(DEFAULTS)),
    "test_elicitation_sep1330_enums": Fixture(elicits(ENUMS)),
    "test_streaming_elicitation": Fixture(asks({"user_name": NAME}, _ONE)),
    f"{_PREFIX}elicitation": Fixture(asks({"user_name": NAME}, _ONE)),
    f"{_PREFIX}sampling": Fixture(asks(_CAPITAL, {"capital_question": CreateMessageResult})),
    f"{_PREFIX}list_roots": Fixture(asks({"client_roots": ROOTS}, {"client_roots": ListRootsResult})),
    f"{_PREFIX}request_state": Fixture(asks({"confirm": CONFIRM}, {"confirm": ElicitResult}, state="one")),
    f"{_PREFIX}tampered_state": Fixture(asks({"confirm": CONFIRM}, {"confirm": ElicitResult}, state="one")),
    f"{_PREFIX}multiple_inputs": Fixture(asks(dict(SEVERAL), _KINDS, state="one")),
    f"{_PREFIX}multi_round": Fixture(_in_rounds),
    f"{_PREFIX}capabilities": Fixture(_asks_what_the_client_can),
}
