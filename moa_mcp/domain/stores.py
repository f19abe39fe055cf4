"""The registry of stores: where runs can be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moa_mcp.domain.variants import Registry

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What a store is opened with: its URL, the folder for files of its own, and how much it keeps."""

    url: str
    folder: Path
    keep_days: int = 30
    max_mb: int = 200


STORES: Registry[Callable[[StoreOptions], Any]] = Registry("store", "moa_mcp.store")
"""By the scheme of its URL, what opens a store: a `moa_mcp.store.base.RunStore`."""
