"""The anthropic dialect: messages, streamed if the model allows it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from moa_mcp.domain.endpoints import DIALECTS, Dialect, Endpoint, split_model
from moa_mcp.domain.model import ChatCall, Draft
from moa_mcp.domain.sampling import Sampling, merge
from moa_mcp.domain.text import fix_surrogates
from moa_mcp.providers.base import OnText
from moa_mcp.providers.dialects.json_access import mapping, name, sequence, string
from moa_mcp.providers.dialects.prompt_cache import marked_parts
from moa_mcp.providers.dialects.reader import read_event, require
from moa_mcp.providers.dialects.reply_builder import ReplyBuilder
from moa_mcp.providers.dialects.sampling import as_type, complete_body, sampling_of
from moa_mcp.providers.dialects.usage import anthropic_usage
from moa_mcp.providers.request_form import form_of

if TYPE_CHECKING:
    from moa_mcp.providers.wire.http import Http

VERSION = "2023-06-01"

DEFAULT_MAX_TOKENS = 32_000
"""The dialect requires max_tokens, and it includes thoughts. This is the most that every current model accepts. It is
only a ceiling: tokens that are not written are not billed."""


def request_body(call: ChatCall, model: str) -> dict[str, Any]:
    """The request body for a call; `model` is the service's own model name. Settings that are None are left out.

    An effort also switches thinking on, because without thinking it has little effect. Models older than adaptive
    thinking refuse both keys: leave their effort unset.
    """
    form = form_of(call)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": form.lowered(DEFAULT_MAX_TOKENS if call.max_tokens is None else call.max_tokens),
        "messages": _turns(call),
        "stream": form.sends("stream"),
    }
    if system := _texts(m.text for m in call.messages if m.speaker == "system"):
        body["system"] = system
    if call.temperature is not None:
        body["temperature"] = call.temperature
    if call.effort is not None:
        body |= {"output_config": {"effort": call.effort}, "thinking": {"type": "adaptive"}}
    return body


def sampling_body(sampling: Sampling) -> dict[str, Any]:
    """The keys for the settings that are set. What the dialect does not know is sent for the service to decide.

    Thinking without a budget is adaptive: models older than that refuse it and take only a budget.
    """
    body: dict[str, Any] = {name: getattr(sampling, name) for name in ("top_p", "top_k", "seed")}
    body["stop_sequences"] = sampling.stop
    form = sampling.response_format
    if form and form.get("type") == "json_schema":
        schema = mapping(form.get("json_schema")).get("schema")
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    else:
        body["response_format"] = form
    if sampling.thinking is not None:
        body |= {"thinking": {"type": "adaptive"}} if sampling.thinking is True else as_type(sampling.thinking)
    return {key: value for key, value in body.items() if value is not None}


def _turns(call: ChatCall) -> list[dict[str, Any]]:
    """The conversation without its system text; consecutive turns of the same speaker are joined."""
    messages = (message for message in call.messages if message.speaker != "system")
    turns = [(speaker, [m.text for m in run]) for speaker, run in groupby(messages, key=lambda m: m.speaker)]
    bodies: list[dict[str, Any]] = [{"role": speaker, "content": _texts(texts)} for speaker, texts in turns]
    if turns and (parts := marked_parts(call, turns[-1][1][:-1])):
        bodies[-1]["content"] = parts
    return bodies


def _texts(texts: Iterable[str]) -> str:
    return fix_surrogates("\n\n".join(texts))


class AnthropicReader:
    """Reads a reply: a stream of typed events that ends with `message_stop` or a stop reason, or one whole message."""

    def __init__(self) -> None:
        self.reply = ReplyBuilder()

    def feed(self, data: str, event: str = "") -> str:
        """Take the data of an event and return the new text that can be shown."""
        if data.strip() == "[DONE]":  # gateways add this end marker of the other dialect
            return ""
        return self._read(read_event(data, event), event)

    def whole(self, body: object) -> str:
        """Take the whole message of a server that does not stream."""
        message = require("content", body)
        self._start(message)
        self._change({"delta": message, "usage": message.get("usage")})
        shown = [self._take(mapping(part)) for part in sequence(message["content"])]
        return "".join(shown) + self.reply.end()

    def _read(self, event: dict[str, Any], name: str) -> str:
        match event.get("type", name):
            case "content_block_delta":
                return self._take(mapping(event.get("delta")))
            case "content_block_start":
                return self._take(mapping(event.get("content_block")))
            case "message_start":
                self._start(mapping(event.get("message")))
            case "message_delta":
                self._change(event)
            case "message_stop":
                return self.reply.end()
            case "message":
                return self.whole(event)
            case _:
                pass
        return ""

    def _start(self, message: dict[str, Any]) -> None:
        self.reply.served_model = name(message.get("model"))
        # The initial output count is left out: a stream that breaks off has written more.
        self.reply.add_usage({**mapping(message.get("usage")), "output_tokens": None}, anthropic_usage)

    def _change(self, event: dict[str, Any]) -> None:
        delta = mapping(event.get("delta"))
        self.reply.finish_reason = string(delta.get("stop_reason")) or self.reply.finish_reason
        self.reply.refusal = string(mapping(delta.get("stop_details")).get("explanation"))
        # These counts are totals. They replace the initial ones of message_start, which some servers leave at 0.
        self.reply.add_usage(event.get("usage"), anthropic_usage)

    def _take(self, part: dict[str, Any]) -> str:
        """Take a content block or a piece of one; other blocks than text and thoughts have neither key."""
        if thought := string(part.get("thinking")):
            self.reply.add_thinking(thought)
        text = string(part.get("text"))
        return self.reply.add_text(text) if text else ""


class AnthropicProvider:
    """Asks the models of one endpoint with the anthropic dialect."""

    def __init__(self, endpoint: Endpoint, http: Http) -> None:
        self._endpoint = endpoint
        self._http = http

    async def complete(self, call: ChatCall, on_text: OnText) -> Draft:
        """Ask the model and wait for its whole answer. Raises ProviderError."""
        model = split_model(call.model)[1]
        sampling = sampling_of(call, self._endpoint)
        body = complete_body(merge(request_body(call, model), sampling_body(sampling)), sampling, self._endpoint)
        return await self._http.stream("/messages", body, AnthropicReader(), on_text)


def headers_with(key: str | None) -> dict[str, str]:
    """The headers of every request."""
    return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})


DIALECTS.add("anthropic", Dialect(AnthropicProvider, headers_with, models_path="/models?limit=1000"))
