"""Registries: variants by name, beside the built-in ones, which nothing replaces."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import ValidationError

from moa_mcp.domain.errors import InvalidRequest
from moa_mcp.domain.fields import Count, StrictModel
from moa_mcp.domain.stages import CONCLUDES, METHODS
from moa_mcp.domain.variants import VariantRegistry, Variants


class Bake(StrictModel):
    by: Literal["bake"]
    minutes: Count = 5


def test_a_name_is_taken_once() -> None:
    registry: VariantRegistry[int] = VariantRegistry("number", "moa_mcp.views")
    registry.add("one", 1)

    with pytest.raises(ValueError, match="There is already a number 'one', and it cannot be replaced"):
        registry.add("one", 11)
    assert registry.get("one") == 1


def test_an_unknown_name_is_refused_with_the_known_ones_nearest_first() -> None:
    registry: VariantRegistry[int] = VariantRegistry("number", "moa_mcp.views")
    for name in ("fifty", "one", "two"):
        registry.add(name, 0)

    with pytest.raises(InvalidRequest, match=r"There is no number 'twoo'. Known, nearest first: 'two', "):
        registry.get("twoo")


def test_a_spec_is_read_by_its_discriminator_and_carried_out_by_its_function() -> None:
    cooking = Variants("cook", Bake, "by", "moa_mcp.views")

    @cooking.register(Bake)
    def bake(spec: Bake) -> str:
        return f"baked for {spec.minutes} minutes"

    spec = cooking.parse({"by": "bake", "minutes": 7})

    assert cooking.function(spec)(spec) == bake(Bake(by="bake", minutes=7)) == "baked for 7 minutes"
    assert cooking.name(spec) == "bake"


def test_a_fault_inside_a_variant_keeps_its_place() -> None:
    with pytest.raises(ValidationError) as refused:
        CONCLUDES.parse({"by": "windows", "window": 0})

    assert [one["loc"] for one in refused.value.errors()] == [("windows", "window")]


@pytest.mark.parametrize("registry", METHODS, ids=lambda registry: registry.key)
def test_every_method_is_found_in_its_home_with_its_function(registry: Variants[StrictModel]) -> None:
    specs = registry.all().values()

    assert specs
    for spec in specs:
        assert registry.function(spec.model_construct()).__module__ == spec.__module__
