"""The compiled kernel (csrc/), or None where no compiler was found to build it: setup.py calls it optional."""

from __future__ import annotations

import importlib
from types import ModuleType

kernel: ModuleType | None
try:
    kernel = importlib.import_module("mirex_submission.models._kernel")
except ImportError:
    kernel = None
