"""What was changed over time: a revision that rises with every change, and what undoing the last ones takes.

Kept in one small file beside the configuration, so that it outlives the server and is shared by all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from moa_mcp.config import yamlfile
from moa_mcp.domain.errors import InvalidConfig
from moa_mcp.domain.fields import Entry

FILE = "changes.json"
MOST_CHANGES = 10


class Edit(Entry):
    """One file before and after a change; None where it is not there.

    `place` is `config.yaml` or `presets/NAME.yaml`.
    """

    place: str
    before: str | None
    after: str | None


class Ledger(Entry):
    """The revision now, and the last changes, the newest at the end."""

    revision: int = 0
    changes: tuple[tuple[Edit, ...], ...] = ()

    def with_change(self, edits: Sequence[Edit]) -> Ledger:
        """The ledger once `edits` are made."""
        return Ledger(revision=self.revision + 1, changes=(*self.changes, tuple(edits))[-MOST_CHANGES:])

    def without_last(self) -> Ledger:
        """The ledger once the last change is undone: that is a new revision, too."""
        return Ledger(revision=self.revision + 1, changes=self.changes[:-1])


class History:
    """The ledger in its file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def read(self) -> Ledger:
        """The ledger as it is now.

        Raises:
            InvalidConfig: the file cannot be read, or is not one that this class wrote.
        """
        try:
            return Ledger.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return Ledger()
        except OSError as error:
            raise InvalidConfig(FILE, f"cannot be read ({error.strerror or type(error).__name__})") from None
        except ValidationError:
            hint = "the file as it was; without it, a new record begins"
            raise InvalidConfig(FILE, "this is no record of changes", expected=hint) from None

    def write(self, ledger: Ledger) -> None:
        """Put `ledger` in place of what was there, whole or not at all."""
        yamlfile.write(self._file, ledger.model_dump_json(indent=1))
