"""Drafts with little to pass on: refusals, and texts far shorter than the others.

A comparison by words finds them unlike everything else, so that a choice of the most different drafts would always keep
them. Refusals are recognised in the languages with the most speakers, by how they begin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

MAX_REFUSAL_CHARS = 600
"""A longer text says more than that it refuses."""

SHORT_SHARE = 0.2
"""A draft shorter than this share of the median length is very short."""

_REFUSAL = re.compile(
    r"\W{0,9}(?:"
    r"(?:(?:i['\u2019]?m|i am) (?:very |so |really )?(?:sorry|unable|not able)|(?:my )?apolog(?:y|ies)|i apologi[sz]e"
    r"|sorry\b"
    r"|i (?:can['\u2019]?t|cannot|can not|won['\u2019]?t|will not|must decline|decline)\b|as an ai\b"
    r"|unfortunately,? i (?:can|am|do))"
    r"|es tut mir (?:sehr )?leid|(?:leider )?(?:kann|darf) ich\b[^.]{0,60} nicht|ich (?:kann|darf)\b[^.]{0,60} nicht"
    r"|lo siento|no puedo|disculp|je (?:suis )?(?:sincèrement )?(?:désolé|ne peux pas|ne suis pas en mesure)|désolé"
    r"|desculpe|sinto muito|lamento|(?:eu )?não posso|mi dispiace|non posso"
    r"|извините|простите|к сожалению|я не могу|не могу"
    r"|抱歉|很抱歉|对不起|對不起|我(?:无法|無法|不能)|申し訳|すみません|お答えできません|죄송"
    r"|क्षमा करें|माफ़? ?कर|দুঃখিত|আমি দুঃখিত|عذر|آسف|أعتذر|لا (?:أستطيع|يمكنني)"
    r")",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a short text begins as refusals do."""
    return len(text) <= MAX_REFUSAL_CHARS and _REFUSAL.match(text) is not None


def with_substance(texts: Sequence[str]) -> list[int]:
    """The indices of the texts that are neither refusals nor very short beside the others."""
    shortest = SHORT_SHARE * median(map(len, texts)) if texts else 0
    return [index for index, text in enumerate(texts) if len(text) >= shortest and not is_refusal(text)]
