"""YAML files that a user writes. Reading is strict and keeps the line of every key; writing is atomic.

Pydantic models in other modules define the keys. This module adds the file and line to their validation errors.
"""

from __future__ import annotations

import math
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from moa_mcp.domain.errors import InvalidConfig, InvalidPreset
from moa_mcp.domain.text import fix_surrogates
from moa_mcp.domain.validation import KeyPath, first_problem, format_path

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUES = 4_000

FileErrorType: TypeAlias = type[InvalidPreset] | type[InvalidConfig]
"""The class of errors that are raised for a file."""

M = TypeVar("M", bound=BaseModel)

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
# No setting needs more than 18 digits, and Python refuses to parse thousands of digits.
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a file: plain data, and the line of every key and item."""

    file: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]
    error_type: FileErrorType

    def line_of(self, path: KeyPath) -> int | None:
        """Return the line of the key or item at `path`, or of its nearest parent in the file, or None."""
        return next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)

    def error(self, problem: str, path: KeyPath = (), expected: str | None = None) -> InvalidPreset | InvalidConfig:
        """Make an error about the key at `path`."""
        return self.error_type(self.file, problem, self.line_of(path), format_path(path) or None, expected)

    def into(self, model: type[M], data: Mapping[str, Any] | None = None) -> M:
        """Validate the content of the file as a `model`. `data` replaces the content, e.g. to add a key.

        Raises:
            InvalidPreset, InvalidConfig: the data is invalid; the error names the likeliest cause.
        """
        data = self.data if data is None else data
        try:
            return model.model_validate(data)
        except ValidationError as error:
            fault = first_problem(error, model, data)
            raise self.error(fault.problem, fault.path, fault.expected) from None


Fingerprint: TypeAlias = tuple[int, int, int]
"""Modification time in ns, size in bytes and inode: detects a change of a file without reading it."""


def fingerprint(path: Path) -> Fingerprint:
    """Return the current fingerprint of the file at `path`. Raises FileNotFoundError, or another OSError."""
    status = path.stat()
    # The inode is included because two writes within one clock tick may have the same length.
    return status.st_mtime_ns, status.st_size, status.st_ino


class NotAFileError(OSError):
    """The path is not a regular file; the message names what it is."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. A named pipe or a device is refused, because reading it could block forever.

    Raises:
        NotAFileError: the path is not a regular file.
        OSError: the file cannot be opened.
    """
    # O_NONBLOCK: opening a pipe must not block. The type is checked on the open file, so that no swap can go unnoticed.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise NotAFileError(_KINDS.get(stat.S_IFMT(mode), "a device"))
    return os.fdopen(handle, "rb")


_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe"}


def read(path: Path, file: str, error_type: FileErrorType) -> str:
    """Return the text of a file. `file` is its name in errors.

    Raises:
        FileNotFoundError: the file does not exist.
        InvalidPreset, InvalidConfig: the file is not a regular file, cannot be read, is too large, or is not UTF-8.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except NotAFileError as error:
        raise error_type(file, f"this is {error}, not a file", expected="a regular file") from None
    except OSError as error:
        raise error_type(file, f"cannot be read ({error.strerror or type(error).__name__})") from None
    if len(content) > MAX_BYTES:
        raise _too_large(file, error_type)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise error_type(file, "this line is not UTF-8 text", line, expected="a file saved as UTF-8") from None


