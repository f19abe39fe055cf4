"""The settings of a request that a model may refuse: how providers name them, and what is done then.

One entry per setting. What a model does not know is remembered for it; a value that it does not take changes only the
call at hand, except for the largest max_tokens that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from moa_mcp.domain.errors import ProviderError
from moa_mcp.domain.model import ChatCall
from moa_mcp.domain.sampling import SAMPLING, setting_of, without_settings
from moa_mcp.providers.request_form import RequestForm, form_of, in_form

LIMIT_KEYS: tuple[str, str] = ("max_tokens", "max_completion_tokens")
"""The names of the limit of an answer in the openai dialect."""

MAX_READ = 2000
"""The most characters of a message that are searched for a refused list of parts."""

MIN_LIMIT = 64
"""A smaller number in a message is no limit of an answer."""

_UNKNOWN = re.compile(
    r"un(supported|known|recognized|recognised|expected) (\w+ ){0,2}(parameter|argument|field|property|key|name)"
    r"|extra (inputs|fields|keys)|not permitted|deprecated|no longer|is unsupported"
    r"|(not|n't) (be )?(support|accept|allow|available)",
    re.IGNORECASE,
)
_OUT_OF_RANGE = re.compile(
    r"[<>]|\b(range|between|maximum|minimum|at (most|least)|too (large|big|high|low|small|many)|exceed\w*"
    r"|(must|should|may only|can only) be|one of|supported values|less than|greater than|up to)\b",
    re.IGNORECASE,
)


def is_unknown_setting(detail: str) -> bool:
    """Whether an error about a setting means that the provider does not accept the setting with any value.

    If unclear, the result is False: a setting that counts as unknown is never sent to that model again.
    """
    if "only the default" in detail.lower():
        return True
    return bool(_UNKNOWN.search(detail)) and not _OUT_OF_RANGE.search(detail)


@dataclass(frozen=True, slots=True)
class Change:
    """A call that the model may accept, and a note for the user that replaces earlier ones `about` the same.

    `learned` is the difference from the usual form to remember for the model (None: nothing).
    """

    call: ChatCall
    about: str
    note: str
    learned: RequestForm | None = None


Remedy = Callable[[ChatCall, ProviderError, "Setting"], Change | None]
"""Changes a call so that the setting is no longer refused; None if it cannot."""


def _leave_out(call: ChatCall, error: ProviderError, setting: Setting) -> Change | None:
    """Leave out a value; remember the setting if the model does not know it."""
    value = setting_of(call, setting.name)
    if value is None and setting.name not in SAMPLING:  # the configuration may set those of SAMPLING
        return None
    if is_unknown_setting(error.detail):
        return _never_send(call, error, setting)
    if value is None:
        change = _never_send(call, error, setting)
        return change and replace(change, learned=None)
    note = f"{setting.name} was not sent: the model refuses {value}"
    return Change(without_settings(call, setting.name), setting.name, note)


def _never_send(call: ChatCall, error: ProviderError, setting: Setting) -> Change | None:
    """Leave the setting out of every request to the model."""
    form, learned = form_of(call), RequestForm(frozenset({setting.name}))
    if not form.sends(setting.name):
        return None
    return Change(in_form(call, form.merged(learned)), setting.name, setting.note, learned)


def _leave_unmarked(call: ChatCall, error: ProviderError, setting: Setting) -> Change | None:
    """Send the messages as plain texts, without a mark for the prompt cache."""
    return _never_send(call, error, setting) if call.cache_prefix else None


def _rename_limit(call: ChatCall, error: ProviderError, setting: Setting) -> Change | None:
    """Send max_tokens by its other name."""
    form = form_of(call)
    if form.limit_key is not None or not is_unknown_setting(error.detail):
        return None
    wanted = re.search(rf"\b(?:use|using|to|with|by)\W{{1,3}}({'|'.join(LIMIT_KEYS)})\b", error.detail)
    refused = LIMIT_KEYS.index(error.parameter) if error.parameter in LIMIT_KEYS else 0
    learned = RequestForm(limit_key=wanted[1] if wanted else LIMIT_KEYS[1 - refused])
    return Change(in_form(call, form.merged(learned)), "limit_key", _renamed_note(learned), learned)


def _lower_limit(call: ChatCall, error: ProviderError, setting: Setting) -> Change | None:
    """Send the largest max_tokens that the provider names."""
    if is_unknown_setting(error.detail):
        return None
    form, numbers = form_of(call), error.numbers
    # Where we do not know what was sent (a default, or a budget's limit), it is the largest of several numbers.
    sent = call.max_tokens or form.max_limit or max(numbers, default=0) + (len(numbers) == 1)
    lower = max((number for number in numbers if MIN_LIMIT <= number < sent), default=None)
    if lower is None:
        return None
    named = f"(?:{lower}|{lower:,})"
    exclusive = re.search(rf"(?:less|lower) than \W?{named}\b|{named} \(exclusive", error.detail)
    learned = RequestForm(max_limit=lower - bool(exclusive))
    return Change(in_form(call, form.merged(learned)), "max_tokens", _lowered_note(learned), learned)


def _omit_limit(call: ChatCall, error: ProviderError, setting: Setting) -> Change | None:
    """Send no max_tokens at all, also not the one that a budget sets."""
    change = _never_send(call, error, setting)
    if change is None or is_unknown_setting(error.detail):
        return change
    refused = "it" if call.max_tokens is None else call.max_tokens
    return replace(change, note=f"max_tokens was not sent: the model refuses {refused}", learned=None)


def _renamed_note(form: RequestForm) -> str:
    return f"max_tokens was sent as {form.limit_key}: the model wants that name"


def _lowered_note(form: RequestForm) -> str:
    return f"max_tokens was lowered to {form.max_limit:,}: the model takes no more"


_AFFORDABLE = re.compile(r"\bonly afford (\d[\d,]{0,12})")


def affordable_tokens(message: str) -> int | None:
    """The tokens that the account can still pay for, in OpenRouter's words; None if they are too few for an answer."""
    found = _AFFORDABLE.search(message)
    tokens = int(found[1].replace(",", "")) if found else 0
    return tokens if tokens >= MIN_LIMIT else None


