"""The openai dialect: chat completions, always streamed. Where services differ, the table says how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from moa_mcp.domain.endpoints import BUILTIN, Endpoint, split_model
from moa_mcp.domain.model import Call, Draft
from moa_mcp.domain.text import repair
from moa_mcp.providers.base import OnText
from moa_mcp.providers.dialects.error_mapping import fault_in
from moa_mcp.providers.dialects.json_access import count, mapping, name, parse, sequence, words
from moa_mcp.providers.dialects.reply_builder import Transcript

if TYPE_CHECKING:
    from moa_mcp.providers.wire.http import Http


@dataclass(frozen=True, slots=True)
class Habits:
    """How a service words what the dialect leaves open.

    `limit` is its key for max_tokens, `effort` the path of keys to the reasoning effort. `usage_if_asked`: a
    stream ends with its usage only if the request says so.
    """

    limit: str = "max_tokens"
    effort: tuple[str, ...] = ("reasoning_effort",)
    usage_if_asked: bool = True


_HABITS = {
    # OpenAI's reasoning models refuse max_tokens; its other models take either.
    "openai": Habits(limit="max_completion_tokens"),
    "openrouter": Habits(effort=("reasoning", "effort")),
    # Mistral refuses keys it does not know, stream_options among them, and reports its usage unasked.
    "mistral": Habits(usage_if_asked=False),
}


def habits_of(endpoint: Endpoint) -> Habits:
    """The habits of the service at an endpoint, known by its name or its host, whatever the other is."""
    host = urlsplit(endpoint.base_url).hostname
    for service, habits in _HABITS.items():
        if endpoint.name == service or host == urlsplit(BUILTIN[service].base_url).hostname:
            return habits
    return Habits()


def request_body(call: Call, model: str, habits: Habits) -> dict[str, Any]:
    """The request for a call to `model`, as the service knows it. A setting that is None is not in it."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.speaker, "content": repair(m.text)} for m in call.messages],
        "stream": True,
    }
    if habits.usage_if_asked:
        body["stream_options"] = {"include_usage": True}
    if call.temperature is not None:
        body["temperature"] = call.temperature
    if call.max_tokens is not None:
        body[habits.limit] = call.max_tokens
    if call.effort is not None:
        body |= _nested(habits.effort, call.effort)
    return body


def _nested(path: tuple[str, ...], value: str) -> dict[str, Any]:
    first, *rest = path
    return {first: _nested(tuple(rest), value) if rest else value}


class OpenAIReader:
    """Reads a chat completion: chunks that end with `[DONE]`, or one whole object."""

    def __init__(self) -> None:
        self.transcript = Transcript()

    def feed(self, data: str) -> str:
        """Take the data of an event and return what can be shown of the answer by now."""
        if data == "[DONE]":
            return self.transcript.end()
        return self._read(mapping(parse(data)), "delta") if data else ""

    def whole(self, body: object) -> str:
        """Take the completion of a server that does not stream."""
        return self._read(mapping(body), "message") + self.transcript.end()

    def _read(self, event: dict[str, Any], part: str) -> str:
        if event.get("error") or event.get("object") == "error":
            raise fault_in(event)
        self._note(event)
        choice = mapping(next(iter(sequence(event.get("choices"))), None))
        if finish := words(choice.get("finish_reason")):
            self._finish(finish, choice)
        return self._take(mapping(choice.get(part)))

    def _note(self, event: dict[str, Any]) -> None:
        transcript = self.transcript
        transcript.served_model = transcript.served_model or name(event.get("model"))
        if usage := mapping(event.get("usage")):
            transcript.input_tokens = count(usage.get("prompt_tokens"))
            transcript.output_tokens = count(usage.get("completion_tokens"))

    def _finish(self, finish: str, choice: dict[str, Any]) -> None:
        if finish == "error":
            raise fault_in(choice)
        self.transcript.finish_reason = finish

    def _take(self, delta: dict[str, Any]) -> str:
        """A delta, or a whole message: what is said, thought and refused in it."""
        if thought := words(delta.get("reasoning_content")) or words(delta.get("reasoning")):
            self.transcript.think(thought)
        if refused := words(delta.get("refusal")):
            self.transcript.refusal += refused
        content = delta.get("content")
        if isinstance(content, str):
            return self.transcript.say(content) if content else ""
        return "".join([self._part(mapping(part)) for part in sequence(content)])

    def _part(self, part: dict[str, Any]) -> str:
        """One part of a content that is a list: text, or a thought that is a list of texts itself."""
        for thought in sequence(part.get("thinking")):
            self.transcript.think(words(mapping(thought).get("text")))
        text = words(part.get("text"))
        return self.transcript.say(text) if text else ""


class OpenAIProvider:
    """Asks the models of one endpoint that speaks the openai dialect."""

    def __init__(self, endpoint: Endpoint, http: Http) -> None:
        self._habits = habits_of(endpoint)
        self._http = http

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask the model and wait for its whole answer. Raises ProviderError."""
        body = request_body(call, split_model(call.model)[1], self._habits)
        return await self._http.converse("/chat/completions", body, OpenAIReader(), on_text)


def headers_with(key: str | None) -> dict[str, str]:
    """The headers of every request."""
    return {"authorization": f"Bearer {key}"} if key else {}
