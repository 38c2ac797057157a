"""Kernels in C (csrc/): None where no compiler was found to build them, for setup.py calls them optional."""

from __future__ import annotations

import importlib
from types import ModuleType


def load(name: str) -> ModuleType | None:
    """The module of this full name, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
