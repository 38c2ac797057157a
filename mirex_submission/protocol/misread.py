"""Paths of a list that name no file for a visible reason, such as quotes: without it, the line names a file."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_COLUMNS = "path|paths|file|files|filename|filepath|name|track|audio|song|clip|wav|id|index|label|class|genre|list"
# A comment, markup, or a line with only names of columns.
_HEADER = re.compile(rf"#\s*\w|<.*>|(?:{_COLUMNS})(?:[\W_]+(?:{_COLUMNS}))*\Z", re.IGNORECASE)

# A URL, or a Windows path with a drive or a server.
_FOREIGN = re.compile(r"""["'<]?(?:[a-z][a-z0-9+.-]+://|file:/|[a-z]:[\\/]|\\\\\w)""", re.IGNORECASE)

_SEPARATORS = {",": "commas", ";": "semicolons", " ": "blanks"}


class Misreading(NamedTuple):
    """A line whose path names no file: its problem, what to do, and the code of the problem."""

    line: int
    problem: str
    advice: str
    code: str


class _Reading(NamedTuple):
    """Another reading of a line: its problem, what to do, the path that is probably meant, and the code."""

    problem: str
    advice: str
    path: str
    code: str


def misreadings(list_path: str | os.PathLike[str], paths: Sequence[tuple[int, str]]) -> list[Misreading]:
    """Find paths that name no file although another reading of their lines names one.

    Parameters
    ----------
    list_path : path-like
    paths : sequence of (int, str)
        Line and path of each entry.

    Returns
    -------
    list of Misreading
        One for each cause, with its first line and the number of its other lines.
    """
    folder = os.path.dirname(os.path.abspath(list_path))
    first: dict[str, tuple[int, str, _Reading]] = {}
    n_lines: Counter[str] = Counter()
    for line, path in paths:
        reading = next((r for r in _readings(path, folder) if os.path.isfile(r.path)), None)
        if reading and not os.path.lexists(path):
            first.setdefault(reading.code, (line, path, reading))
            n_lines[reading.code] += 1
    result = []
    headers = _headers(paths)
    if headers:
        line, path = headers[0]
        text = f"{path!r} is not a file, but a header or a comment{_others(headers)}"
        result.append(Misreading(line, text, "remove it: a list has neither", code="list.header"))
    foreign = [(line, path) for line, path in paths if _FOREIGN.match(path) and not os.path.lexists(path)]
    if foreign:
        line, path = foreign[0]
        text = f"{path!r} is a URL or a Windows path{_others(foreign)}"
        advice = "write the path of a file on this machine; nothing is downloaded"
        result.append(Misreading(line, text, advice, code="list.foreign-path"))
    for code, (line, path, reading) in first.items():
        others = f", also in {n_lines[code] - 1:,} more lines" if n_lines[code] > 1 else ""
        text = f"there is no file {path!r}: {reading.problem}{others}"
        result.append(Misreading(line, text, reading.advice, code))
    return result


def separator(lines: Sequence[str]) -> str | None:
    """Name what separates an existing path from other columns in one of the lines, such as "commas"; or None."""
    for sign, name in _SEPARATORS.items():
        columns = [column for line in lines if sign in line for column in line.split(sign)]
        if any(os.path.isfile(column.strip("'\" ")) for column in columns):
            return name
    return None


def _others(lines: Sequence[tuple[int, str]]) -> str:
    return f", also in {len(lines) - 1:,} more lines" if len(lines) > 1 else ""


def _readings(path: str, folder: str) -> Iterator[_Reading]:
    if path.startswith("\ufeff"):
        text = "a byte order mark is in the middle of the list, perhaps because two lists were joined"
        yield _Reading(text, "remove the mark", path.lstrip("\ufeff"), code="list.mark")
    if path[0] in "\"'":
        yield _Reading("the path is in quotes", "write paths without quotes", path.strip("\"'"), code="list.quotes")
    if path != path.strip():
        yield _Reading("the path has blanks at its ends", "remove them", path.strip(), code="list.blanks")
    if "\\" in path:
        text = "the path has backslashes, as on Windows"
        yield _Reading(text, "write paths with slashes", path.replace("\\", "/"), code="list.backslash")
    if path.startswith(("~", "$")):
        text, full = "`~` and `$NAME` work only in a shell", os.path.expandvars(os.path.expanduser(path))
        yield _Reading(text, "write full paths", full, code="list.home")
    columns = re.split(r"[\t,;]", path)
    if len(columns) > 1:
        text = "the line has too many columns"
        advice = "write only `path`, or in a training list `path<TAB>label`"
        yield from (_Reading(text, advice, column, code="list.columns") for column in columns if column)
    if not path.startswith("/"):
        text = f"relative paths start at the current folder, {os.getcwd()}, but this file is in the folder of the list"
        advice = f"write full paths, or run the command in {folder}"
        yield _Reading(text, advice, os.path.join(folder, path), code="list.relative")


def _headers(paths: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the lines that name no file and look like a comment, names of columns, or a header above a path."""
    looks = [re.search(r"[/.]", path) is not None for _, path in paths[:2]]
    first = paths[:1] if looks == [False, True] else []
    named = [(line, path) for line, path in paths if _HEADER.match(path) and not _FOREIGN.match(path)]
    return [(line, path) for line, path in dict.fromkeys([*first, *named]) if not os.path.lexists(path)]
