"""The library of presets: files of the package, and the user's own over them by name.

One broken file never hides the others. What a preset may say is `domain/preset.py`; two other shapes that a file may
have are `auto.py` and `hermes.py`.
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
"""The JSON Schema of presets, for editors; it is beside the packaged ones and laid beside the user's."""

SCHEMA_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"
"""The first line of a preset. A path of the same folder holds in the repository, in the package and at the user's."""

Source = Literal["builtin", "user"]
Parsed: TypeAlias = Preset | AutoPreset

_NAME = re.compile(next(str(part.pattern) for part in get_args(Name) if isinstance(part, StringConstraints)))


def is_name(text: str) -> bool:
    """Whether `text` may name a preset; only such a text ever becomes part of a path."""
    return _NAME.fullmatch(text) is not None


def parse(text: str, file: str, name: str) -> Parsed:
    """Read a preset from YAML; `file` is what errors call its file.

    Raises:
        InvalidPreset: it is no YAML, or does not say what a preset says.
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
    """A preset's file, and what errors call it: the folder's own place is nobody's business."""

    path: Path
    source: Source
    display_name: str


@dataclass(frozen=True, slots=True)
class _CachedFile:
    """What was read from a file that looked like `fingerprint`: a preset, or why it is none."""

    fingerprint: Fingerprint
    text: str
    result: Parsed | InvalidPreset


class PresetLibrary:
    """The presets by name. A file is read again when it has changed.

    `user_folder` may be missing; `packaged_folder` is by default where this package keeps its own.
    """

    def __init__(self, user_folder: Path | None, packaged_folder: Path | None = None) -> None:
        self._user_folder = user_folder
        self._packaged_folder = packaged_folder or _packaged_folder()
        self._cache: dict[Path, _CachedFile] = {}

    def names(self) -> list[str]:
        """All names, in order; those of broken files too."""
        return sorted(self._files())

    def get(self, name: str) -> Parsed:
        """The preset of that name.

        Raises:
            UnknownPreset: there is none; the known names are listed, nearest first.
            InvalidPreset: its file is broken.
        """
        result = self._cached(name).result
        if isinstance(result, InvalidPreset):
            raise result.with_traceback(None)  # kept, it would gather the frames of each time it is raised
        return result

    def source(self, name: str) -> Source:
        """Whether the preset is the user's or came with the package. Raises UnknownPreset."""
        return self._file(name).source

    def is_builtin(self, name: str) -> bool:
        """Whether the package has a preset of that name, be it under one of the user's."""
        return name in _presets_in(self._packaged_folder, "builtin")

    def text(self, name: str) -> str:
        """The file as it was written. Raises as `get` does: what is no preset is nobody's business but its owner's.

        A name may be a link that leads anywhere on this computer.
        """
        self.get(name)
        return self._cached(name).text

    def document(self, name: str) -> Document:
        """The file as plain data with its lines, for what is found wrong with it later. Raises as `get` does."""
        return yamlfile.parse(self.text(name), self._file(name).display_name, InvalidPreset)

    def schema(self) -> bytes:
        """The JSON Schema of presets, for editors. Raises OSError if the package lacks it."""
        return (self._packaged_folder / SCHEMA_FILE).read_bytes()

    def problems(self) -> list[InvalidPreset]:
        """Everything that keeps a file from being a preset."""
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
                yield InvalidPreset(
                    _display_name(path),
                    "the name of this file is not the name of a preset",
                    expected="lower-case letters, digits, - and _, then .yaml",
                )


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


def _packaged_folder() -> Path:
    """The presets of an installed package are inside it; those of a checkout stand beside it."""
    package = Path(__file__).parents[1]
    inside = package / "_presets"
    return inside if inside.is_dir() else package.parent / "presets"
