"""The openai dialect: chat completions, always streamed. A table lists the differences between services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from moa_mcp.domain.endpoints import BUILTIN, DIALECTS, Dialect, Endpoint, split_model
from moa_mcp.domain.model import Call, Draft
from moa_mcp.domain.text import fix_surrogates
from moa_mcp.providers.base import OnText
from moa_mcp.providers.dialects.embeddings import EmbeddingsProvider
from moa_mcp.providers.dialects.error_mapping import error_from_body
from moa_mcp.providers.dialects.json_access import count, mapping, name, parse, sequence, string
from moa_mcp.providers.dialects.reply_builder import ReplyBuilder

if TYPE_CHECKING:
    from moa_mcp.providers.wire.http import Http


@dataclass(frozen=True, slots=True)
class DialectQuirks:
    """The details in which services differ.

    `limit` is the service's key for max_tokens, `effort` the path of keys to the reasoning effort. `usage_if_asked`:
    a stream reports its usage only if the request asks for it.
    """

    limit: str = "max_tokens"
    effort: tuple[str, ...] = ("reasoning_effort",)
    usage_if_asked: bool = True


_QUIRKS = {
    # OpenAI's reasoning models refuse max_tokens; its other models take either.
    "openai": DialectQuirks(limit="max_completion_tokens"),
    "openrouter": DialectQuirks(effort=("reasoning", "effort")),
    # Mistral refuses keys that it does not know, such as stream_options, and always reports its usage.
    "mistral": DialectQuirks(usage_if_asked=False),
}


def quirks_of(endpoint: Endpoint) -> DialectQuirks:
    """The quirks of the service at an endpoint. The name or the host is enough to recognize the service."""
    host = urlsplit(endpoint.base_url).hostname
    for service, quirks in _QUIRKS.items():
        if endpoint.name == service or host == urlsplit(BUILTIN[service].base_url).hostname:
            return quirks
    return DialectQuirks()


def request_body(call: Call, model: str, quirks: DialectQuirks) -> dict[str, Any]:
    """The request body for a call; `model` is the service's own model name. Settings that are None are left out."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.speaker, "content": fix_surrogates(m.text)} for m in call.messages],
        "stream": True,
    }
    if quirks.usage_if_asked:
        body["stream_options"] = {"include_usage": True}
    if call.temperature is not None:
        body["temperature"] = call.temperature
    if call.max_tokens is not None:
        body[quirks.limit] = call.max_tokens
    if call.json_reply:
        body["response_format"] = {"type": "json_object"}
    if call.effort is not None:
        body |= _nest(quirks.effort, call.effort)
    return body


def _nest(path: tuple[str, ...], value: str) -> dict[str, Any]:
    first, *rest = path
    return {first: _nest(tuple(rest), value) if rest else value}


class OpenAIReader:
    """Reads a chat completion: a stream of chunks that ends with `[DONE]`, or one whole object."""

    def __init__(self) -> None:
        self.reply = ReplyBuilder()

    def feed(self, data: str) -> str:
        """Take the data of an event and return the new text that can be shown."""
        if data == "[DONE]":
            return self.reply.end()
        return self._read(mapping(parse(data)), "delta") if data else ""

    def whole(self, body: object) -> str:
        """Take the whole completion of a server that does not stream."""
        return self._read(mapping(body), "message") + self.reply.end()

    def _read(self, event: dict[str, Any], part: str) -> str:
        if event.get("error") or event.get("object") == "error":
            raise error_from_body(event)
        self._note_usage(event)
        choice = mapping(next(iter(sequence(event.get("choices"))), None))
        if finish := string(choice.get("finish_reason")):
            self._finish(finish, choice)
        return self._take(mapping(choice.get(part)))

    def _note_usage(self, event: dict[str, Any]) -> None:
        reply = self.reply
        reply.served_model = reply.served_model or name(event.get("model"))
        if usage := mapping(event.get("usage")):
            reply.input_tokens = count(usage.get("prompt_tokens"))
            reply.output_tokens = count(usage.get("completion_tokens"))

    def _finish(self, finish: str, choice: dict[str, Any]) -> None:
        if finish == "error":
            raise error_from_body(choice)
        self.reply.finish_reason = finish

    def _take(self, delta: dict[str, Any]) -> str:
        """Take the text, thoughts and refusal of a delta or of a whole message."""
        if thought := string(delta.get("reasoning_content")) or string(delta.get("reasoning")):
            self.reply.add_thinking(thought)
        if refused := string(delta.get("refusal")):
            self.reply.refusal += refused
        content = delta.get("content")
        if isinstance(content, str):
            return self.reply.add_text(content) if content else ""
        return "".join([self._take_part(mapping(part)) for part in sequence(content)])

    def _take_part(self, part: dict[str, Any]) -> str:
        """Take one part of a content list: text, or a thought, which is itself a list of texts."""
        for thought in sequence(part.get("thinking")):
            self.reply.add_thinking(string(mapping(thought).get("text")))
        text = string(part.get("text"))
        return self.reply.add_text(text) if text else ""


class OpenAIProvider:
    """Asks the models of one endpoint with the openai dialect."""

    def __init__(self, endpoint: Endpoint, http: Http) -> None:
        self._quirks = quirks_of(endpoint)
        self._http = http

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask the model and wait for its whole answer. Raises ProviderError."""
        body = request_body(call, split_model(call.model)[1], self._quirks)
        return await self._http.stream("/chat/completions", body, OpenAIReader(), on_text)


def headers_with(key: str | None) -> dict[str, str]:
    """The headers of every request."""
    return {"authorization": f"Bearer {key}"} if key else {}


DIALECTS.add(
    "openai",
    Dialect(OpenAIProvider, headers_with, embeddings=lambda endpoint, http: EmbeddingsProvider(http)),
)
