"""Texts that flows made for an owner and can use again. In memory and bounded; the oldest are removed first.

They are not in the store, because a lost text costs one call, not a run.
"""

from __future__ import annotations

from collections.abc import Mapping

MAX_TEXTS = 16
"""Limit for one owner. It is low because all of them are stored with each run of the owner."""

MAX_OWNERS = 256


class LearnedTexts:
    """Texts by owner and key."""

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, str]] = {}

    def known_to(self, owner: str) -> Mapping[str, str]:
        """Return the texts of this owner, by key."""
        return dict(self._texts.get(owner, {}))

    def learn(self, owner: str, texts: Mapping[str, str]) -> None:
        """Add texts for an owner."""
        if not texts:
            return
        known = {**self._texts.pop(owner, {}), **texts}
        self._texts[owner] = dict(list(known.items())[-MAX_TEXTS:])
        if len(self._texts) > MAX_OWNERS:
            del self._texts[next(iter(self._texts))]
