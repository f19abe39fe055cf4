"""Changes to presets and to the default preset that a caller may make: checked, shown as a diff, undoable.

They compose models of providers that a person declared and lower limits. Where calls go, which keys exist and
what the ceilings are is the person's alone, in config.yaml; nothing here reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import Any, TypedDict

from moa_mcp import yamlfile
from moa_mcp.auto import AutoPreset
from moa_mcp.endpoints import Endpoint, split_model
from moa_mcp.errors import InvalidConfig, InvalidPreset, InvalidRequest, NotAllowed, UnknownPreset, nearest
from moa_mcp.fields import Entry, Sampling
from moa_mcp.preset import Aggregator, Limits, Preset
from moa_mcp.presets import PresetLibrary, is_name, parse
from moa_mcp.service.catalog import Models
from moa_mcp.service.history import Edit, History, Ledger
from moa_mcp.settings import CONFIG, Home, LiveSettings, Settings, with_default_preset
from moa_mcp.stages import PanelSlot

SCOPE = "this user on this computer: every client whose server uses the same folder"


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """What is to change: the default preset, a preset to save or to delete, or the last change to undo.

    `fields` are the keys of a preset to set, on top of `base` (by default the preset of that name, if there is
    one). `revision` is the one the caller has seen; a later one refuses the change.
    """

    default_preset: str | None = None
    save_preset: str | None = None
    base: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    delete_preset: str | None = None
    undo: bool = False
    dry_run: bool = False
    revision: int | None = None

    @property
    def asks_nothing(self) -> bool:
        """Whether the current settings are asked for, and no change."""
        return not (self.default_preset or self.save_preset or self.delete_preset or self.undo)


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was checked and not yet made. `revision` is the one it rests on."""

    edits: tuple[Edit, ...]
    revision: int
    undoes: bool = False

    @property
    def diff(self) -> str:
        """Before and after, as a unified diff."""
        return "\n".join(line for edit in self.edits for line in _diff(edit))


class ChangeResult(TypedDict):
    """What came of a change; `applied` is false for a dry run."""

    applied: bool
    diff: str
    revision: int
    scope: str
    written_to: list[str]


class ProviderFacts(TypedDict):
    """A declared provider, with whether its key is there; never the key."""

    name: str
    base_url: str
    dialect: str
    api_key_env: str | None
    key: str
    max_concurrency: int


class CurrentSettings(TypedDict):
    """The settings as they are now."""

    default_preset: str
    revision: int
    providers: list[ProviderFacts]
    limits: dict[str, Any]
    store: dict[str, Any]
    embeddings: str | None
    undoable: int
    config_file: str
    presets_folder: str
    problem: str | None


