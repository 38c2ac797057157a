"""Full paths, by which two spellings of one file are recognised."""

from __future__ import annotations

import os
import re


def full_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute path without `.` and `..`.

    It equals os.path.abspath, except that `link/../a.wav` is resolved as the system does: beside the folder to which
    the link points. Other links are not followed.
    """
    path = os.fspath(path)
    if re.search(r"(?:^|/)\.\.(?:/|$)", path):
        folder, name = os.path.split(path)
        return os.path.realpath(path) if name == ".." else os.path.join(os.path.realpath(folder), name)
    # For an absolute path, normpath equals abspath in half the time and copies most paths once less.
    return os.path.normpath(path) if path.startswith("/") else os.path.abspath(path)
