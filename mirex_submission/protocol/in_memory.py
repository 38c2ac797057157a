"""Lists in the memory of a Python caller, read with the same checks as list files."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from mirex_submission.errors import UsageError

# A list file, or entries in memory; `as_list` describes the objects.
ListSource: TypeAlias = "str | os.PathLike[str] | InMemoryList | TrackTable | Iterable[Any]"

_EXAMPLES = {
    False: "'features.txt' or ['a.wav', 'b.wav']",
    True: "'train.txt' or [('a.wav', 'rock'), ('b.wav', 'jazz')]",
}


@dataclass(frozen=True)
class TrackTable:
    """A pandas DataFrame of tracks whose columns have other names than `path` and `label`.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per track.
    path_column, label_column : str
        Names of the columns of paths and of labels.

    Examples
    --------
    >>> import pandas as pd
    >>> from mirex_submission import TrackTable
    >>> frame = pd.DataFrame({"file": ["a.wav", "b.wav"], "genre": ["rock", "jazz"]})
    >>> tracks = TrackTable(frame, path_column="file", label_column="genre")  # for train("scratch", tracks)
    """

    frame: Any
    path_column: str = "path"
    label_column: str = "label"


class InMemoryList(os.PathLike[str]):
    """Entries in memory in place of a list file; messages name an entry as `name:number`.

    Parameters
    ----------
    name : str
        Name of the list in messages.
    lines : list of bytes
        One line per track, as in a list file.
    numbers : sequence of int, optional
        Number of each line; default: 1, 2, and so on.
    groups : mapping of str to str
        Full path to group, such as the artist, of the tracks that have one.
    """

    def __init__(
        self,
        name: str,
        lines: list[bytes],
        numbers: Sequence[int] | None = None,
        groups: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._name = name
        self.lines = lines
        self.numbers = numbers or range(1, len(lines) + 1)
        self.groups = groups

    def __fspath__(self) -> str:
        return self._name

    __str__ = __fspath__


def as_list(name: str, source: ListSource, *, labelled: bool) -> str | os.PathLike[str]:
    """Convert a list of a Python caller to a list that the list readers take.

    Parameters
    ----------
    name : str
        Name of the caller's argument, for messages.
    source : path, sequence, pandas object or mapping
        A list file; or paths (`labelled` false: sequence, array or Series); or paths and labels (`labelled` true:
        pairs, array of two columns, {path: label}, Series of labels by path). A DataFrame has columns `path` and
        `label`; TrackTable names others.
    labelled : bool
        Whether each entry has a path and a label.

    Raises
    ------
    UsageError
        The type is none of these, or a column is missing.
    ListError
        An entry has no label, or no line of a list can hold it.
    """
    if isinstance(source, (str, os.PathLike)):
        return source
    entries = _entries(name, source, labelled=labelled)
    from mirex_submission.protocol.lists import Problems

    problems, lines = Problems(f"<{name}>"), []
    for number, entry in enumerate(entries, start=1):
        line = _line(entry, number, problems)
        if line is not None:
            lines.append(line)
    if problems.lines:
        problems.finish(n_entries=len(lines), expected="path")
    return InMemoryList(f"<{name}>", lines)


def _entries(name: str, source: Any, *, labelled: bool) -> Iterable[Any]:
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(source, pandas.DataFrame):
        source = TrackTable(source)
    if isinstance(source, TrackTable) and hasattr(source.frame, "itertuples"):
        columns = [source.path_column, *([source.label_column] if labelled else [])]
        missing = [column for column in columns if column not in list(source.frame.columns)]
        if missing:
            raise UsageError(
                f"{name}: the table has no column {', '.join(map(repr, missing))}: its columns are "
                f"{', '.join(map(repr, source.frame.columns))}: name them with "
                "TrackTable(frame, path_column=..., label_column=...)",
                code="usage.table-column",
            )
        return list(source.frame[columns].itertuples(index=False, name=None))
    if pandas is not None and isinstance(source, pandas.Series):
        return list(source.items() if labelled else source)
    if isinstance(source, Mapping) and labelled:
        return source.items()
    # A set has no order, but the order of tracks decides a training. Each line of an open file would be a path.
    if isinstance(source, (bytes, Mapping, set, frozenset, io.IOBase)) or not isinstance(source, Iterable):
        given = source.frame if isinstance(source, TrackTable) else source
        raise UsageError(
            f"{name}: {type(given).__name__} is not a list of tracks: give a list file, entries or a DataFrame, "
            f"such as {_EXAMPLES[labelled]}",
            code="usage.list-type",
        )
    return source.tolist() if hasattr(source, "tolist") else source


def _line(entry: Any, number: int, problems: Any) -> bytes | None:
    """Return the entry as a line of a list file; if it cannot be one, add the reason to the problems."""
    path, *labels = (entry or (None,)) if isinstance(entry, (tuple, list)) else (entry,)
    fields = [os.fspath(path) if isinstance(path, os.PathLike) else path, *map(str, labels)]
    if any(map(_is_missing, labels)):
        problems.add(number, f"no label in {entry!r}", "give each path its label", code="list.no-label")
    elif not isinstance(fields[0], str) or len(fields) > 2:
        problems.add(
            number,
            f"{entry!r} is not an entry of a list",
            "give a path, or in a labelled list a pair of path and label",
            code="list.entry",
        )
    elif re.search(r"[\r\n]", "".join(fields)) or "\t" in "".join(fields[1:]):
        problems.add(
            number, f"a line end or a tab in {fields!r}", "rename it: a list cannot hold it", code="list.line-end"
        )
    else:
        # The reader reports characters that UTF-8 cannot hold, as it does for a file.
        return "\t".join(fields).encode("utf-8", "surrogatepass")
    return None


def _is_missing(label: Any) -> bool:
    """Return whether a label is None, a NaN of any type, pandas.NA or pandas.NaT."""
    return not isinstance(label, str) and str(label).lower() in ("none", "nan", "<na>", "nat")