class Changes:
    """Checks changes and makes them. `exclusively` keeps other writers out while one is made."""

    def __init__(
        self,
        home: Home,
        library: PresetLibrary,
        settings: LiveSettings,
        models: Models,
        exclusively: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._home = home
        self._library = library
        self._settings = settings
        self._models = models
        self._exclusively = exclusively
        self._history = History(home.config_file.parent)

    def current(self) -> CurrentSettings:
        """The settings now, key variables as set or missing. Raises InvalidConfig if the record is broken."""
        settings, ledger = self._settings(), self._history.read()
        return {
            "default_preset": settings.default_preset,
            "revision": ledger.revision,
            "providers": [self._facts(endpoint) for endpoint in settings.endpoints.values()],
            "limits": settings.limits.model_dump(),
            "store": settings.store.model_dump(),
            "embeddings": settings.embeddings,
            "undoable": len(ledger.changes),
            "config_file": str(self._home.config_file),
            "presets_folder": str(self._home.presets_folder),
            "problem": None if self._settings.problem is None else str(self._settings.problem),
        }

    def propose(self, request: ChangeRequest) -> Change:
        """Check a change and lay it out; nothing is written.

        Raises:
            InvalidRequest, UnknownPreset, InvalidPreset, InvalidConfig, NotAllowed: as named.
        """
        ledger = self._history.read()
        _check_revision(request.revision, ledger)
        if request.undo:
            return self._undoing(request, ledger)
        edits = [edit for edit in self._edits(request) if edit.before != edit.after]
        if not edits:
            raise InvalidRequest("Nothing would change: it is already as asked.")
        return Change(tuple(edits), ledger.revision)

    def apply(self, change: Change) -> ChangeResult:
        """Make a change that `propose` laid out.

        Raises:
            NotAllowed: the files are no longer what the change rests on, or cannot be written.
        """
        with self._exclusively():
            ledger = self._history.read()
            _check_revision(change.revision, ledger)
            for edit in change.edits:
                if self._text(edit.place) != edit.before:
                    raise NotAllowed(
                        f"{edit.place} was changed meanwhile. Look at it and ask for the change again."
                    )
            ledger = ledger.without_last() if change.undoes else ledger.with_change(change.edits)
            self._write(change, ledger)
        return self._result(change, ledger.revision, applied=True)

    def make(self, request: ChangeRequest) -> ChangeResult:
        """`propose`, and unless it is a dry run, `apply`. Raises what these raise."""
        change = self.propose(request)
        return self._result(change, change.revision) if request.dry_run else self.apply(change)

    def _result(self, change: Change, revision: int, *, applied: bool = False) -> ChangeResult:
        places = [str(self._path(edit.place)) for edit in change.edits]
        return {
            "applied": applied,
            "diff": change.diff,
            "revision": revision,
            "scope": SCOPE,
            "written_to": places,
        }

    def _facts(self, endpoint: Endpoint) -> ProviderFacts:
        missing = self._models.missing_key(f"{endpoint.name}/any") is not None
        return {
            "name": endpoint.name,
            "base_url": endpoint.base_url,
            "dialect": endpoint.dialect,
            "api_key_env": endpoint.api_key_env,
            "key": "not needed" if endpoint.api_key_env is None else "missing" if missing else "set",
            "max_concurrency": endpoint.max_concurrency,
        }

    def _undoing(self, request: ChangeRequest, ledger: Ledger) -> Change:
        if request.default_preset or request.save_preset or request.delete_preset:
            raise InvalidRequest("undo stands alone: ask for it without any other change.")
        if not ledger.changes:
            raise InvalidRequest("There is no change to undo: none was made from here, or all are undone.")
        last = ledger.changes[-1]
        for edit in last:
            if self._text(edit.place) != edit.after:
                raise NotAllowed(
                    f"{edit.place} was edited by hand since the last change; undo that part by hand."
                )
        back = [Edit(place=edit.place, before=edit.after, after=edit.before) for edit in reversed(last)]
        return Change(tuple(back), ledger.revision, undoes=True)

    def _edits(self, request: ChangeRequest) -> Iterator[Edit]:
        if request.save_preset is None and (request.base or request.fields):
            raise InvalidRequest("base and fields belong to save_preset: name the preset to save.")
        if request.save_preset is not None and request.save_preset == request.delete_preset:
            raise InvalidRequest("The same preset cannot be saved and deleted at once.")
        if request.asks_nothing:
            raise InvalidRequest("Name a change: default_preset, save_preset, delete_preset or undo.")
        if request.save_preset is not None:
            yield self._saving(request.save_preset, request.base, request.fields)
        if request.delete_preset is not None:
            yield self._deleting(request.delete_preset, request.default_preset)
        if request.default_preset is not None:
            yield self._defaulting(request.default_preset, request)

    def _defaulting(self, name: str, request: ChangeRequest) -> Edit:
        gone = name == request.delete_preset and not self._library.is_builtin(name)
        if name != request.save_preset:
            self._library.get(name)
        if gone:
            raise InvalidRequest(f"{name!r} is to be deleted and cannot become the default.")
        before = self._text(CONFIG)
        return Edit(place=CONFIG, before=before, after=with_default_preset(before or "", name))

    def _deleting(self, name: str, new_default: str | None) -> Edit:
        if self._library.source(name) == "builtin":
            raise NotAllowed(
                f"{name!r} is built in and stays. Save a preset of that name to use yours instead."
            )
        if name == (new_default or self._settings().default_preset) and not self._library.is_builtin(name):
            raise NotAllowed(f"{name!r} is the default preset. Name another default_preset first.")
        place = _place_of(name)
        return Edit(place=place, before=self._text(place), after=None)

    def _saving(self, name: str, base: str | None, fields: Mapping[str, Any]) -> Edit:
        if not is_name(name):
            raise InvalidRequest("save_preset is a name of lower-case letters, digits, - and _, at most 64.")
        _check_fields(fields)
        start = self._base(name, base)
        inherited = start.limits if start else Limits()
        held = inherited.lowered_by(self._limits_of(name))
        data = {**(_written(start) if start else {}), **fields}
        if limits := _limits(held, fields.get("limits")):
            data["limits"] = limits
        place = _place_of(name)
        text = yamlfile.dump(data)
        preset = parse(text, place, name)
        if not isinstance(preset, Preset):
            raise NotAllowed("Only a preset with proposers and an aggregator can be saved from here.")
        self._check(preset, held)
        return Edit(place=place, before=self._text(place), after=text)

    def _base(self, name: str, base: str | None) -> Preset | None:
        if base is None and name not in self._library.names():
            return None
        found = self._library.get(base or name)
        if isinstance(found, AutoPreset):
            raise InvalidRequest(
                f"{found.name!r} is chosen anew for every run and is no base. Name another base, or another preset."
            )
        return found

    def _limits_of(self, name: str) -> Limits:
        """The limits of the preset that is saved over; none where there is none, or it is broken."""
        try:
            return self._library.get(name).limits
        except (UnknownPreset, InvalidPreset):
            return Limits()

    def _check(self, preset: Preset, held: Limits) -> None:
        settings = self._settings()
        _check_limits(preset.limits, held.lowered_by(settings.limits.per_run))
        _check_models(preset, settings)
        for slot in preset.proposers:
            if isinstance(slot, PanelSlot):
                if slot.preset == preset.name:
                    raise NotAllowed(f"{preset.name!r} cannot stand in a slot of its own.")
                self._library.source(slot.preset)

    def _path(self, place: str) -> Path:
        if place == CONFIG:
            return self._home.config_file
        name = place.removeprefix("presets/").removesuffix(".yaml")
        if not is_name(name) or place != _place_of(name):
            raise InvalidConfig("changes.json", "it names a file that is none of the presets")
        return self._home.presets_folder / f"{name}.yaml"

    def _text(self, place: str) -> str | None:
        misfit = InvalidConfig if place == CONFIG else InvalidPreset
        try:
            return yamlfile.read(self._path(place), place, misfit)
        except FileNotFoundError:
            return None

    def _write(self, change: Change, ledger: Ledger) -> None:
        try:
            for edit in change.edits:
                path = self._path(edit.place)
                if edit.after is None:
                    path.unlink(missing_ok=True)
                else:
                    yamlfile.write(path, edit.after)
            self._history.write(ledger)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise NotAllowed(
                f"The change could not be written ({reason}). Make {self._home.config_file.parent} writable."
            ) from None


def _place_of(name: str) -> str:
    return f"presets/{name}.yaml"


def _diff(edit: Edit) -> Iterator[str]:
    old, new = (edit.before or "").splitlines(), (edit.after or "").splitlines()
    names = (
        edit.place if edit.before is not None else "(none)",
        edit.place if edit.after is not None else "(none)",
    )
    # What else stands in config.yaml is nobody's business but the person's: no lines around the change.
    return unified_diff(old, new, *names, lineterm="", n=0 if edit.place == CONFIG else 3)


def _check_revision(seen: int | None, ledger: Ledger) -> None:
    if seen is not None and seen != ledger.revision:
        raise NotAllowed(
            f"The settings are at revision {ledger.revision}, not {seen}: something changed since. "
            "Read them again, then repeat the change."
        )


def _check_fields(fields: Mapping[str, Any]) -> None:
    known = set(Preset.model_fields) - {"name"}
    for unknown in sorted(set(fields) - known):
        ranked = nearest(unknown, known)
        raise InvalidRequest(f"A preset has no field {unknown!r}. Known, nearest first: {', '.join(ranked)}.")


def _written(preset: Preset) -> dict[str, Any]:
    """A preset as a person would write it: nothing that holds anyway, a bare id where only the model is set."""
    data = preset.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"name"})
    data["layers"] = preset.layers
    data["proposers"] = [_short(slot) for slot in data.get("proposers", ())]
    data["aggregator"] = _short(data["aggregator"])
    return data


