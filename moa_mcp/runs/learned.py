"""What flows have learned for an owner and need not make again: in memory, bounded, the oldest going first.

Not the store: what is lost here costs a call, not a run.
"""

from __future__ import annotations

from collections.abc import Mapping

MAX_TEXTS = 16
"""Of one owner. They are written down with each of the owner's runs, so there are few."""

MAX_OWNERS = 256


class LearnedTexts:
    """Texts by owner and key."""

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, str]] = {}

    def known_to(self, owner: str) -> Mapping[str, str]:
        """What is known for an owner, by key; nobody else's."""
        return dict(self._texts.get(owner, {}))

    def learn(self, owner: str, texts: Mapping[str, str]) -> None:
        """Add to what is known for an owner."""
        if not texts:
            return
        known = {**self._texts.pop(owner, {}), **texts}
        self._texts[owner] = dict(list(known.items())[-MAX_TEXTS:])
        if len(self._texts) > MAX_OWNERS:
            del self._texts[next(iter(self._texts))]
