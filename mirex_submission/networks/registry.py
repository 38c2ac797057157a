"""Networks that installed packages add to the paper's three.

A package registers a function, from standardised segments to features, as an entry point (docs/python.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mirex_submission.system.plugins import NAME, Plugins

MODELS = ("1", "2", "3", "all")  # the paper's networks, and the mean of all three
NETWORKS = Plugins("mirex_submission.networks", "model", own=MODELS)


def is_model(name: object) -> bool:
    """Return whether this is a valid model name: one of MODELS, or a letter, then letters, digits, '_', '.', '-'."""
    return name in MODELS or (isinstance(name, str) and bool(re.fullmatch(NAME, name)))


def function_of(name: str) -> Callable[[Any], Any]:
    """Load the package that adds a network and return the registered function. Raises UsageError."""
    function = NETWORKS.load(name)
    if not callable(function):
        raise NETWORKS.refused(name, "a function")
    return function  # type: ignore[no-any-return]
