"""Sources that can replace a list file: a folder, a table, one audio file, or a list in memory.

A list file is passed on unchanged to the list reader, after a check of its name and sometimes of its first line.
"""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from mirex_submission.errors import ListError, UsageError
from mirex_submission.features.folders import AUDIO_SUFFIXES, audio_below, check_no_loose_audio, from_folders
from mirex_submission.protocol.groups import GroupedTrack, check_names, warn_of_ungrouped
from mirex_submission.protocol.in_memory import InMemoryList, ListSource, TrackTable, as_list
from mirex_submission.protocol.lists import AUDIO
from mirex_submission.protocol.tables import BINARY, LABEL, PATH, SUFFIXES, TableOptions, read_table, separator_of
from mirex_submission.system.file_types import file_type
from mirex_submission.system.paths import full_path

_HEAD_BYTES = 1 << 16
_OF_FOLDERS = "folder"  # --groups folder


def open_list(
    name: str,
    source: ListSource,
    *,
    labelled: bool,
    tables: TableOptions = TableOptions(),
    groups: bool = False,
) -> str | os.PathLike[str]:
    """Convert any source of tracks to a list for the list readers.

    Parameters
    ----------
    name : str
        Name of the caller's argument, for messages.
    source : ListSource
        A source for `as_list`; or the path of a folder, of a table or of an audio file.
    labelled : bool
        Whether each track has a label. In a folder, the label is the name of the class's folder.
    tables : TableOptions
        Columns of a table.
    groups : bool
        Whether the folders in a class folder are groups (see `from_folders`).

    Returns
    -------
    path or InMemoryList
        An InMemoryList has the groups of a folder or a table.

    Raises
    ------
    ListError
        The source has problems, or can be read in two ways.
    UsageError
        `source` has another type, or groups were requested and a source of its kind has none.
    """
    if not labelled:
        groups, tables = False, dataclasses.replace(tables, group_column=None)
    if not isinstance(source, (str, os.PathLike)) or isinstance(source, InMemoryList):
        _refuse_groups(name, groups, tables)
        return as_list(name, _with_columns(source, tables), labelled=labelled)
    if os.path.isdir(source):
        _refuse_groups(name, False, tables)
        return _listed(source, _of_folder(source, labelled=labelled, groups=groups), labelled=labelled)
    head = _head(source)
    if _is_audio(source, head):
        return _listed(source, [_single(source, labelled=labelled)], labelled=labelled)
    if not _is_table(source, head, tables, labelled=labelled):
        _refuse_groups(name, groups, tables)
        return source
    _refuse_groups(name, groups, TableOptions())
    tracks = read_table(
        source,
        path=tables.path_column or PATH,
        label=(tables.label_column or LABEL) if labelled else None,
        group=tables.group_column,
        root=tables.root,
        may_lack_files=True,
    )
    return _listed(source, tracks, labelled=labelled)


def groups_of_folders(groups: object, tables: TableOptions) -> bool:
    """Return whether the folders below those of the classes are the groups (`--groups folder`).

    Raises
    ------
    UsageError
        A file is named `folder`, or a column of groups is given too.
    """
    if groups is not None and tables.group_column:
        raise UsageError("--groups and --group-column: give one of the two", code="usage.groups")
    if groups != _OF_FOLDERS:
        return False
    if os.path.isfile(_OF_FOLDERS):
        text = "--groups folder: this can mean the folders below those of the classes, or the list in the file 'folder'"
        raise UsageError(f"{text}: for the list give ./folder; for the folders rename the file", code="usage.groups")
    return True


def _with_columns(source: ListSource, tables: TableOptions) -> ListSource:
    """Apply the options' names of columns to a DataFrame."""
    if hasattr(source, "itertuples") and hasattr(source, "columns") and (tables.path_column or tables.label_column):
        return TrackTable(source, tables.path_column or PATH, tables.label_column or LABEL)
    return source


def _refuse_groups(name: str, folders: bool, tables: TableOptions) -> None:
    """Raise UsageError if groups are requested from a source that cannot have them."""
    if folders:
        raise UsageError(f"--groups folder: {name} is not a folder: give --groups FILE", code="usage.groups")
    if tables.group_column:
        raise UsageError(f"--group-column: {name} is not a table file: give --groups FILE", code="usage.groups")


