"""Changes that a caller may make to presets and to the default preset: checked, shown as a diff, undoable.

A caller can combine models of declared providers and lower limits. Only a person sets endpoints, keys and limits,
in config.yaml. Nothing here changes these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from moa_mcp.config import yamlfile
from moa_mcp.config.settings import CONFIG, LiveSettings, Paths, with_default_preset
from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.errors import InvalidConfig, InvalidPreset, InvalidRequest, NotAllowed
from moa_mcp.domain.text import escaped
from moa_mcp.presets.library import SCHEMA_FILE, PresetLibrary, is_name, parse
from moa_mcp.service.catalog import Models
from moa_mcp.service.configure.compose import compose, preset_path
from moa_mcp.service.configure.log import FILE, ChangeLog, ChangeLogFile, Edit

SCOPE = "this user on this computer: every client whose server uses the same folder"


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A requested change: set the default preset, save or delete a preset, or undo the last change.

    `fields` are the keys to set in the saved preset, on top of `base` (by default the preset with that name, if it
    exists). `revision` is the revision that the caller has read; if it is not the current one, the change is refused.
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
    def names_no_preset(self) -> bool:
        """Whether the request names no preset to set as default, to save or to delete."""
        return self.default_preset is self.save_preset is self.delete_preset is None


@dataclass(frozen=True, slots=True)
class Change:
    """A checked change that is not yet written. `revision` is the revision it is based on."""

    edits: tuple[Edit, ...]
    revision: int
    undoes: bool = False

    @property
    def diff(self) -> str:
        """The change as a unified diff, with invisible characters escaped."""
        return "\n".join(escaped(line) for edit in self.edits for line in _diff(edit))


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


class EditedByHand(NotAllowed):
    """A file of the change to undo differs from what that change wrote."""


class ConfigEditor:
    """Checks changes and writes them. `lock` keeps other writers out during a write."""

    def __init__(
        self,
        paths: Paths,
        library: PresetLibrary,
        settings: LiveSettings,
        models: Models,
        lock: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._paths = paths
        self._library = library
        self._settings = settings
        self._models = models
        self._lock = lock
        self._history = ChangeLogFile(paths.config_file.parent)

    def current(self) -> CurrentSettings:
        """The current settings; keys only as set or missing. Raises InvalidConfig if the change log is broken."""
        settings, ledger = self._settings(), self._history.read()
        return {
            "default_preset": settings.default_preset,
            "revision": ledger.revision,
            "providers": [self._provider_facts(endpoint) for endpoint in settings.endpoints.values()],
            "limits": settings.limits.model_dump(),
            # Of the address only its scheme: the rest may hold a password.
            "store": {**settings.store.model_dump(), "url": f"{urlsplit(settings.store.url).scheme}:"},
            "embeddings": settings.embeddings,
            "undoable": len(ledger.changes),
            "config_file": str(self._paths.config_file),
            "presets_folder": str(self._paths.presets_folder),
            "problem": None if self._settings.problem is None else str(self._settings.problem),
        }

    def propose(self, request: ChangeRequest) -> Change:
        """Check a change and compute its edits. It writes nothing.

        Raises:
            InvalidRequest: the request is incomplete or contradictory, or would change nothing.
            UnknownPreset, InvalidPreset, InvalidConfig: a preset does not exist, or a file is broken.
            NotAllowed: a caller may not make this change, or the revision is outdated.
        """
        try:
            return self._validate(request)
        except EditedByHand:
            # The other writer may be a server in the middle of a change. With the lock held, that change is complete.
            with self._lock():
                return self._validate(request)

    def _validate(self, request: ChangeRequest) -> Change:
        ledger = self._history.read()
        _check_revision(request.revision, ledger)
        if request.undo:
            return self._undo_edits(request, ledger)
        edits = [edit for edit in self._change_edits(request) if edit.before != edit.after]
        if not edits:
            raise InvalidRequest("Nothing would change: it is already as asked.")
        return Change(tuple(edits), ledger.revision)

    def apply(self, change: Change) -> ChangeResult:
        """Write a change that `propose` returned.

        Raises:
            NotAllowed: the files have changed since `propose`, or cannot be written.
        """
        with self._lock():
            ledger = self._history.read()
            _check_revision(change.revision, ledger)
            for edit in change.edits:
                if self._text(edit.place) != edit.before:
                    raise NotAllowed(f"{edit.place} was changed meanwhile. Look at it and ask for the change again.")
            ledger = ledger.without_last() if change.undoes else ledger.with_change(change.edits)
            self._write(change, ledger)
            return self._result(change, ledger.revision, applied=True)

    def preview(self, change: Change) -> ChangeResult:
        """The result of a dry run: the change that `propose` returned, not written."""
        return self._result(change, change.revision)

    def _result(self, change: Change, revision: int, *, applied: bool = False) -> ChangeResult:
        places = [str(self._path(edit.place)) for edit in change.edits]
        return {"applied": applied, "diff": change.diff, "revision": revision, "scope": SCOPE, "written_to": places}

    def _provider_facts(self, endpoint: Endpoint) -> ProviderFacts:
        missing = self._models.missing_key(f"{endpoint.name}/any") is not None  # also a variable in a header
        return {
            "name": endpoint.name,
            "base_url": endpoint.base_url,
            "dialect": endpoint.dialect,
            "api_key_env": endpoint.api_key_env,
            "key": "missing" if missing else "set" if endpoint.variables else "not needed",
            "max_concurrency": endpoint.max_concurrency,
        }

    def _undo_edits(self, request: ChangeRequest, ledger: ChangeLog) -> Change:
        if not request.names_no_preset:
            raise InvalidRequest("undo cannot be combined with another change. Ask for it alone.")
        if not ledger.changes:
            raise InvalidRequest("There is no change to undo: none was made from here, or all are undone.")
        last = ledger.changes[-1]
        for edit in last:
            if self._text(edit.place) != edit.after:
                raise EditedByHand(f"{edit.place} was edited by hand since the last change; undo that part by hand.")
        reversed_edits = [Edit(place=edit.place, before=edit.after, after=edit.before) for edit in reversed(last)]
        return Change(tuple(reversed_edits), ledger.revision, undoes=True)

    def _change_edits(self, request: ChangeRequest) -> Iterator[Edit]:
        if request.save_preset is None and (request.base or request.fields):
            raise InvalidRequest("base and fields belong to save_preset: name the preset to save.")
        if request.save_preset is not None and request.save_preset == request.delete_preset:
            raise InvalidRequest("The same preset cannot be saved and deleted at once.")
        if request.names_no_preset:
            raise InvalidRequest("Name a change: default_preset, save_preset, delete_preset or undo.")
        if request.save_preset is not None:
            text = compose(self._library, self._settings(), request.save_preset, request.base, request.fields)
            yield self._edit(preset_path(request.save_preset), text)
        if request.delete_preset is not None:
            self._check_deletable(request.delete_preset, request.default_preset)
            yield self._edit(preset_path(request.delete_preset), None)
        if request.default_preset is not None:
            if request.default_preset != request.save_preset:
                self._library.get(request.default_preset)  # raises UnknownPreset
            yield self._edit(CONFIG, with_default_preset(self._text(CONFIG) or "", request.default_preset))

    def _edit(self, place: str, after: str | None) -> Edit:
        return Edit(place=place, before=self._text(place), after=after)

    def _check_deletable(self, name: str, new_default: str | None) -> None:
        if self._library.source(name) == "builtin":
            raise NotAllowed(f"{name!r} is built in and stays. Save a preset of that name to use yours instead.")
        if name == (new_default or self._settings().default_preset) and not self._library.is_builtin(name):
            raise NotAllowed(f"{name!r} is the default preset. Name another default_preset first.")

    def _path(self, place: str) -> Path:
        if place == CONFIG:
            return self._paths.config_file
        name = place.removeprefix("presets/").removesuffix(".yaml")
        if not is_name(name) or place != preset_path(name):
            raise InvalidConfig(FILE, "it names a file that is none of the presets")
        return self._paths.presets_folder / f"{name}.yaml"

    def _text(self, place: str) -> str | None:
        path, error_type = self._path(place), InvalidConfig if place == CONFIG else InvalidPreset
        try:
            text = yamlfile.read(path, place, error_type)
        except FileNotFoundError:
            return None
        if place != CONFIG and path.is_symlink():
            parse(text, place, path.stem)  # a link may point to any file: show its text only if it is a preset
        return text

    def _write(self, change: Change, ledger: ChangeLog) -> None:
        written: list[Edit] = []
        try:
            for edit in change.edits:
                self._write_file(edit.place, edit.after)
                written.append(edit)
            self._history.write(ledger)
        except OSError as error:
            for edit in reversed(written):
                with suppress(OSError):  # the caller already gets the error of the write
                    self._write_file(edit.place, edit.before)
            reason = error.strerror or type(error).__name__
            raise NotAllowed(
                f"The change could not be written ({reason}). Make {self._paths.config_file.parent} writable."
            ) from None

    def _write_file(self, place: str, text: str | None) -> None:
        path = self._path(place)
        if text is None:
            path.unlink(missing_ok=True)
        else:
            yamlfile.write(path, text)
        if place != CONFIG and text is not None:
            self._place_schema(path.with_name(SCHEMA_FILE))

    def _place_schema(self, path: Path) -> None:
        """Write the schema that a preset names in its first line. Failures are ignored: only text editors use it."""
        with suppress(OSError):
            schema = self._library.schema()
            if not path.is_file() or path.read_bytes() != schema:
                yamlfile.write(path, schema.decode())


def _diff(edit: Edit) -> Iterator[str]:
    old, new = _split_lines(edit.before), _split_lines(edit.after)
    names = (edit.place if edit.before is not None else "(none)", edit.place if edit.after is not None else "(none)")
    # config.yaml may hold private lines: its diff shows no context lines, so a client sees only the changed ones.
    return unified_diff(old, new, *names, lineterm="", n=0 if edit.place == CONFIG else 3)


def _split_lines(text: str | None) -> list[str]:
    # Split at line feeds only: `splitlines` would hide other line-end characters, which the diff shows escaped.
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []


def _check_revision(seen: int | None, ledger: ChangeLog) -> None:
    if seen is not None and seen != ledger.revision:
        raise NotAllowed(
            f"The settings are at revision {ledger.revision}, not {seen}: something changed since. "
            "Read them again, then repeat the change."
        )
