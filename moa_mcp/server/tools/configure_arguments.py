"""What `moa_configure` is called with: names of presets, and the fields of one to save."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from moa_mcp.domain.fields import PromptStyle
from moa_mcp.domain.preset import Preset
from moa_mcp.server.tools.schema import Arguments


def _parsed(value: Any) -> Any:
    """Several clients send a list or a mapping as the text of one."""
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


Name = Annotated[str, Field(max_length=64)]
Model = str | dict[str, Any]
Mappings = Annotated[dict[str, Any], BeforeValidator(_parsed)]


class ConfigureArguments(Arguments):
    """What moa_configure takes. The fields of a preset are checked where presets are."""

    null_means_none: ClassVar[frozenset[str]] = frozenset(
        {"straggler_grace_seconds", "roles", "route", "screen", "residual", "stop"}
    )

    default_preset: Annotated[Name | None, Field(description="Make this preset the default.")] = None
    save_preset: Annotated[
        Name | None,
        Field(
            description="Save a preset under this name: lower-case letters, digits, - and _. It is `base` "
            "with the fields that are given; what is not given stays as in base."
        ),
    ] = None
    base: Annotated[
        Name | None,
        Field(description="The preset to begin from; by default the one that is saved over, if there is one."),
    ] = None
    title: Annotated[str | None, Field(max_length=100, description="The preset's title.")] = None
    description: Annotated[
        str | None, Field(max_length=1000, description="What the preset is good for, in a sentence or two.")
    ] = None
    proposers: Annotated[
        Annotated[list[Model], Field(max_length=64)] | None,
        BeforeValidator(_parsed),
        Field(
            description="Who drafts: model ids as `provider/model`, or mappings with `model` and, as wanted, "
            "temperature, max_tokens, effort, timeout_seconds, role, samples, skills.",
        ),
    ] = None
    layers: Annotated[
        int | None, Field(ge=1, le=10, description="How many layers, the aggregator counted as the last one.")
    ] = None
    aggregator: Annotated[
        Model | None,
        BeforeValidator(_parsed),
        Field(description="Who writes the answer: a model id, or a mapping that may also name fallbacks."),
    ] = None
    min_drafts: Annotated[
        int | None, Field(ge=1, le=64, description="With fewer good drafts than this a layer has failed.")
    ] = None
    straggler_grace_seconds: Annotated[
        float | None,
        Field(
            ge=0,
            le=3600,
            description="How long the slowest fifth of a layer is waited for once the rest is in. Null: for all.",
        ),
    ] = None
    prompt_style: Annotated[
        PromptStyle | None,
        Field(description="fenced: drafts as fenced data in the user's turn. paper: the prompt of the reference code."),
    ] = None
    limits: Annotated[
        Mappings | None,
        Field(description="max_calls, max_cost_usd, deadline_seconds; only lower ones are taken."),
    ] = None
    roles: Annotated[
        Mappings | None,
        Field(description="A persona per proposer: `task`, and `model` to write them. Null: none."),
    ] = None
    route: Annotated[
        Mappings | None,
        Field(description="Which proposers a question gets: `by` gate, difficulty or agreement. Null: all."),
    ] = None
    screen: Annotated[
        Mappings | None,
        Field(description="Which drafts the next layer reads: `by` judge, diversity or cluster. Null: all."),
    ] = None
    residual: Annotated[
        Mappings | None,
        Field(description="Pass on what changed from layer to layer; `model` extracts it. Null: do not."),
    ] = None
    stop: Annotated[
        Mappings | None, Field(description="When layers end early: `by` residual or agreement. Null: never.")
    ] = None
    conclude: Annotated[
        Mappings | None,
        Field(
            description="How the answer comes about: `by` synthesize, take, windows, select, rate, vote, "
            "pairs, critique, council, analysis, subsets or advise."
        ),
    ] = None
    delete_preset: Annotated[
        Name | None,
        Field(description="Delete this preset of the user; a built-in one of that name comes back."),
    ] = None
    undo: Annotated[bool, Field(description="Take the last change back. Stands alone.")] = False
    dry_run: Annotated[bool, Field(description="Check the change and show its diff; write nothing.")] = False
    revision: Annotated[
        int | None, Field(ge=0, description="The revision you have seen; at any other the change is refused.")
    ] = None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a preset that were given; null ones where null takes something away from a saved preset."""
        given = {name: getattr(self, name) for name in PRESET_FIELDS if name in self.model_fields_set}
        cleared = self.null_means_none if self.save_preset else frozenset[str]()
        return {name: value for name, value in given.items() if value is not None or name in cleared}


PRESET_FIELDS = tuple(name for name in Preset.model_fields if name != "name")
