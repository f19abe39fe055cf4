"""Maps the error reply of a provider (status, headers, error object) to a `ProviderError`. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.providers.dialects.json_access import mapping, sequence, string

_BY_STATUS = {
    400: Reason.BAD_REQUEST,
    401: Reason.AUTH,
    402: Reason.BILLING,
    403: Reason.FORBIDDEN,
    404: Reason.UNKNOWN_MODEL,
    408: Reason.UNAVAILABLE,
    409: Reason.UNAVAILABLE,
    413: Reason.TOO_LONG,
    422: Reason.BAD_REQUEST,
    429: Reason.RATE_LIMITED,
    529: Reason.OVERLOADED,
}

_BY_CODE = {
    "authentication_error": Reason.AUTH,
    "billing_error": Reason.BILLING,
    "billing_hard_limit_reached": Reason.BILLING,
    "billing_not_active": Reason.BILLING,
    "content_filter": Reason.REFUSED,
    "content_policy_violation": Reason.REFUSED,
    "context_length_exceeded": Reason.TOO_LONG,
    "credit_balance_exhausted": Reason.BILLING,
    "engine_overloaded": Reason.OVERLOADED,
    "enforced_spend_limit_reached": Reason.BILLING,
    "insufficient_quota": Reason.BILLING,
    "invalid_api_key": Reason.AUTH,
    "model_context_window_exceeded": Reason.TOO_LONG,
    "model_not_found": Reason.UNKNOWN_MODEL,
    "not_found_error": Reason.UNKNOWN_MODEL,
    "organization_spend_limit_exceeded": Reason.BILLING,
    "organization_usage_limit_exceeded": Reason.BILLING,
    "overloaded": Reason.OVERLOADED,
    "overloaded_error": Reason.OVERLOADED,
    "permission_denied": Reason.FORBIDDEN,
    "permission_error": Reason.FORBIDDEN,
    "project_spend_limit_exceeded": Reason.BILLING,
    "rate_limit_error": Reason.RATE_LIMITED,
    "rate_limit_exceeded": Reason.RATE_LIMITED,
    "request_too_large": Reason.TOO_LONG,
    "resource_exhausted": Reason.RATE_LIMITED,
}
"""Error codes and types of providers that are more exact than the HTTP status."""

_BY_PHRASE = tuple(
    (re.compile(phrases, re.IGNORECASE), reason)
    for phrases, reason in (
        (r"context (length|window)|prompt is too long|too many (input )?tokens", Reason.TOO_LONG),
        (r"credit balance|spend(ing)? limit|key limit exceeded|insufficient (funds|balance)", Reason.BILLING),
        (r"(invalid|incorrect) api key|api key not (valid|found)", Reason.AUTH),
        (r"not a valid model|model\b.{0,80}\b(does not exist|not found)", Reason.UNKNOWN_MODEL),
    )
)
"""Phrases in the messages of providers without exact codes, whose status is ambiguous."""

_SETTINGS = {
    "max_completion_tokens": "max_completion_tokens",
    "max_tokens": "max_tokens",
    "stream_options": "stream_options",
    "temperature": "temperature",
    "response_format": "response_format",
    "json_object": "response_format",
    "json mode": "response_format",
    "thinking": "thinking",
    "output_config": "output_config",
    "reasoning_effort": "reasoning_effort",
    "reasoningeffort": "reasoning_effort",
    "reasoning": "reasoning",
    "effort": "output_config",
}
"""Words for a setting in error messages, with the request key; longer words first, because the first match wins."""


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


def error_from_response(status: int, headers: Mapping[str, str], body: object, *, now: float) -> ProviderError:
    """The error for an HTTP reply with a status of 400 or more. `now` is in Unix seconds."""
    error = error_from_body(body, status)
    error.retry_after = retry_after(headers, now)
    error.should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    return error


def error_from_body(body: object, status: int | None = None) -> ProviderError:
    """The error for an error object, which is a whole body or an event in a stream (without a status).

    The detail is the provider's full, raw message: the caller must clean it before it is shown.
    """
    error = _error_object(body)
    names = [name.lower() for name in _names(error)]
    message = _message(error) or string(body)
    status = status if status is not None else _status_among(names)
    reason = _reason(status, names, message)
    parameter = _parameter(error, message) if reason is Reason.BAD_REQUEST else None
    detail = message or (f"HTTP {status}" if status else "")
    return ProviderError(reason, detail, status=status, parameter=parameter)


def error_from_redirect(status: int, location: str) -> ProviderError:
    """The error for a redirect. It names the other host; nothing is sent there."""
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    return ProviderError(Reason.REDIRECT, f"to {host or 'a path of its own'}", status=status)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the provider asks to wait; None if it gives no readable value."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    return seconds if (seconds := _number(value)) is not None else _seconds_until(value, now)


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None


def _seconds_until(date: str | None, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date or "")
        return max(0.0, _to_utc(moment).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _to_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _error_object(body: object) -> dict[str, Any]:
    """The error object of a body: `{"error": {…}}`, `{"error": "…"}`, a list of these, or the body itself."""
    outer = mapping(next(iter(sequence(body)), None) or body)
    inner = outer.get("error")
    return {**outer, "message": inner} if isinstance(inner, str) else mapping(inner) or outer


def _names(error: Mapping[str, Any]) -> Iterator[str]:
    """The codes and types of an error, most exact first."""
    for source in (mapping(error.get("details")), error):
        for key in ("error_code", "code", "type", "status"):
            if isinstance(value := source.get(key), str | int):
                yield str(value)


def _status_among(names: list[str]) -> int | None:
    """The HTTP status that a gateway sends as the code of an error."""
    return next((int(name) for name in names if re.fullmatch(r"[45]\d\d", name)), None)


def _message(error: Mapping[str, Any]) -> str:
    """The message of the error, followed by the raw message of the provider behind a gateway."""
    text = next((str(value) for key in ("message", "detail", "error") if (value := error.get(key))), "")
    raw = string(mapping(error.get("metadata")).get("raw"))
    return ": ".join(part for part in (text, raw) if part)


def _reason(status: int | None, names: list[str], message: str) -> Reason:
    for name in names:
        if name in _BY_CODE:
            return _BY_CODE[name]
    if reason := _by_phrase(status, message):
        return reason
    if status is not None:
        return _BY_STATUS.get(status) or (Reason.UNAVAILABLE if status >= 500 else Reason.BAD_REQUEST)
    return Reason.BAD_REQUEST if "invalid_request_error" in names else Reason.UNAVAILABLE


def _by_phrase(status: int | None, message: str) -> Reason | None:
    reasons = (reason for phrase, reason in _BY_PHRASE if phrase.search(message))
    match status:
        case 429:  # "too many tokens" means a rate limit here, not a length
            return Reason.BILLING if Reason.BILLING in reasons else None
        case None | 400 | 401 | 403 | 404 | 413 | 422:
            return next(reasons, None)
        case _:
            return None


def _parameter(error: Mapping[str, Any], message: str) -> str | None:
    """The request key that the provider refuses, if the error names one that can be left out; else None."""
    if named := string(error.get("param")).partition(".")[0].lower():
        return _SETTINGS.get(named)
    text = message.lower()
    return next((key for word, key in _SETTINGS.items() if word in text), None)
