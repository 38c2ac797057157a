"""Checks of the names of systems, which also name folders beside the files of the results."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mirex_submission.errors import UsageError
from mirex_submission.system.option import FILE_NAME

_SUFFIXES_OF_RESULTS = (".json", ".csv", ".txt", ".html")


def check_system_names(names: Sequence[str]) -> None:
    """Raise UsageError for a name that is given twice or cannot be a folder of the results."""
    for name in names:
        if not re.fullmatch(FILE_NAME, name):
            problem = f"system {name!r}: use letters, digits, '_', '-' and '.' only"
            raise UsageError(problem, code="usage.system-name")
        if name.endswith(_SUFFIXES_OF_RESULTS):
            problem = f"system {name!r}: its folder could get the name of a file of the results: give another name"
            raise UsageError(problem, code="usage.system-name")
    if len(set(names)) < len(names):
        problem = f"systems {', '.join(names)}: two systems have the same name: give each its own, as NAME=DIR"
        raise UsageError(problem, code="usage.system-twice")
