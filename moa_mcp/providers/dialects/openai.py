"""The openai dialect: chat completions, streamed if the model allows it. A table has what differs by service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from moa_mcp.domain.endpoints import BUILTIN, DIALECTS, Dialect, Endpoint, split_model
from moa_mcp.domain.model import ChatCall, Draft
from moa_mcp.domain.sampling import UNSET, Sampling, merge
from moa_mcp.domain.text import fix_surrogates
from moa_mcp.providers.base import OnText
from moa_mcp.providers.dialects.embeddings import EmbeddingsProvider
from moa_mcp.providers.dialects.error_mapping import error_from_body
from moa_mcp.providers.dialects.json_access import mapping, name, sequence, string
from moa_mcp.providers.dialects.prompt_cache import marked_parts
from moa_mcp.providers.dialects.reader import read_event, require
from moa_mcp.providers.dialects.reply_builder import ReplyBuilder
from moa_mcp.providers.dialects.sampling import (
    Thinking,
    as_effort,
    as_own_keys,
    as_reasoning,
    as_template_argument,
    as_type,
    complete_body,
    sampling_of,
)
from moa_mcp.providers.dialects.usage import openai_usage
from moa_mcp.providers.request_form import form_of

if TYPE_CHECKING:
    from moa_mcp.providers.wire.http import Http


@dataclass(frozen=True, slots=True)
class DialectQuirks:
    """The details in which services differ.

    `limit` is the service's key for max_tokens, `effort` the path of keys to the reasoning effort. `usage_if_asked`:
    a stream reports its usage only if the request asks for it. `cache_control`: the models whose names begin so store
    a prompt in their cache only if the request marks what to store. `thinking` makes the keys that turn thinking on or
    off.
    """

    limit: str = "max_tokens"
    effort: tuple[str, ...] = ("reasoning_effort",)
    usage_if_asked: bool = True
    cache_control: tuple[str, ...] = ()
    thinking: Thinking = as_template_argument


_ONLY_EFFORTS = DialectQuirks(thinking=as_effort)
_QUIRKS = {
    # OpenAI's reasoning models refuse max_tokens; its other models take either.
    "openai": DialectQuirks(limit="max_completion_tokens", thinking=as_effort),
    "openrouter": DialectQuirks(effort=("reasoning", "effort"), cache_control=("anthropic/",), thinking=as_reasoning),
    "deepseek": DialectQuirks(thinking=as_type),
    # Mistral refuses keys that it does not know, such as stream_options, and always reports its usage.
    "mistral": DialectQuirks(usage_if_asked=False, thinking=as_effort),
    **dict.fromkeys(("google", "xai", "groq", "fireworks", "ollama"), _ONLY_EFFORTS),
}
_HOSTS = {urlsplit(BUILTIN[service].base_url).netloc: quirks for service, quirks in _QUIRKS.items()}
_QWEN = DialectQuirks(thinking=as_own_keys)


def quirks_of(endpoint: Endpoint) -> DialectQuirks:
    """The quirks of the service at an endpoint. The name or the host is enough to recognize the service."""
    host = urlsplit(endpoint.base_url).netloc
    if host.endswith(".aliyuncs.com"):
        return _QWEN
    return _QUIRKS.get(endpoint.name) or _HOSTS.get(host) or DialectQuirks()


def request_body(call: ChatCall, model: str, quirks: DialectQuirks) -> dict[str, Any]:
    """The request body for a call; `model` is the service's own model name. Settings that are None are left out."""
    form = form_of(call)
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.speaker, "content": fix_surrogates(m.text)} for m in call.messages],
        "stream": form.sends("stream"),
    }
    if model.startswith(quirks.cache_control) and (parts := marked_parts(call)):
        body["messages"][-1]["content"] = parts
    if quirks.usage_if_asked and form.sends("stream") and form.sends("stream_options"):
        body["stream_options"] = {"include_usage": True}
    if call.temperature is not None:
        body["temperature"] = call.temperature
    if call.max_tokens is not None:
        body[form.limit_key or quirks.limit] = form.lowered(call.max_tokens)
    if call.effort is not None:
        body |= _nest(quirks.effort, call.effort)
    return body