def _short(entry: dict[str, Any]) -> dict[str, Any] | str:
    return entry["model"] if set(entry) == {"model"} else entry


def _limits(held: Limits, given: object) -> object:
    """The limits to write: those that hold, with what was given in place of them."""
    if given is not None and not isinstance(given, Mapping):
        return given
    own = {key: value for key, value in (given or {}).items() if value is not None}
    return {**held.model_dump(exclude_none=True), **own}


def _check_limits(wanted: Limits, most: Limits) -> None:
    for key in Limits.model_fields:
        asked, allowed = getattr(wanted, key), getattr(most, key)
        if asked is not None and allowed is not None and asked > allowed:
            raise NotAllowed(
                f"limits.{key} can only be lowered from here, and {allowed:g} holds. A person can raise it in the file."
            )


def _check_models(preset: Preset, settings: Settings) -> None:
    for model in _models_in(preset):
        provider, _ = split_model(model)
        if provider not in settings.endpoints:
            raise NotAllowed(
                f"{model!r} is of provider {provider!r}, which is not declared; nearest: "
                f"{', '.join(nearest(provider, settings.endpoints)[:3])}. A person declares providers in {CONFIG}."
            )


def _models_in(value: object) -> Iterator[str]:
    """Every model id anywhere in a preset."""
    if isinstance(value, Sampling):
        yield value.model
    if isinstance(value, Aggregator):
        yield from value.fallbacks
    if isinstance(value, Entry):
        for _, part in value:
            yield from _models_in(part)
    elif isinstance(value, tuple):
        for part in value:
            yield from _models_in(part)
