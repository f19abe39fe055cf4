"""The registry of stores, which keep runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moa_mcp.domain.variants import VariantRegistry

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """The options of a store: its URL, the folder for its files, and how long (days) and how much (MB) it keeps."""

    url: str
    folder: Path
    keep_days: int = 30
    max_mb: int = 200


STORES: VariantRegistry[Callable[[StoreOptions], Any]] = VariantRegistry("store", "moa_mcp.store")
"""Functions that open a store, a `moa_mcp.store.base.RunStore`, by the scheme of its URL."""
