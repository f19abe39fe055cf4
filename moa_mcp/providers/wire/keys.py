"""The secrets of a provider, its key and the values of its headers: read from variables, checked, redacted."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from moa_mcp.domain.endpoints import VARIABLE, Endpoint
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.text import one_line

_MASK = "***"
"""Providers mask a repeated key with this, but its first and last characters may still be visible."""


# The name of a variable, or plain words. A key is neither, so a match may be shown.
_NAME = r"(?:[A-Za-z_]+[:.])?(?:[A-Z][A-Z0-9_]*|[A-Za-z]+(?:[ _-][A-Za-z]+)*)"
_PLACEHOLDER = re.compile(
    rf"\$\{{{_NAME}(?P<default>:-[^{{}}]*)?\}}|\$(?:env:)?[A-Z][A-Z0-9_]*"
    rf"|\$?\{{\{{ ?{_NAME} ?\}}\}}|%{_NAME}%|<{_NAME}>"
    r"|(?i:your(?:[ _-][a-z]+)*[ _-]api[ _-]key(?:[ _-]here)?)"
)
MAX_PLACEHOLDER = 80


def placeholder_in(value: str) -> str | None:
    """The placeholder that a variable holds instead of a key, such as `${LAB_KEY}` or `your-api-key`; else None.

    It is left there by a client that does not expand this form, or by a user who has not filled it in.
    """
    value = value.strip()
    found = _PLACEHOLDER.fullmatch(value) if len(value) <= MAX_PLACEHOLDER else None
    if found is None:
        return None
    # The default of a variable may be a key, so it is not shown.
    return value if found["default"] is None else f"{value[: found.start('default')]}:-…}}"


def missing_variables(endpoint: Endpoint, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that the endpoint needs, for its key and its headers, and that hold nothing or a placeholder."""
    return tuple(name for name in endpoint.variables if _is_missing(environ.get(name, "")))


def _is_missing(value: str) -> bool:
    return not value.strip() or placeholder_in(value) is not None


def key_of(endpoint: Endpoint, environ: Mapping[str, str]) -> str | None:
    """The endpoint's key, ready for a header; None if the endpoint needs no key.

    Raises:
        ProviderError: MISSING_KEY, or AUTH for a value that is no key. Neither contains the value.
    """
    return None if endpoint.api_key_env is None else _value_of(endpoint.api_key_env, environ)


def headers_of(endpoint: Endpoint, environ: Mapping[str, str]) -> dict[str, str]:
    """The endpoint's own headers, with the variables in their values filled in. Raises ProviderError, as `key_of`."""

    def fill_in(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return _value_of(name, environ) if name else "$"

    return {name: VARIABLE.sub(fill_in, value) for name, value in endpoint.headers.items()}


def secrets_of(endpoint: Endpoint, environ: Mapping[str, str]) -> tuple[str, ...]:
    """All that is sent to the endpoint and must not be shown: its key, and the values in its headers.

    Of a header, that is the value of each variable, and each long word that is no address. Short words, such as the
    name of a service, are no secrets.
    """
    values = (environ.get(name, "").strip() for name in endpoint.variables)
    words = (word for value in endpoint.headers.values() for word in VARIABLE.sub(" ", value).split())
    written = (word for word in words if len(word) >= MIN_SECRET_CHARS and "://" not in word)
    return tuple(dict.fromkeys(secret for secret in (*values, *written) if secret))


def _value_of(variable: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable, "").strip()
    if _is_missing(value):
        raise ProviderError(Reason.MISSING_KEY, variable)
    if is_quoted(value):
        raise ProviderError(Reason.AUTH, f"{variable} holds its value in quotation marks; take them off")
    if not all("!" <= character <= "~" for character in value):
        raise ProviderError(Reason.AUTH, f"{variable} holds spaces or characters that no key has")
    return value


def is_quoted(value: str) -> bool:
    """Whether the value of a variable begins or ends with a quotation mark, as no key does."""
    value = value.strip()
    return value[:1] in _QUOTES or value[-1:] in _QUOTES


_QUOTES = ('"', "'", "`", "\u201c", "\u201d", "\u2018", "\u2019")

MIN_SECRET_CHARS = 12
"""A shorter secret, such as `EMPTY`, is not masked in answers, where it may be an ordinary word."""


def redact_key(text: str, *secrets: str | None) -> str:
    """A provider's message as one line of at most 200 characters, with every form of the secrets redacted.

    `text` must be the full message: a message that was cut may end with a part of a key, which cannot be recognized.
    The search ignores case, because host names and content types are shown in lower case.
    """
    line = one_line(text, limit=len(text) + 1)
    if pattern := secrets_pattern(secret for secret in secrets if secret):
        line = pattern.sub("[key]", line)
    return one_line(" ".join("[key]" if _MASK in word else word for word in line.split(" ")))


def secrets_pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern that finds every form of the secrets, in any case. A short secret is found only as a whole word."""
    forms = [
        rf"(?<!\w){re.escape(form)}(?!\w)" if len(secret) < MIN_SECRET_CHARS else re.escape(form)
        for secret in sorted(secrets, key=len, reverse=True)
        for form in key_forms(secret)
    ]
    return re.compile("|".join(forms), re.IGNORECASE) if forms else None


def key_forms(key: str) -> tuple[str, ...]:
    """The forms in which a key may appear: unchanged, URL-quoted, base64."""
    return tuple(dict.fromkeys((key, quote(key, safe=""), b64encode(key.encode()).decode().rstrip("="))))