def parse(text: str, file: str, error_type: FileErrorType) -> Document:
    """Parse YAML of the 1.2 core schema. A file with only comments is an empty mapping.

    Raises:
        InvalidPreset, InvalidConfig: the text is not YAML, or uses a feature that is not allowed here: aliases,
            anchors, merges, tags, duplicate keys, several documents, too many values, or too deep nesting.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise _too_large(file, error_type)
    try:
        return _Reader(file, error_type, yaml.parse(text, Loader=yaml.SafeLoader)).document()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise error_type(file, "this line has a character that YAML forbids", line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = mark.line + 1 if mark else None
        raise error_type(file, f"this is not YAML: {error.problem or error.context}", place) from None


def _too_large(file: str, error_type: FileErrorType) -> InvalidPreset | InvalidConfig:
    return error_type(file, "the file is too large", expected=f"at most {MAX_BYTES // 1024} KiB")


class _Reader:
    """Turns the events of the YAML parser into data, and raises at the first event that is not allowed.

    Events are read one by one, so a file that is made to exhaust memory is refused early.
    """

    def __init__(self, file: str, error_type: FileErrorType, events: Iterator[Any]) -> None:
        self._file = file
        self._error_type = error_type
        self._events = events
        self._lines: dict[KeyPath, int] = {}
        self._values = 0

    def document(self) -> Document:
        next(self._events)
        data: dict[str, Any] = {}
        if not isinstance(next(self._events), yaml.StreamEndEvent):
            data = self._root(next(self._events))
        return Document(self._file, data, self._lines, self._error_type)

    def _root(self, event: Any) -> dict[str, Any]:
        self._check(event, ())
        if not isinstance(event, yaml.MappingStartEvent):
            raise self._make_error(event, (), "the file is not a mapping", "keys with values, as in `layers: 3`")
        data = self._mapping(())
        next(self._events)
        if not isinstance(following := next(self._events), yaml.StreamEndEvent):
            raise self._make_error(following, (), "a second document starts here", "one document in a file")
        return data

    def _make_error(
        self, event: Any, path: KeyPath, problem: str, expected: str | None = None
    ) -> InvalidPreset | InvalidConfig:
        return self._error_type(self._file, problem, event.start_mark.line + 1, format_path(path) or None, expected)

    def _value(self, event: Any, path: KeyPath) -> Any:
        self._check(event, path)
        match event:
            case yaml.ScalarEvent(style=None):
                return self._plain(event, path)
            case yaml.ScalarEvent():
                return fix_surrogates(event.value)
            case yaml.SequenceStartEvent():
                return self._sequence(path)
            case _:
                return self._mapping(path)

    def _check(self, event: Any, path: KeyPath) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._make_error(event, (), "there are too many values", f"at most {MAX_VALUES:,}")
        if len(path) > MAX_DEPTH:
            raise self._make_error(event, (), "the values are nested too deep", f"at most {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._make_error(event, path, "anchors (&) and aliases (*) are not allowed", "the value written out")
        if event.tag is not None:
            raise self._make_error(event, path, "tags (!) are not allowed", "the plain value")

    def _plain(self, event: Any, path: KeyPath) -> Any:
        value = plain(event.value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self._make_error(event, path, "this number is too large")
        return value

    def _sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            place = (*path, len(items))
            self._lines[place] = event.start_mark.line + 1
            items.append(self._value(event, place))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path, mapping)
            self._lines[(*path, key)] = event.start_mark.line + 1
            mapping[key] = self._value(next(self._events), (*path, key))
        return mapping

    def _key(self, event: Any, path: KeyPath, before: Mapping[str, Any]) -> str:
        self._check(event, path)
        if not isinstance(event, yaml.ScalarEvent):
            raise self._make_error(event, path, "a list or mapping cannot be a key", "a word")
        key = fix_surrogates(event.value)
        if key == "<<" and event.style is None:
            raise self._make_error(event, path, "merge keys (<<) are not allowed", "the keys written out")
        if key in before:
            first = self._lines[(*path, key)]
            raise self._make_error(event, (*path, key), f"this key was already given on line {first}", "each key once")
        return key


def plain(text: str) -> str | int | float | bool | None:
    """Return the value of an unquoted scalar in YAML 1.2: `no`, `on` and `12:30` are text, `1e3` is a number."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return float(text) if _FLOAT.fullmatch(text) else fix_surrogates(text)


def set_value(text: str, key: str, value: str) -> str:
    """Return `text` with the YAML `value` at a top-level key, with no other character changed.

    A missing key is added at the end. ruamel.yaml is not used because it rewrites the whole file: it keeps comments,
    but not the user's indentation and spacing.
    """
    root = cast("Any", yaml.compose(text, Loader=yaml.SafeLoader))
    for name, node in root.value if isinstance(root, yaml.MappingNode) else ():
        if name.value == key:
            return text[: node.start_mark.index] + value + text[node.end_mark.index :]
    end = "\r\n" if "\r\n" in text else "\n"
    return text + ("" if not text or text.endswith("\n") else end) + f"{key}: {value}{end}"


class _Dumper(yaml.SafeDumper):
    """Writes YAML that `parse` and readers of YAML 1.1 read as the same data."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(_: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # SafeDumper quotes text that YAML 1.1 reads as another type. This quotes text that YAML 1.2 reads as another type.
    style = "|" if "\n" in text else None if plain(text) == text else "'"
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(data: Mapping[str, Any]) -> str:
    """Write plain data as YAML that `parse` reads as the same data."""
    # The stubs type `width` only partly.
    return yaml.dump(  # pyright: ignore[reportUnknownMemberType]
        dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )


def write(path: Path, text: str) -> None:
    """Write `text` to a file atomically. Only the owner can read it (folder 0700, file 0600).

    A symbolic link is followed: its target is replaced, not the link.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut. Windows cannot sync a folder, so errors are ignored."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
