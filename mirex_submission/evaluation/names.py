"""Names of systems, which are folders beside the files of the results."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mirex_submission.errors import UsageError
from mirex_submission.system.option import FILE_NAME

_SUFFIXES_OF_RESULTS = (".json", ".csv", ".txt", ".html")


def check_system_names(names: Sequence[str]) -> None:
    """Raise UsageError for a name that is given twice, or that no folder of results can have."""
    for name in names:
        if not re.fullmatch(FILE_NAME, name):
            problem = f"system {name!r}: use letters, digits, '_', '-' and '.' only"
            raise UsageError(problem, code="usage.system-name")
        if name.endswith(_SUFFIXES_OF_RESULTS):
            problem = f"system {name!r}: its folder would have the name of a file of the results: give another name"
            raise UsageError(problem, code="usage.system-name")
    if len(set(names)) < len(names):
        problem = f"systems {', '.join(names)}: a name is given twice: give each system its own, as NAME=DIR"
        raise UsageError(problem, code="usage.system-twice")
