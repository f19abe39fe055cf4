"""Reads presets in the format of Hermes Agent and converts them into presets of this package.

Providers with another name here are renamed (`PROVIDERS`). Any other provider can be declared under its Hermes name
in config.yaml. Keys that only an agent loop can use (`fanout`, `reference_tool_result_budget`, `privacy_filter`)
are accepted and have no effect.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, field_validator

from moa_mcp.domain.fields import StrictModel, Temperature
from moa_mcp.domain.preset import Aggregator, Limits, NamedPreset, Preset, PresetLimits, Proposer
from moa_mcp.domain.stages import CONCLUDES

PROVIDERS = {
    "openai-codex": "openai",
    "openai-api": "openai",
    "gemini": "google",
    "google-gemini": "google",
    "x-ai": "xai",
    "xai-oauth": "xai",
    "grok": "xai",
    "nous-portal": "nous",
    "nousresearch": "nous",
    "fireworks-ai": "fireworks",
    "together-ai": "together",
    "lm-studio": "lmstudio",
    "claude": "anthropic",
}
"""Maps Hermes Agent's name of a provider to the name here. Its subscriptions become API keys here."""

_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$", to_lower=True)]
_Effort = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,16}$")]
_Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


def _slot_from_id(slot: Any) -> Any:
    """Turn the short form `provider/model` of a slot into a mapping."""
    if not isinstance(slot, str):
        return slot
    provider, slash, model = slot.partition("/")
    return {"provider": provider, "model": model} if slash else {"model": slot}


def _as_list(slots: Any) -> Any:
    return [slots] if isinstance(slots, dict) else slots


class HermesSlot(StrictModel):
    """One model of a Hermes preset."""

    provider: _Word = Field(description="The provider, by its name in Hermes Agent or here.")
    model: Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=130)] = Field(
        description="The model, by the provider's own id."
    )
    enabled: bool = Field(default=True, description="Whether the model is asked.")
    reasoning_effort: _Effort | None = Field(
        default=None, description="How hard the model reasons, in the provider's words. Unset: not sent."
    )

    @field_validator("provider")
    @classmethod
    def _is_no_panel(cls, provider: str) -> str:
        if provider == "moa":
            raise ValueError("a Hermes preset cannot be in a slot of another; name the models themselves")
        return PROVIDERS.get(provider, provider).replace(".", "-")

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.model}"


_Slot = Annotated[HermesSlot, BeforeValidator(_slot_from_id, json_schema_input_type=str | HermesSlot)]
_NO_EFFECT = "Read, with no effect: only an agent loop can use it."


class HermesPreset(NamedPreset):
    """A preset as Hermes Agent writes it."""

    reference_models: Annotated[
        tuple[_Slot, ...], BeforeValidator(_as_list, json_schema_input_type=_Slot | list[_Slot])
    ] = Field(description="The models that draft: a list, or one alone.")
    aggregator: _Slot = Field(description="The model that writes the answer.")
    reference_temperature: Temperature | None = Field(
        default=None, description="How much the drafts vary. Unset: the provider's own default."
    )
    aggregator_temperature: Temperature | None = Field(
        default=None, description="How much the answer varies. Unset: the provider's own default."
    )
    reference_timeout: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Seconds until a draft is given up, at most 3,600. Unset: 180."
    )
    max_tokens: _Tokens | None = Field(
        default=None, description="The most tokens of one reply. Unset: the provider's own limit."
    )
    degraded_reference_policy: Literal["loud", "silent"] = Field(
        default="loud", description="Whether the aggregator reads which models failed (loud) or not (silent)."
    )
    enabled: bool = Field(default=True, description="Whether the panel is asked. false: the aggregator answers alone.")
    limits: PresetLimits = Limits()
    fanout: Any = Field(default=None, description=_NO_EFFECT)
    reference_tool_result_budget: Any = Field(default=None, description=_NO_EFFECT)
    privacy_filter: Any = Field(default=None, description=_NO_EFFECT)

    def to_preset(self) -> Preset:
        """Convert the panel into a preset of this package."""
        references = [slot for slot in self.reference_models if slot.enabled] if self.enabled else []
        return Preset(
            name=self.name,
            title=self.title,
            description=self.description,
            proposers=tuple(map(self._proposer, references)),
            layers=2 if references else 1,
            aggregator=Aggregator(
                model=self.aggregator.id,
                temperature=self.aggregator_temperature,
                max_tokens=self.max_tokens,
                effort=self.aggregator.reasoning_effort,
            ),
            limits=self.limits,
            conclude=CONCLUDES.parse({"by": "advise", "unavailable": self.degraded_reference_policy}),
        )

    def _proposer(self, slot: HermesSlot) -> Proposer:
        return Proposer(
            model=slot.id,
            temperature=self.reference_temperature,
            max_tokens=self.max_tokens,
            effort=slot.reasoning_effort,
            timeout_seconds=None if self.reference_timeout is None else min(self.reference_timeout, 3600),
        )