def _of_folder(folder: str | os.PathLike[str], *, labelled: bool, groups: bool) -> Sequence[GroupedTrack]:
    if not labelled:
        return [GroupedTrack(path) for path in audio_below(folder)]
    tracks = from_folders(folder, groups=groups)
    if groups:
        warn_of_ungrouped(os.fspath(folder), tracks, "a folder below its class")
    check_no_loose_audio(folder)
    return tracks


def _single(source: str | os.PathLike[str], *, labelled: bool) -> GroupedTrack:
    if labelled:
        text = f"{source}: an audio file, not a list: labels are needed: give a list, a table or a folder of classes"
        raise ListError(text, code="list.audio")
    track = GroupedTrack(full_path(source))
    check_names([track])
    return track


def _listed(source: str | os.PathLike[str], tracks: Sequence[GroupedTrack], *, labelled: bool) -> InMemoryList:
    lines = [(f"{track.path}\t{track.label}" if labelled else track.path).encode() for track in tracks]
    groups = {track.path: track.group for track in tracks if track.group not in ("", track.path)}
    return InMemoryList(os.fspath(source), lines, [track.line or k for k, track in enumerate(tracks, 1)], groups)


def _head(path: str | os.PathLike[str]) -> bytes:
    """Read the beginning of a regular file; return b"" for anything else, because a pipe can be read only once."""
    try:
        if not os.path.isfile(path):
            return b""
        with open(path, "rb") as f:
            return f.read(_HEAD_BYTES)
    except (OSError, ValueError):  # the list reader reports the reason
        return b""


def _is_audio(path: str | os.PathLike[str], head: bytes) -> bool:
    is_named = Path(path).suffix.lower() in AUDIO_SUFFIXES
    if not head:  # an empty audio file is a track with a prediction; an empty list is an error
        return is_named and os.path.isfile(path)
    if b"\0" not in head and not head.startswith(b"\xff"):  # text
        return False
    known = file_type(head)
    return is_named or head.startswith(AUDIO) or (known is not None and known.is_audio)


def _is_table(path: str | os.PathLike[str], head: bytes, tables: TableOptions, *, labelled: bool) -> bool:
    """Return whether a file is a table, by suffix and first line. Raises ListError if it can also be a list."""
    suffix = Path(path).suffix.lower()
    is_chosen = bool(tables.path_column or (labelled and tables.label_column))
    if suffix in BINARY:
        return True
    if not head or b"\0" in head or (suffix not in SUFFIXES and not is_chosen):  # the list reader reports UTF-16
        return False
    lines = (line for line in head.decode("utf-8-sig", errors="replace").splitlines() if line.strip())
    first = next(lines, "")
    cells = next(csv.reader([first], delimiter=separator_of(first))) if suffix == ".csv" else first.split("\t")
    columns = [tables.path_column or PATH, *([tables.label_column or LABEL] if labelled else [])]
    entry = first.rpartition("\t")[0] if labelled else first
    is_entry = bool(entry) and os.path.exists(entry)
    options = "--path-column" + (" and --label-column" if labelled else "")
    if set(columns) <= set(cells):
        if is_entry and not is_chosen:
            text = f"{path}: a table with the column(s) {', '.join(columns)}, or a list whose first track is {entry!r}"
            advice = f"to read it as a table give {options}; to read it as a list name it .txt"
            raise ListError(f"{text}: {advice}", code="list.two-readings")
        return True
    has_path = any("/" in cell or "." in cell for cell in cells)
    is_row = (labelled and "\t" not in first) or any(
        os.path.isfile(os.path.join(folder, cell)) for folder in ("", os.path.dirname(path)) for cell in cells if cell
    )
    if len(cells) > 1 and not is_entry and (is_row or not has_path):
        shown = ", ".join(map(repr, cells))
        text = f"{path}: as a list, its first line names no file; as a table, it has no column(s) {', '.join(columns)}"
        advice = f"name its columns with {options}, or write {separator_of(first).join(columns)!r} above its first line"
        raise ListError(f"{text}, but {shown}: {advice}", code="list.two-readings")
    return False
