"""What was changed over time: a revision that rises with every change, and what undoing the last ones takes.

Kept in one small file beside the configuration, so that it outlives the server and is shared by all of them.
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
    """One file before and after a change; None where it is not there.

    `place` is `config.yaml` or `presets/NAME.yaml`.
    """

    place: str
    before: str | None
    after: str | None


class ChangeLog(StrictModel):
    """The revision now, and the last changes, the newest at the end."""

    revision: int = 0
    changes: tuple[tuple[Edit, ...], ...] = ()

    def with_change(self, edits: Sequence[Edit]) -> ChangeLog:
        """The ledger once `edits` are made."""
        return ChangeLog(revision=self.revision + 1, changes=(*self.changes, tuple(edits))[-MAX_CHANGES:])

    def without_last(self) -> ChangeLog:
        """The ledger once the last change is undone: that is a new revision, too."""
        return ChangeLog(revision=self.revision + 1, changes=self.changes[:-1])


class ChangeLogFile:
    """The ledger in its file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def read(self) -> ChangeLog:
        """The ledger as it is now.

        Raises:
            InvalidConfig: the file cannot be read, or is not one that this class wrote.
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
        """Put `ledger` in place of what was there, whole or not at all."""
        yamlfile.write(self._file, ledger.model_dump_json(indent=1))
