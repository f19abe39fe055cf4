"""A preset is valid by construction."""

from typing import Any

import pytest
from pydantic import ValidationError

from moa_mcp.domain.preset import Limits, Preset

PLAIN: dict[str, Any] = {"proposers": ["lab/a", "lab/b"], "aggregator": "lab/agg"}


def preset(**changes: Any) -> Preset:
    return Preset.model_validate({**PLAIN, **changes})


def test_a_model_id_alone_is_a_proposer_with_nothing_set() -> None:
    assert preset().proposers == preset(proposers=[{"model": "lab/a"}, {"model": "lab/b"}]).proposers


def test_samples_are_slots_of_their_own() -> None:
    assert len(preset(proposers=[{"model": "lab/a", "samples": 3}, "lab/b"]).slots) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proposers": []}, "needs proposers"),
        ({"min_drafts": 3}, "only 2 slots"),
        ({"require_drafts": 3}, "require_drafts is 3"),
        ({"screen": {"by": "judge", "keep": 5}}, "keeps 5"),
        ({"screen": {"by": "diversity", "keep": 3}}, "keeps 3"),
        ({"stop": {"by": "residual"}}, "needs a residual stage"),
        ({"conclude": {"by": "take"}}, "exactly one slot"),
        ({"conclude": {"by": "windows"}, "layers": 3}, "drafts of one layer"),
        ({"conclude": {"by": "windows", "window": 3, "reserved": 3}}, "no room"),
        ({"route": {"by": "gate", "at_least": 2, "at_most": 1}}, "below at_least"),
        ({"conclude": {"by": "jury"}}, "there is no conclude method of this name. Expected one of 'advise'"),
        ({"proposers": [{"method": "magic", "model": "lab/a"}]}, "tree-search"),
        ({"layer": 3}, "layer"),
        ({"aggregator": "no-slash"}, "aggregator"),
        ({"limits": {"max_cost_usd": float("inf")}}, "finite"),
    ],
)
def test_what_is_impossible_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        preset(**changes)

    assert message in str(refused.value)


def test_an_error_does_not_repeat_what_was_written() -> None:
    with pytest.raises(ValidationError) as refused:
        preset(aggregator="sk-secret")

    assert "sk-secret" not in str(refused.value)


def test_required_models_are_those_of_slots_stages_and_methods_but_not_the_fallbacks() -> None:
    full = preset(
        proposers=["lab/a", {"method": "tree-search", "model": "lab/tree", "judge": "lab/judge"}],
        aggregator={"model": "lab/agg", "fallbacks": ["lab/spare"]},
        route={"by": "difficulty", "easy": "lab/easy"},
        conclude={"by": "critique", "model": "lab/critic"},
    )

    assert set(full.required_models) == {
        "lab/a", "lab/tree", "lab/judge", "lab/agg", "lab/easy", "lab/critic",
    }  # fmt: skip
    assert full.models[-1] == "lab/spare"


def test_of_two_sets_of_limits_the_lower_of_each_holds() -> None:
    ours, theirs = Limits(max_calls=10, deadline_seconds=60), Limits(max_calls=20, max_cost_usd=0.5)

    assert ours.lowered_by(theirs) == Limits(max_calls=10, max_cost_usd=0.5, deadline_seconds=60)


def test_a_preset_comes_back_from_its_own_json() -> None:
    full = preset(conclude={"by": "select", "for": "consistent"}, screen={"by": "cluster"})

    assert Preset.model_validate_json(full.model_dump_json()) == full
