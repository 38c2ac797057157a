"""Full paths, by which two spellings of one file are recognised."""

from __future__ import annotations

import os
import re
import unicodedata


def full_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute path without `.` and `..`.

    It equals os.path.abspath, with two exceptions. `link/../a.wav` is resolved as the system does: beside the folder to
    which the link points; other links are not followed. A name that does not exist as it is spelled is the one that
    exists in another Unicode form: macOS decomposes letters such as `é`, and others compose them.
    """
    path = _absolute(os.fspath(path))
    if path.isascii() or os.path.lexists(path):
        return path
    spelled = ""
    for name in path.split("/")[1:]:  # each may have a form of its own: folders are made on other systems than files
        forms = dict.fromkeys([name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)])
        existing = next((form for form in forms if os.path.lexists(f"{spelled}/{form}")), None)
        if existing is None:
            return path
        spelled = f"{spelled}/{existing}"
    return spelled


def in_other_form(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path does not exist as it is spelled, but in another Unicode form."""
    return not os.fspath(path).isascii() and not os.path.lexists(path) and os.path.lexists(full_path(path))


def _absolute(path: str) -> str:
    if re.search(r"(?:^|/)\.\.(?:/|$)", path):
        folder, name = os.path.split(path)
        return os.path.realpath(path) if name == ".." else os.path.join(os.path.realpath(folder), name)
    # For an absolute path, normpath equals abspath in half the time and copies most paths once less.
    return os.path.normpath(path) if path.startswith("/") else os.path.abspath(path)
