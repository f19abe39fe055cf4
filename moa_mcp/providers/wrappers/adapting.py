"""A wrapper that asks again in a form that the model accepts, and notes in the draft what is different.

Refused settings are left out, renamed or lowered (`providers/settings.py`); what a model does not know is remembered
for it. If the messages do not fit, max_tokens is lowered or the fenced drafts are shortened by a fixed rule, in as many
steps as it takes; the caller's own text is never cut.
"""

from __future__ import annotations

from dataclasses import replace

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, ChatCall, Draft, Result
from moa_mcp.domain.shorten import shorten_drafts
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.budget import estimate_tokens
from moa_mcp.providers.request_form import USUAL, RequestForm, in_form
from moa_mcp.providers.settings import Change, describe_form, lower_to_credit, setting_named
from moa_mcp.providers.wrappers.retrying import RetryBudget
from moa_mcp.providers.wrappers.token_counts import TokenCounts, read_counts

MAX_CHANGES = 10
"""The most changes of one call. A chain of real refusals is shorter; a broken server could go on without end."""

MIN_ANSWER_TOKENS = 1024
"""max_tokens is lowered to what fits beside the messages if that is at least this, or a quarter of the window."""

MIN_CUT_CHARS = 1000
"""If less than this can be cut from the drafts, all of it is."""

SAFETY = 0.95
"""Drafts are shortened a little more than in proportion, because their text may have more tokens than the rest."""

_OVERFLOW_HINT = "some servers send nothing at all if the messages exceed the model's context"


class ModelForms:
    """The form of the requests to each model, as learned from its errors."""

    def __init__(self) -> None:
        self._forms: dict[str, RequestForm] = {}

    def of(self, model: str) -> RequestForm:
        """The form of the next request to a model."""
        return self._forms.get(model, USUAL)

    def learn(self, model: str, form: RequestForm) -> None:
        """Remember a difference from the usual form, beside those already known."""
        self._forms[model] = self.of(model).merged(form)


class AdaptToModel:
    """Asks again in another form. `forms` may be shared between runs.

    `nonce` is the nonce of the run, which marks its drafts. Each repeated request uses up a spare call of
    `retry_budget`.
    """

    def __init__(self, inner: Provider, forms: ModelForms, nonce: str, retry_budget: RetryBudget) -> None:
        self._inner = inner
        self._forms = forms
        self._nonce = nonce
        self._retry_budget = retry_budget

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask, and change the call if needed. Raises the ProviderError of the last try."""
        if not isinstance(call, ChatCall):
            return await self._inner.complete(call, on_text)
        form = self._forms.of(call.model)
        sent, notes, changes = in_form(call, form), describe_form(call, form), 0
        while True:
            try:
                result = await self._inner.complete(sent, on_text)
            except ProviderError as error:
                change = None if error.sent_text or changes == MAX_CHANGES else self._change(call, sent, error)
                if change is not None and change.learned is not None:
                    self._forms.learn(call.model, change.learned)
                if change is None or not self._retry_budget.take_spare():
                    raise
                sent, changes = change.call, changes + 1
                notes[change.about] = change.note
            else:
                if not notes or not isinstance(result, Draft):
                    return result
                return replace(result, notes=(*result.notes, *notes.values()))

    def _change(self, call: ChatCall, sent: ChatCall, error: ProviderError) -> Change | None:
        """What to change after `sent`, which was made from `call`, was refused; None if nothing helps."""
        if error.reason is Reason.TOO_LONG:
            counts = _counts(sent, error)
            return _lower_to_room(sent, counts) or self._shorten(call, sent, counts)
        if error.reason is Reason.BILLING:
            return lower_to_credit(sent, error)
        if error.reason in {Reason.CUT, Reason.EMPTY} and error.served_model is None:
            error.advice = _OVERFLOW_HINT
        setting = setting_named(error.parameter or "")
        if setting is None:
            return None
        about_room = setting.name == "max_tokens" and "context" in error.detail.lower()
        if about_room and (change := _lower_to_room(sent, _counts(sent, error))):
            return change
        return next((change for remedy in setting.remedies if (change := remedy(sent, error, setting))), None)

    def _shorten(self, call: ChatCall, sent: ChatCall, counts: TokenCounts | None) -> Change | None:
        """Shorten the drafts in proportion to what the provider counted; by half of them if it named no numbers."""
        texts, length = [message.text for message in call.messages], _length(sent)
        shortest = sum(map(len, shorten_drafts(texts, self._nonce, 0)))
        allowed, reserve = (length + shortest) // 2 if length - shortest > MIN_CUT_CHARS else shortest, None
        if counts is not None:
            reserve = min(sent.max_tokens or counts.window // 4, counts.window // 2)
            counted = counts.input or counts.counted or _estimate(sent)
            share = SAFETY * (counts.window - reserve) / counted
            allowed = int(length * share) if share < SAFETY else allowed
        shortened = shorten_drafts(texts, self._nonce, allowed)
        if sum(map(len, shortened)) >= length:
            return None
        messages = tuple(replace(message, text=text) for message, text in zip(call.messages, shortened, strict=True))
        note = (
            f"the drafts it read were shortened to fit its context: {_length(call) - sum(map(len, shortened)):,} of "
            f"{_length(call):,} characters were left out"
        )
        if sent.max_tokens is not None and reserve is not None and reserve < sent.max_tokens:
            sent = replace(sent, max_tokens=reserve)
            note = f"{note}, and max_tokens was lowered to {reserve:,}"
        return Change(replace(sent, messages=messages), "drafts", note)


def _length(call: ChatCall) -> int:
    return sum(len(message.text) for message in call.messages)


def _estimate(call: ChatCall) -> float:
    return sum(estimate_tokens(message.text) for message in call.messages)


def _counts(sent: ChatCall, error: ProviderError) -> TokenCounts | None:
    """What the provider counted. If the messages fit alone, then it counted max_tokens too."""
    counts = read_counts(error.numbers, sent.max_tokens)
    if counts is None or counts.input or not counts.counted or not sent.max_tokens or _estimate(sent) > counts.window:
        return counts
    return replace(counts, input=max(1, counts.counted - sent.max_tokens))


def _lower_to_room(sent: ChatCall, counts: TokenCounts | None) -> Change | None:
    """Lower max_tokens to what fits beside the messages, if an answer fits there."""
    if counts is None or counts.input is None:
        return None
    room = counts.window - counts.input
    if room < min(MIN_ANSWER_TOKENS, counts.window // 4) or (sent.max_tokens is not None and sent.max_tokens <= room):
        return None
    note = f"max_tokens was lowered to {room:,}: no more fits beside the messages"
    return Change(replace(sent, max_tokens=room), "max_tokens", note)
