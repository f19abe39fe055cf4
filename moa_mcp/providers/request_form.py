"""How a call is written as a request, where a model refuses the usual form.

A wrapper (`AdaptToModel`) decides on the form, and the dialects read it. A journal never has it: a resumed run sends
the call as it was planned, and learns the form again if it has to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from moa_mcp.domain.model import Call, ChatCall
from moa_mcp.domain.sampling import setting_of, without_settings


@dataclass(frozen=True, slots=True)
class RequestForm:
    """What differs from the usual request.

    `omitted` holds the names of the settings that are not sent (see `providers/settings.py`). `limit_key` is the key
    for max_tokens (None: the dialect's own). `max_limit` is the largest max_tokens that the model accepts.
    """

    omitted: frozenset[str] = frozenset()
    limit_key: str | None = None
    max_limit: int | None = None

    def sends(self, setting: str) -> bool:
        """Whether the request has this setting."""
        return setting not in self.omitted

    def merged(self, other: RequestForm) -> RequestForm:
        """The form that differs from the usual one in all that this form or `other` does."""
        limits = [limit for limit in (self.max_limit, other.max_limit) if limit is not None]
        return RequestForm(
            self.omitted | other.omitted, other.limit_key or self.limit_key, min(limits) if limits else None
        )

    def lowered(self, limit: int) -> int:
        """`limit`, or the largest max_tokens that the model accepts if that is less."""
        return limit if self.max_limit is None else min(limit, self.max_limit)


USUAL = RequestForm()


@dataclass(frozen=True, slots=True)
class AdaptedCall(ChatCall):
    """A chat call that is not sent in the usual form."""

    form: RequestForm = field(default=USUAL, kw_only=True)


def form_of(call: Call) -> RequestForm:
    """The form of the request for a call."""
    return call.form if isinstance(call, AdaptedCall) else USUAL


def in_form(call: ChatCall, form: RequestForm) -> ChatCall:
    """The call in this form, without the settings that the form leaves out."""
    if form == form_of(call):
        return call
    plain = without_settings(call, *(name for name in form.omitted if setting_of(call, name) is not None))
    limit = None if plain.max_tokens is None else form.lowered(plain.max_tokens)
    values: dict[str, Any] = {each.name: getattr(plain, each.name) for each in fields(plain)}
    values |= {"max_tokens": limit, "form": form}
    return AdaptedCall(**values)
