"""Builds a preset from a base and the fields to change, within the rights of a caller.

Its models must be of declared providers, and its limits no higher than the current ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, cast, get_args

from moa_mcp.config import yamlfile
from moa_mcp.config.settings import CONFIG, Settings
from moa_mcp.domain.endpoints import split_model
from moa_mcp.domain.errors import InvalidPreset, InvalidRequest, NotAllowed, UnknownPreset, sort_by_closeness
from moa_mcp.domain.fields import ModelSettings, StrictModel
from moa_mcp.domain.preset import Aggregator, Limits, PanelSlot, Preset
from moa_mcp.presets.auto import AutoPreset
from moa_mcp.presets.library import SCHEMA_LINE, PresetLibrary, is_name, parse

SETTABLE_FIELDS = tuple(name for name in Preset.model_fields if name != "name")
"""The keys of a preset that a caller may set, in the order of the file."""

SET_BY_A_PERSON = frozenset({"extra_body", "headers", "search"})
"""Keys that are copied into a provider's request unchecked. Only a person may set them, in the preset's file."""


def preset_path(name: str) -> str:
    """The path of a preset's file, relative to the configuration folder."""
    return f"presets/{name}.yaml"


def compose(library: PresetLibrary, settings: Settings, name: str, base: str | None, fields: Mapping[str, Any]) -> str:
    """The text of preset `name`: `base` (by default the preset with that name) with `fields` set.

    Raises:
        InvalidRequest: the name, the base or a field is not usable.
        UnknownPreset: `base`, or a preset in a slot, does not exist.
        InvalidPreset: the result is not a valid preset; the message names the key.
        NotAllowed: the preset calls an undeclared provider, sets a key of `SET_BY_A_PERSON`, or raises a limit.
    """
    if not is_name(name):
        raise InvalidRequest("save_preset is a name of lower-case letters, digits, - and _, at most 64 of them.")
    _check_fields(fields)
    origin = _base(library, name, base)
    current = _limits_of(library, name).lowered_by(origin.limits if origin else Limits())
    data = {**(_as_mapping(origin) if origin else {}), **fields, "limits": _limits(current, fields.get("limits"))}
    written = {key: data[key] for key in SETTABLE_FIELDS if key in data and not _is_removed(key, data[key])}
    text = f"{SCHEMA_LINE}\n{yamlfile.dump(written)}"
    preset = parse(text, preset_path(name), name)
    assert isinstance(preset, Preset)  # `_check_fields` allows only the fields of a Preset
    _check_limits(preset.limits, current, settings.limits.per_run)
    _check_models(preset, settings.endpoints)
    _check_panels(preset, library)
    return text


def _check_fields(fields: Mapping[str, Any]) -> None:
    for key in _keys_in(fields):
        if key in SET_BY_A_PERSON:
            raise NotAllowed(f"{key} cannot be set from here. A person sets it in the preset's file.")
    for unknown in sorted(set(fields) - set(SETTABLE_FIELDS)):
        ranked = sort_by_closeness(unknown, SETTABLE_FIELDS)
        raise InvalidRequest(f"A preset has no field {unknown!r}. Known, nearest first: {', '.join(ranked)}.")


def _keys_in(value: Any) -> Iterator[str]:
    """All keys in nested plain data."""
    if isinstance(value, Mapping):
        for key, part in cast("Mapping[str, Any]", value).items():
            yield key
            if key != "response_format":  # its keys are those of a schema, such as a property named `search`
                yield from _keys_in(part)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[Any]", value):
            yield from _keys_in(item)


def _is_removed(key: str, value: Any) -> bool:
    """Whether to leave a key out of the file: null removes it, unless null is a valid value and not the default."""
    field = Preset.model_fields[key]
    is_value = field.default is not None and NoneType in get_args(field.annotation)
    return value is None and not is_value


def _base(library: PresetLibrary, name: str, base: str | None) -> Preset | None:
    if base is None and name not in library.names():
        return None
    found = library.get(base or name)
    if isinstance(found, AutoPreset):
        raise InvalidRequest(
            f"{found.name!r} is chosen again for every run and cannot be a base. Name another base or preset."
        )
    return found


def _limits_of(library: PresetLibrary, name: str) -> Limits:
    """The limits of the preset that will be overwritten. Empty if there is none, or it is broken."""
    try:
        return library.get(name).limits
    except (UnknownPreset, InvalidPreset):
        return Limits()


def _as_mapping(preset: Preset) -> dict[str, Any]:
    """A preset in its shortest form: without defaults, and a slot with only a model as that model's id."""
    data = preset.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"name"})
    data["layers"] = preset.layers
    data["proposers"] = [_shorten(slot) for slot in data.get("proposers", ())]
    data["aggregator"] = _shorten(data["aggregator"])
    return data


def _shorten(entry: dict[str, Any]) -> dict[str, Any] | str:
    return entry["model"] if set(entry) == {"model"} else entry


def _limits(current: Limits, requested: Any) -> Any:
    """The limits to write: the current ones, overridden by the requested ones. None if there are none."""
    if not isinstance(requested, Mapping | None):
        return requested
    given = cast("Mapping[str, Any]", requested or {})
    kept = {key: value for key, value in given.items() if value is not None}
    return current.model_dump(exclude_none=True) | kept or None


def _check_limits(requested: Limits, current: Limits, configured: Limits) -> None:
    """Refuse limits that are raised. One that stays as it is may exceed the configuration's, which holds anyway."""
    maximum = current.lowered_by(configured)
    for key in Limits.model_fields:
        value, allowed = getattr(requested, key), getattr(maximum, key)
        raised = value != getattr(current, key) and value is not None and allowed is not None and value > allowed
        if raised:
            raise NotAllowed(
                f"limits.{key} can only be lowered from here; it is {allowed:g} now. A person can raise it in the file."
            )


def _check_models(preset: Preset, declared: Iterable[str]) -> None:
    for model in _models_in(preset):
        provider, _ = split_model(model)
        if provider not in declared:
            close = ", ".join(sort_by_closeness(provider, declared)[:3])
            raise NotAllowed(
                f"{model!r} is of provider {provider!r}, which is not declared (nearest: {close}). "
                f"A person declares providers in {CONFIG}."
            )


def _models_in(value: Any) -> Iterator[str]:
    """All model ids in a preset."""
    if isinstance(value, ModelSettings):
        yield value.model
    if isinstance(value, Aggregator):
        yield from value.fallbacks
    if isinstance(value, StrictModel):
        value = tuple(part for _, part in value)
    for part in cast("Sequence[Any]", value) if isinstance(value, tuple) else ():
        yield from _models_in(part)


def _check_panels(preset: Preset, library: PresetLibrary) -> None:
    for slot in preset.proposers:
        if isinstance(slot, PanelSlot):
            if slot.preset == preset.name:
                raise NotAllowed(f"{preset.name!r} cannot contain itself.")
            library.source(slot.preset)
