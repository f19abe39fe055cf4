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
from moa_mcp.providers.dialects.error_reasons import reason_of
from moa_mcp.providers.dialects.json_access import count, mapping, sequence, string
from moa_mcp.providers.settings import affordable_tokens, first_setting_in, refuses_parts, setting_named

_WAIT = re.compile(
    r"""\b(?:retry|again|wait|reset\w*|after|available)\b[^.\n"]{0,40}?\b(?P<parts>(?:\d{1,9}(?:\.\d{1,9})?\s?"""
    r"""(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])\s?){1,4})""",
    re.IGNORECASE,
)
"""A request to wait in a message, such as "try again in 1m2.5s"."""

_WAIT_KEY = re.compile(
    r"""(?:retry_?(?:delay|after)|retry-after|estimated_time)(?P<milli>[_-]?ms)?[_a-z]*["']?\s?[:=]\s?["']?"""
    r"""(?P<number>\d{1,9}(?:\.\d{1,9})?)(?P<unit>ms)?""",
    re.IGNORECASE,
)
"""The same as a value of the error, such as `"retryDelay": "4s"`."""

_PART = re.compile(r"(\d+(?:\.\d+)?)\s?(ms|milli|[smhd])", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_HTTP_STATUS = re.compile(r"\b(?:error|status|code|http)\b\W{0,4}(?:code\W{0,4})?\d{3}\b|<\d{3}>", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])(?<![A-Za-z]-)(?<!\bby )[1-9](?:\d{0,2}(?:,\d{3})+|\d{1,8})(?!\w|[.,]\d)")

_PASSES = {Reason.RATE_LIMITED, Reason.OVERLOADED, Reason.UNAVAILABLE, Reason.LOADING, Reason.BILLING}
"""The reasons for which a wait in the words of an error means something."""

MAX_DETAIL = 10_000
"""The most characters of an error's values that are searched for a wait."""


def error_from_response(status: int, headers: Mapping[str, str], body: object, *, now: float) -> ProviderError:
    """The error for an HTTP reply with a status of 400 or more. `now` is in Unix seconds."""
    error = error_from_body(body, status)
    wait = retry_after(headers, now)
    error.retry_after = error.retry_after if wait is None else wait
    error.should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    return error


def error_from_body(body: object, status: int | None = None) -> ProviderError:
    """The error for an error object, which is a whole body or an event in a stream (without a status).

    The detail is the provider's full, raw message: the caller must clean it before it is shown.
    """
    error = _error_object(body)
    names = [name.lower() for name in _names(error)]
    message = _message(error) or string(body)
    values = repr(body)[:MAX_DETAIL]
    wait = _hinted_wait(message, values)
    status = status if status is not None else _status_among(names)
    reason = reason_of(status, names, message, values, wait)
    named = _named_parameter(error)
    if reason is Reason.BAD_REQUEST and named == "model":
        reason = Reason.UNKNOWN_MODEL
    elif reason is Reason.UNKNOWN_MODEL and setting_named(named):
        reason = Reason.BAD_REQUEST
    return ProviderError(
        reason,
        message or (f"HTTP {status}" if status else ""),
        status=status,
        retry_after=wait if reason in _PASSES else None,
        parameter=_parameter(error, message, reason),
        numbers=_numbers(error, message),
    )


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


def _named_parameter(error: Mapping[str, Any]) -> str:
    named = string(error.get("param")).partition(".")[0].lower()
    return "" if named in {"none", "null"} else named


def _parameter(error: Mapping[str, Any], message: str, reason: Reason) -> str | None:
    """The setting that the provider refuses, as it names it, if it can be changed; else None."""
    if reason is Reason.BILLING and affordable_tokens(message):
        return "max_tokens"
    if reason is not Reason.BAD_REQUEST:
        return None
    named = _named_parameter(error)
    if named and not named.startswith("messages"):
        return named if setting_named(named) else None
    found = None if named else first_setting_in(message)
    return found or ("cache_control" if refuses_parts(f"{error.get('param')} {message}") else None)


def _numbers(error: Mapping[str, Any], message: str) -> tuple[int, ...]:
    """The lengths and limits in a message, followed by those that stand beside it."""
    found = (int(number[0].replace(",", "")) for number in _NUMBER.finditer(_HTTP_STATUS.sub(" ", message)))
    beside = (number for key in ("n_prompt_tokens", "n_ctx") if (number := count(error.get(key))))
    return tuple(dict.fromkeys((*found, *beside)))


def _hinted_wait(message: str, values: str) -> float | None:
    """Seconds that an error asks to wait, in its values or in its words; None if it does not."""
    if found := _WAIT_KEY.search(values):
        return float(found["number"]) * (0.001 if found["milli"] or found["unit"] else 1)
    if found := _WAIT.search(message):
        return sum(float(number) * _SECONDS[unit.lower()] for number, unit in _PART.findall(found["parts"]))
    return None