def sampling_body(sampling: Sampling, quirks: DialectQuirks) -> dict[str, Any]:
    """The keys for the settings that are set. `top_k` is none of OpenAI's own; most other services know it."""
    body = {name: getattr(sampling, name) for name in ("top_p", "top_k", "seed", "stop", "response_format")}
    if sampling.thinking is not None:
        body |= quirks.thinking(sampling.thinking)
    return {key: value for key, value in body.items() if value is not None}


def _nest(path: tuple[str, ...], value: str) -> dict[str, Any]:
    first, *rest = path
    return {first: _nest(tuple(rest), value) if rest else value}


class OpenAIReader:
    """Reads a chat completion: a stream of chunks that ends with `[DONE]` or a finish reason, or one whole object."""

    def __init__(self) -> None:
        self.reply = ReplyBuilder()
        self._has_deltas = False

    def feed(self, data: str, event: str = "") -> str:
        """Take the data of an event and return the new text that can be shown."""
        if data.strip() == "[DONE]":
            return self.reply.end()
        return self._read(read_event(data, event))

    def whole(self, body: object) -> str:
        """Take the whole completion of a server that does not stream."""
        return self._read(require("choices", body)) + self.reply.end()

    def _read(self, chunk: dict[str, Any]) -> str:
        choice = _first_choice(chunk)
        self._note_usage(chunk, choice)
        if finish := string(choice.get("finish_reason")):
            self._finish(finish, choice)
        return self._take(self._part(choice))

    def _part(self, choice: dict[str, Any]) -> dict[str, Any]:
        """The part of a choice that has its new text: a delta, a message or, in old completions, the choice itself.

        A message beside or after deltas is the whole text so far, which the deltas have already given.
        """
        delta = mapping(choice.get("delta"))
        self._has_deltas = self._has_deltas or bool(delta)
        return delta if self._has_deltas else mapping(choice.get("message")) or choice

    def _note_usage(self, chunk: dict[str, Any], choice: dict[str, Any]) -> None:
        reply = self.reply
        reply.served_model = reply.served_model or name(chunk.get("model"))
        # Groq and Moonshot report the usage of a stream in places of their own.
        usage = chunk.get("usage") or choice.get("usage")
        if usage is None and "x_groq" in chunk:
            usage = mapping(chunk["x_groq"]).get("usage")
        if usage:
            reply.add_usage(usage, openai_usage)

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
        content = delta.get("content") or delta.get("text")
        if isinstance(content, str):
            return self.reply.add_text(content) if content else ""
        return "".join([self._take_part(mapping(part)) for part in sequence(content)])

    def _take_part(self, part: dict[str, Any]) -> str:
        """Take one part of a content list: text, or a thought, which is itself a list of texts."""
        for thought in sequence(part.get("thinking")):
            self.reply.add_thinking(string(mapping(thought).get("text")))
        text = string(part.get("text"))
        return self.reply.add_text(text) if text else ""


def _first_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    """The choice with the index 0, or without an index; empty if there is none."""
    for choice in map(mapping, sequence(chunk.get("choices"))):
        if not choice.get("index"):
            return choice
    return {}


class OpenAIProvider:
    """Asks the models of one endpoint with the openai dialect."""

    def __init__(self, endpoint: Endpoint, http: Http) -> None:
        self._endpoint = endpoint
        self._quirks = quirks_of(endpoint)
        self._http = http

    async def complete(self, call: ChatCall, on_text: OnText) -> Draft:
        """Ask the model and wait for its whole answer. Raises ProviderError."""
        model = split_model(call.model)[1]
        sampling = sampling_of(call, self._endpoint)
        body = request_body(call, model, self._quirks)
        if sampling != UNSET:  # an effort says more exactly what `thinking` says, so it wins
            body = merge(sampling_body(sampling, self._quirks), body)
        body = complete_body(body, sampling, self._endpoint)
        return await self._http.stream("/chat/completions", body, OpenAIReader(), on_text)


def headers_with(key: str | None) -> dict[str, str]:
    """The headers of every request."""
    return {"authorization": f"Bearer {key}"} if key else {}


DIALECTS.add(
    "openai",
    Dialect(OpenAIProvider, headers_with, embeddings=lambda endpoint, http: EmbeddingsProvider(http)),
)