def lower_to_credit(call: ChatCall, error: ProviderError) -> Change | None:
    """Send as max_tokens what the account can still pay for; only once, because each answer leaves it less.

    It is not remembered: the account may be topped up.
    """
    form, tokens = form_of(call), affordable_tokens(error.detail)
    if tokens is None or form.max_limit is not None or (call.max_tokens is not None and call.max_tokens <= tokens):
        return None
    changed = in_form(replace(call, max_tokens=tokens), form.merged(RequestForm(max_limit=tokens)))
    note = f"max_tokens was lowered to {tokens:,}: the credit of the account pays for no more"
    return Change(changed, "max_tokens", note)


def describe_form(call: ChatCall, form: RequestForm) -> dict[str, str]:
    """Notes for the user on what of the call is not sent as it was set, by what they are about."""
    notes = {
        setting.name: setting.note
        for setting in SETTINGS
        if not form.sends(setting.name) and _is_wanted(call, setting.name)
    }
    if call.max_tokens is not None and form.sends("max_tokens"):
        if form.limit_key is not None:
            notes["limit_key"] = _renamed_note(form)
        if form.lowered(call.max_tokens) < call.max_tokens:
            notes["max_tokens"] = _lowered_note(form)
    return notes


def _is_wanted(call: ChatCall, name: str) -> bool:
    """Whether a request in the usual form would have this setting, as far as the call says."""
    if name == "cache_control":
        return call.cache_prefix
    return setting_of(call, name) is not None if name in SAMPLING else getattr(call, name, True) is not None


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a request.

    `name` is its name in a call, or for what a call does not have, in a request. `words` are its names in the
    messages of providers. The first of `remedies` that can change the call does so; `note` says what is never sent.
    """

    name: str
    words: tuple[str, ...]
    remedies: tuple[Remedy, ...] = (_leave_out,)
    note: str = ""


def _setting(name: str, *words: str, remedies: tuple[Remedy, ...] = (_leave_out,), note: str = "") -> Setting:
    return Setting(name, words or (name,), remedies, note or f"{name} was not sent: the model refuses it")


_THINKING = _setting("thinking", "enable_thinking", "chat_template_kwargs")

SETTINGS = (
    _setting("temperature"),
    _setting(
        "max_tokens",
        *LIMIT_KEYS,
        "max_output_tokens",
        "max_new_tokens",
        "maxoutputtokens",
        "max tokens",
        "maximum tokens",
        remedies=(_rename_limit, _lower_limit, _omit_limit),
    ),
    _setting(
        "effort",
        "reasoning_effort",
        "reasoningeffort",
        "reasoning",
        "output_config",
        "effort",
        "thinking",
        # Both are sent under the same keys.
        remedies=(_leave_out, lambda call, error, _: _leave_out(call, error, _THINKING)),
    ),
    _THINKING,
    *map(_setting, ("top_p", "top_k", "seed")),
    _setting("response_format", "response_format", "json_object", "json mode"),
    _setting("stop", "stop_sequences", "stop"),
    _setting("stream_options", "stream_options", "include_usage", remedies=(_never_send,)),
    _setting(
        "stream",
        "stream",
        "streaming",
        remedies=(_never_send,),
        note="the answer was not streamed: the model refuses it",
    ),
    _setting(
        "cache_control",
        remedies=(_leave_unmarked,),
        note="nothing was marked for the prompt cache: the model refuses it",
    ),
)

_TEXT_ONLY = re.compile(
    r"content\b[^\n]{0,80}?(?:\b(?:valid|be|as|a) (?:a )?(?:string|str|text)\b|expected[^\n]{0,20}\bstring\b)"
    r"|expected (?:a |an )?(?:string|str)\b[^\n]{0,60}\b(?:array|list|sequence|content)\b"
    r"|invalid type: sequence, expected a string"
    r"|\bcontent (?:parts?|blocks?|arrays?|lists?)\b[^\n]{0,40}(?:not|n't|un)(?: be| yet)? ?(?:support|allow|accept)",
    re.IGNORECASE,
)
"""A message that says that the content of a message may be a text only, not a list of parts as the mark needs."""

_BY_WORD = {word: setting for setting in SETTINGS for word in setting.words}
_WORDS = re.compile(rf"(?<![a-z_])(?:{'|'.join(sorted(_BY_WORD, key=len, reverse=True))})(?![a-z_])")


def setting_named(word: str) -> Setting | None:
    """The setting that providers call `word`."""
    return _BY_WORD.get(word.lower())


def first_setting_in(text: str) -> str | None:
    """The first word of `text` that names a setting."""
    found = _WORDS.search(text.lower())
    return found[0] if found else None


def refuses_parts(text: str) -> bool:
    """Whether `text` says that the parts of a message, or the mark in one of them, are refused."""
    return "cache_control" in text or bool(_TEXT_ONLY.search(text[:MAX_READ]))
