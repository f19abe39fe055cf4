"""Finish reasons after which a text is known to be incomplete, although its stream came to its end."""

from __future__ import annotations

from collections.abc import Mapping

UNFINISHED: Mapping[str, str] = {
    "length": "ran out of tokens and stops early",
    "content_filter": "was stopped by a filter of the provider and is incomplete",
    "insufficient_system_resource": "was stopped early, because the provider ran out of resources",
    "pause_turn": "was paused by the provider before its end",
    "network_error": "was stopped early by a network error of the provider",
    "abort": "was aborted by the provider before its end",
}
"""What happened to a text with each of these finish reasons, as the end of a sentence about the call."""
