"""What strangers and hostile drafts do to a server is measured from outside, and a small measurement works."""

import pytest

from benchmarks.attack import measure
from benchmarks.attack_forms import FORMS, SIZE, draft

pytestmark = pytest.mark.slow


def test_every_hostile_form_is_as_long_as_it_has_to_be_and_the_same_each_time() -> None:
    for form in FORMS:
        assert SIZE <= len(draft(form)) <= SIZE + 10
        assert draft(form) == draft(form)


def test_a_harmless_draft_is_kept_and_an_ask_among_a_few_strangers_is_served() -> None:
    found = measure(["prose"], heads=5, bodies=2)

    prose = found["forms"]["prose"]
    assert (prose["drafts_ok"], prose["gave_up"]) == (2, False)
    assert None not in (prose["healthz_ms"], prose["ask_s"], prose["list_s"], prose["read_s"])
    for attack, attackers in (("half_open_heads", 5), ("held_bodies", 2)):
        assert found[attack]["attackers"] == attackers
        assert found[attack]["ask_served_ms"] is not None
