"""The rows of the bench, a file each; every file offers `ROWS`."""

from __future__ import annotations

import importlib
import pkgutil

from tests.bench.row import Row


def all_rows() -> list[Row]:
    """Every row, in the order of the promise."""
    found: list[Row] = []
    for module in pkgutil.iter_modules(__path__):
        found.extend(importlib.import_module(f"{__name__}.{module.name}").ROWS)
    return sorted(found, key=lambda row: row.order)
