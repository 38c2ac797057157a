"""Which file a path of a list is."""

from __future__ import annotations

import os
import re


def full_path(path: str | os.PathLike[str]) -> str:
    """The path from the root on, without `.` and `..`; one file that is spelled in two such ways has one.

    As os.path.abspath, but `link/../a.wav` is beside the folder that the link leads to, as for the system. Links
    are followed for nothing else.
    """
    path = os.fspath(path)
    if re.search(r"(?:^|/)\.\.(?:/|$)", path):
        folder, name = os.path.split(path)
        return os.path.realpath(path) if name == ".." else os.path.join(os.path.realpath(folder), name)
    # What abspath does, without a second copy of most paths and in half the time.
    return os.path.normpath(path) if path.startswith("/") else os.path.abspath(path)
