"""The API key of a provider: read from the key variables, checked before it is sent, redacted before text is shown."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote

from moa_mcp.domain.endpoints import Endpoint
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


def is_set(endpoint: Endpoint, keys: Mapping[str, str]) -> bool:
    """Whether the endpoint has the key that it needs, or needs none. A placeholder does not count as a key."""
    if endpoint.api_key_env is None:
        return True
    value = keys.get(endpoint.api_key_env, "")
    return bool(value.strip()) and placeholder_in(value) is None


def key_of(endpoint: Endpoint, keys: Mapping[str, str]) -> str | None:
    """The endpoint's key, ready for a header; None if the endpoint needs no key.

    Raises:
        ProviderError: MISSING_KEY, or AUTH for a value that a header cannot carry. Neither contains the value.
    """
    if endpoint.api_key_env is None:
        return None
    if not is_set(endpoint, keys):
        raise ProviderError(Reason.MISSING_KEY, endpoint.api_key_env)
    key = keys[endpoint.api_key_env].strip()
    if not all("!" <= character <= "~" for character in key):
        detail = f"{endpoint.api_key_env} holds spaces or characters that no key has"
        raise ProviderError(Reason.AUTH, detail)
    return key


def redact_key(text: str, key: str | None) -> str:
    """A provider's message as one line of at most 200 characters, with every form of the key redacted.

    `text` must be the full message: a message that was cut may end with a part of a key, which cannot be recognized.
    The search ignores case, because host names and content types are shown in lower case.
    """
    line = one_line(text, limit=len(text) + 1)
    if key:
        line = re.sub("|".join(map(re.escape, key_forms(key))), "[key]", line, flags=re.IGNORECASE)
    return one_line(" ".join("[key]" if _MASK in word else word for word in line.split(" ")))


def key_forms(key: str) -> tuple[str, ...]:
    """The forms in which a key may appear: unchanged, URL-quoted, base64."""
    return tuple(dict.fromkeys((key, quote(key, safe=""), b64encode(key.encode()).decode().rstrip("="))))
