"""The library of presets: files of the package and of the user. A user's file replaces a packaged one by name.

A broken file never hides the others. `domain/preset.py` defines a preset; `auto.py` and `hermes.py` define the two
other formats of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pydantic import StringConstraints

from moa_mcp.config import yamlfile
from moa_mcp.config.yamlfile import Document, Fingerprint
from moa_mcp.domain.errors import InvalidPreset, UnknownPreset
from moa_mcp.domain.fields import Name
from moa_mcp.domain.preset import Preset
from moa_mcp.presets.auto import AutoPreset
from moa_mcp.presets.hermes import HermesPreset

SCHEMA_FILE = "preset.schema.json"
"""The JSON Schema of presets, for editors. It is in the packaged folder and is copied to the user's folder."""

SCHEMA_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"
"""The first line of a preset. The path without a folder works in the repository, the package and the user's folder."""

Source = Literal["builtin", "user"]
Parsed: TypeAlias = Preset | AutoPreset

_NAME = re.compile(next(str(part.pattern) for part in get_args(Name) if isinstance(part, StringConstraints)))


def is_name(text: str) -> bool:
    """Whether `text` is a valid name of a preset. Only a valid name is used in a path."""
    return _NAME.fullmatch(text) is not None


def misnamed_file(file: str) -> InvalidPreset:
    """The error for a file whose name is not the name of a preset."""
    expected = "lower-case letters, digits, - and _, then .yaml"
    return InvalidPreset(file, "the name of this file is not the name of a preset", expected=expected)


def parse(text: str, file: str, name: str) -> Parsed:
    """Parse a preset from YAML. `file` is the name of its file in errors.

    Raises:
        InvalidPreset: the text is not YAML or not a valid preset.
    """
    document = yamlfile.parse(text, file, InvalidPreset)
    if document.data.get("name", name) != name:
        raise document.error("a preset is called what its file is called", ("name",), f"{name}, or no name")
    data = {**document.data, "name": name}
    if "candidates" in data:
        return document.into(AutoPreset, data)
    if "reference_models" in data:
        return document.into(HermesPreset, data).to_preset()
    return document.into(Preset, data)


@dataclass(frozen=True, slots=True)
class _File:
    """A preset's file. Errors show `display_name`, so that they do not reveal where the folder is."""

    path: Path
    source: Source
    display_name: str


@dataclass(frozen=True, slots=True)
class _CachedFile:
    """The content of a file at `fingerprint`: a preset, or the error in the file."""

    fingerprint: Fingerprint
    text: str
    result: Parsed | InvalidPreset


class PresetLibrary:
    """The presets by name. A file is read again when it has changed. `user_folder` need not exist."""

    def __init__(self, user_folder: Path | None) -> None:
        package = Path(__file__).parents[1]
        inside = package / "_presets"  # in an installed package; in a checkout, they are beside the package
        self._packaged_folder = inside if inside.is_dir() else package.parent / "presets"
        self._user_folder = user_folder
        self._cache: dict[Path, _CachedFile] = {}

    def names(self) -> list[str]:
        """Return all names, sorted, including the names of broken files."""
        return sorted(self._files())

    def get(self, name: str) -> Parsed:
        """Return the preset with that name.

        Raises:
            UnknownPreset: there is none; the error lists the known names, the most similar first.
            InvalidPreset: its file is broken.
        """
        result = self._cached(name).result
        if isinstance(result, InvalidPreset):
            raise result.with_traceback(None)  # the cached error would otherwise collect the frames of each raise
        return result

    def source(self, name: str) -> Source:
        """Return whether the preset is the user's or built in. Raises UnknownPreset."""
        return self._file(name).source

    def is_builtin(self, name: str) -> bool:
        """Whether the package has a preset with that name, even if a user's preset replaces it."""
        return name in _presets_in(self._packaged_folder, "builtin")

    def text(self, name: str) -> str:
        """Return the text of the file. Raises the same errors as `get`.

        Only the text of a valid preset is returned, because the file may be a link to any file on this computer.
        """
        self.get(name)
        return self._cached(name).text

    def document(self, name: str) -> Document:
        """Return the file as plain data with line numbers, for later errors. Raises the same errors as `get`."""
        return yamlfile.parse(self.text(name), self._file(name).display_name, InvalidPreset)

    def schema(self) -> bytes:
        """Return the JSON Schema of presets, for editors. Raises OSError if the package lacks it."""
        return (self._packaged_folder / SCHEMA_FILE).read_bytes()

    def problems(self) -> list[InvalidPreset]:
        """Return the errors of all files that are not valid presets, including files with an invalid name."""
        results = [self._cached(name).result for name in self.names()]
        broken = [result for result in results if isinstance(result, InvalidPreset)]
        return [*broken, *self._misnamed()]

    def _cached(self, name: str) -> _CachedFile:
        file = self._file(name)
        try:
            fingerprint = yamlfile.fingerprint(file.path)
            known = self._cache.get(file.path)
            if known is None or known.fingerprint != fingerprint:
                known = self._cache[file.path] = _read(file, name, fingerprint)
        except FileNotFoundError:
            gone = InvalidPreset(file.display_name, "the file is gone, or a link that leads nowhere")
            return _CachedFile((0, 0, 0), "", gone)
        return known

    def _file(self, name: str) -> _File:
        files = self._files()
        if name not in files:
            raise UnknownPreset(name, files)
        return files[name]

    def _files(self) -> Mapping[str, _File]:
        own = _presets_in(self._user_folder, "user") if self._user_folder else {}
        return {**_presets_in(self._packaged_folder, "builtin"), **own}

    def _misnamed(self) -> Iterator[InvalidPreset]:
        for path in _entries(self._user_folder) if self._user_folder else ():
            if path.suffix in {".yaml", ".yml"} and not _names_a_preset(path):
                yield misnamed_file(_display_name(path))


def _read(file: _File, name: str, fingerprint: Fingerprint) -> _CachedFile:
    text = ""
    try:
        text = yamlfile.read(file.path, file.display_name, InvalidPreset)
        return _CachedFile(fingerprint, text, parse(text, file.display_name, name))
    except InvalidPreset as error:
        return _CachedFile(fingerprint, text, error)


def _presets_in(folder: Path, source: Source) -> dict[str, _File]:
    return {path.stem: _File(path, source, _display_name(path)) for path in _entries(folder) if _names_a_preset(path)}


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)
    except OSError:
        return []


def _names_a_preset(path: Path) -> bool:
    return path.suffix == ".yaml" and is_name(path.stem)


def _display_name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
