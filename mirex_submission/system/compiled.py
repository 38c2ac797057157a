"""Compiled kernels (csrc/). They are optional in setup.py: without a compiler at installation they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType


def load(name: str) -> ModuleType | None:
    """Import the module with this full name; return None if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
