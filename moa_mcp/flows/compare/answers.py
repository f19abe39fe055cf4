"""Count the answers of drafts: which draft states which answer, and which answers say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from moa_mcp.domain.regex import Pattern
from moa_mcp.flows.compare.find import find_answer
from moa_mcp.flows.compare.same import Form, read_form, same_form

Group = tuple[int, ...]
"""Indices of drafts whose answers say the same, in order."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The answer of each draft (None if it states none), and the groups of those that say the same, largest first.

    Among groups of one size, the one with the earliest draft comes first.
    """

    forms: tuple[Form | None, ...]
    groups: tuple[Group, ...]

    @property
    def answers(self) -> tuple[str | None, ...]:
        """The answer of each draft in its normal form; answers that say the same have one text."""
        named = {index: self._name(group) for group in self.groups for index in group}
        return tuple(named.get(index) for index in range(len(self.forms)))

    @property
    def is_open(self) -> bool:
        """Whether more than half of the drafts state no answer, so that a count means little."""
        return 2 * self.forms.count(None) > len(self.forms)

    @property
    def votes(self) -> dict[str, int]:
        """How many drafts state each answer, in the order of the groups."""
        return {self._name(group): len(group) for group in self.groups}

    @property
    def first(self) -> int:
        """The index of the first draft with the most frequent answer. At least one draft must state an answer."""
        return self.groups[0][0]

    @property
    def tied(self) -> bool:
        """Whether another answer is as frequent."""
        return len(self.groups) > 1 and len(self.groups[0]) == len(self.groups[1])

    @property
    def is_minority(self) -> bool:
        """Whether fewer than half of the drafts state the most frequent answer."""
        return 2 * len(self.groups[0]) < len(self.forms)

    def with_groups(self, groups: Sequence[Group]) -> Tally:
        """This tally with other groups of the same drafts."""
        return replace(self, groups=sort_groups(groups))

    def form_of(self, group: Group) -> Form:
        """The form of a group's first answer."""
        form = self.forms[group[0]]
        assert form is not None  # only drafts with an answer are in groups
        return form

    def _name(self, group: Group) -> str:
        # Of `12` and `12 apples`, the one with the unit says more.
        forms = [form for index in group if (form := self.forms[index])]
        return max(forms, key=lambda form: form.has_unit).text


def tally_answers(texts: Sequence[str], question: str = "", pattern: Pattern | None = None) -> Tally:
    """Find the answer of each text, first by the user's own `pattern`, and group those whose forms say the same."""
    found = ((pattern.find_answer(text) if pattern else None) or find_answer(text, question) for text in texts)
    forms = tuple(read_form(answer) if answer else None for answer in found)
    stated = tuple(form if form and form.text else None for form in forms)
    return Tally(stated, group_forms(stated))


def group_forms(forms: Sequence[Form | None]) -> tuple[Group, ...]:
    """Group the indices of `forms` by what they say; an answer joins the first group of which all say the same."""
    groups: list[list[int]] = []
    for index, form in enumerate(forms):
        if form is None:
            continue
        for group in groups:
            if all(same_form(form, other) for member in group if (other := forms[member])):
                group.append(index)
                break
        else:
            groups.append([index])
    return sort_groups(list(map(tuple, groups)))


def sort_groups(groups: Sequence[Group]) -> tuple[Group, ...]:
    """The groups, the largest first, and those of one size by their first draft."""
    return tuple(sorted((tuple(sorted(group)) for group in groups), key=lambda group: (-len(group), group)))
