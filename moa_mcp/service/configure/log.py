"""The change log: a revision that rises with every change, and the data to undo the last changes.

It is one small file beside the configuration, so it survives restarts and all servers share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from moa_mcp.config import yamlfile
from moa_mcp.domain.errors import InvalidConfig
from moa_mcp.domain.fields import StrictModel

FILE = "changes.json"
MAX_CHANGES = 10


class Edit(StrictModel):
    """One file before and after a change. None means that the file does not exist.

    `place` is `config.yaml` or `presets/NAME.yaml`.
    """

    place: str
    before: str | None
    after: str | None


class ChangeLog(StrictModel):
    """The current revision and the last changes, newest last."""

    revision: int = 0
    changes: tuple[tuple[Edit, ...], ...] = ()

    def with_change(self, edits: Sequence[Edit]) -> ChangeLog:
        """The log after a change with `edits`."""
        return ChangeLog(revision=self.revision + 1, changes=(*self.changes, tuple(edits))[-MAX_CHANGES:])

    def without_last(self) -> ChangeLog:
        """The log after an undo of the last change. An undo also makes a new revision."""
        return ChangeLog(revision=self.revision + 1, changes=self.changes[:-1])


class ChangeLogFile:
    """Reads and writes the change log."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def read(self) -> ChangeLog:
        """The current log. Empty if there is no file.

        Raises:
            InvalidConfig: the file cannot be read, or is not a change log.
        """
        try:
            with yamlfile.open_regular(self._file) as stream:
                return ChangeLog.model_validate_json(stream.read())
        except FileNotFoundError:
            return ChangeLog()
        except OSError as error:
            raise InvalidConfig(FILE, f"cannot be read ({error.strerror or type(error).__name__})") from None
        except ValidationError:
            hint = "the file as it was; without it, a new record begins"
            raise InvalidConfig(FILE, "this is no record of changes", expected=hint) from None

    def write(self, ledger: ChangeLog) -> None:
        """Replace the file with `ledger`, atomically."""
        yamlfile.write(self._file, ledger.model_dump_json(indent=1))
