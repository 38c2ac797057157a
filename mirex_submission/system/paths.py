"""Full paths, which are equal for two spellings of one file."""

from __future__ import annotations

import os
import re
import unicodedata


def full_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute path without `.` and `..`.

    The result is that of os.path.abspath, with two exceptions. `link/../a.wav` is resolved as the system does it, to a
    file beside the folder to which the link points; other links are not followed. If a name does not exist as it is
    spelled, another Unicode form of it that exists is used: macOS decomposes letters such as `é`, and other systems
    compose them.
    """
    path = _absolute(os.fspath(path))
    if path.isascii() or os.path.lexists(path):
        return path
    spelled = ""
    for name in path.split("/")[1:]:  # names may differ in form, because folder and file may be from different systems
        forms = dict.fromkeys([name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)])
        existing = next((form for form in forms if os.path.lexists(f"{spelled}/{form}")), None)
        if existing is None:
            return path
        spelled = f"{spelled}/{existing}"
    return spelled


def in_other_form(path: str | os.PathLike[str]) -> bool:
    """Return whether a path does not exist as it is spelled, but exists in another Unicode form."""
    return not os.fspath(path).isascii() and not os.path.lexists(path) and os.path.lexists(full_path(path))


def _absolute(path: str) -> str:
    if re.search(r"(?:^|/)\.\.(?:/|$)", path):
        folder, name = os.path.split(path)
        return os.path.realpath(path) if name == ".." else os.path.join(os.path.realpath(folder), name)
    # For an absolute path, normpath gives the result of abspath in half the time, with one copy less of most paths.
    return os.path.normpath(path) if path.startswith("/") else os.path.abspath(path)
