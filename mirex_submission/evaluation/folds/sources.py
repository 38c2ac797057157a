"""Where labelled tracks come from: a table, folders named by their class, or a loader of mirdata.

A table is UTF-8 text with a header line and a tab between columns (no quotes): `path`, `label` and any other, such as
`artist` or `album`. A relative path in it is relative to the folder of the table, or to one that is given.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mirex_submission.errors import ListError, UsageError
from mirex_submission.protocol.lists import Problems, Track, is_path
from mirex_submission.protocol.nema import N_EXAMPLES
from mirex_submission.system.installation import install_extra
from mirex_submission.system.paths import full_path

log = logging.getLogger(__name__)

AUDIO_SUFFIXES = (".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
# What mirdata's loaders call a label. `canonical_composer` is maestro's, `tags` are the moods of MTG-Jamendo.
MIRDATA_LABELS = ("genre", "genres", "mood", "composer", "canonical_composer", "tags")


@dataclass(frozen=True)
class GroupedTrack(Track):
    """A labelled track with an absolute path, and the group (artist, album) that must not be in training and test."""

    group: str = ""


def read_table(
    table_path: str | os.PathLike[str], *, group: str | None = None, root: str | os.PathLike[str] | None = None
) -> list[GroupedTrack]:
    """The tracks of a table, in its order.

    group : the column that says what belongs together; by default, and where its cell is empty, a track is its own
        group. Case and the number of blanks do not tell groups apart.
    root : what relative paths are relative to; by default the folder of the table.

    Raises ListError with every fault of the table.
    """
    faults = Problems(table_path)
    lines = iter(faults.read_lines())
    number, header = next(lines, (1, ""))
    columns = header.split("\t")
    wanted = ["path", "label", *([group] if group else [])]
    for name in wanted:
        if columns.count(name) != 1:
            found = f"{columns.count(name)} columns named {name!r} among {', '.join(map(repr, columns))}"
            faults.add(number, found, "the first line names the columns, with a tab between them")
    if faults.lines:
        faults.finish(n_entries=0, expected="path<TAB>label")
    at = [columns.index(name) for name in wanted]
    root = os.path.abspath(root or os.path.dirname(os.path.abspath(table_path)))
    tracks: list[GroupedTrack] = []
    line_of: dict[str, int] = {}
    missing = []
    for number, line in lines:
        cells = line.split("\t")
        if len(cells) != len(columns):
            faults.add(number, f"{len(cells)} cells, but {len(columns)} columns", "write a tab between all columns")
            continue
        spelled, label, *grouped = (cells[k] for k in at)
        path = full_path(os.path.join(root, spelled))
        if not label.strip():
            faults.add(number, "an empty label", "write the track's class")
        elif is_path(spelled, number, faults):
            if path in line_of:
                faults.add(number, f"{spelled!r} is in line {line_of[path]} too", "keep one of the two lines")
            elif not os.path.isfile(path):
                missing.append((number, f"no file {path!r}"))
            line_of.setdefault(path, number)
            tracks.append(_grouped(path, label, *grouped))
    if len(missing) > 1 and len(missing) == len(tracks):  # a wrong root is one fault
        missing = [(missing[0][0], f"{missing[0][1]}, and none of {len(missing) - 1} others")]
    for number, found in missing:
        faults.add(number, found, f"correct the path, or what it is relative to with --root (now {root})")
    faults.finish(n_entries=len(tracks), expected="path<TAB>label")
    if group:
        _warn_of_ungrouped(os.fspath(table_path), tracks, group)
    return tracks


def from_folders(folder: str | os.PathLike[str]) -> list[GroupedTrack]:
    """The audio files below each folder in `folder`, whose name is their class; each track is its own group.

    Hidden files, and files of other kinds than AUDIO_SUFFIXES, are left out. Raises ListError.
    """
    tracks, others = [], []
    top = os.path.abspath(folder)
    for parent, folders, names in os.walk(top, onerror=_cannot_list):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            if parent == top or name.startswith(".") or not name.lower().endswith(AUDIO_SUFFIXES):
                others.append(path)
            else:
                tracks.append(_grouped(path, os.path.relpath(parent, top).split(os.sep)[0]))
    if others:
        log.info("%s: %d file(s) left out: no audio, or in no class's folder: %s", top, len(others), _shown(others))
    if not tracks:
        raise ListError(f"{top}: no audio file in a folder below: give the folder that holds a folder for each class")
    _check_names(tracks)
    return tracks


def from_mirdata(name: str, home: str | os.PathLike[str], *, group: str | None = None) -> list[GroupedTrack]:
    """The tracks of mirdata's loader `name` over the data in `home` that have one label, and an audio file there.

    group : the attribute of mirdata's tracks that says what belongs together (`artist`, `album_id`).

    Raises UsageError without mirdata or such a loader, and ListError if there is nothing to use. Downloads nothing.
    """
    try:
        import mirdata
    except ModuleNotFoundError as error:
        said = f"--from-mirdata: the Python package {error.name!r} is missing"
        raise UsageError(f"{said}: {install_extra('mirdata')}") from None
    if name not in mirdata.list_datasets():
        raise UsageError(f"mirdata has no loader {name!r}: one of {', '.join(mirdata.list_datasets())}")
    home = os.path.abspath(home)
    try:
        loaded = list(mirdata.initialize(name, data_home=home).load_tracks().values())
        attributes = dir(loaded[0]) if loaded else []
        of_label = next((attribute for attribute in MIRDATA_LABELS if attribute in attributes), None)
        if of_label is None:
            raise ListError(f"mirdata's {name}: its tracks have no {', '.join(MIRDATA_LABELS)}: take another loader")
        if group and group not in attributes:
            shown = ", ".join(attribute for attribute in attributes if not attribute.startswith("_"))
            raise UsageError(f"mirdata's {name}: its tracks have no {group!r}: --group takes one of {shown}")
        rows = []
        for track in loaded:
            group_name = _single(getattr(track, group)) if group else ""
            rows.append((_audio_of(track), _single(getattr(track, of_label)), group_name))
    except OSError as error:  # mirdata's word for an index or metadata that is not there
        fetch = f"mirdata.initialize({name!r}, {home!r}).download()"
        raise ListError(f"mirdata's {name} in {home}: {error}: fetch it with `import mirdata; {fetch}`") from None
    tracks = [_grouped(path, label, group_name) for path, label, group_name in rows if label and os.path.isfile(path)]
    if not tracks:
        raise ListError(f"mirdata's {name}: none of {len(rows)} tracks has one {of_label} and its audio in {home}")
    if len(tracks) < len(rows):
        log.warning("mirdata's %s: left out %d of %d tracks: no audio file, or not one %s", name,
                    len(rows) - len(tracks), len(rows), of_label)  # fmt: skip
    _check_names(tracks)
    if group:
        _warn_of_ungrouped(f"mirdata's {name}", tracks, group)
    return tracks


def _audio_of(track: Any) -> str:
    """The first path that a track of mirdata has to its audio (`audio_path`, `audio_path_mono`), or ""."""
    paths = [value for key, value in sorted(vars(track).items()) if key.startswith("audio") and isinstance(value, str)]
    return os.path.abspath(paths[0]) if paths else ""


def _single(value: Any) -> str:
    """One word of mirdata's: text, or the only text of a list; "" for none or several."""
    values = list(value) if isinstance(value, list | tuple | set) else [value]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def _grouped(path: str, label: str, group: str = "") -> GroupedTrack:
    return GroupedTrack(path, label, " ".join(group.casefold().split()) or path)


def _warn_of_ungrouped(source: str, tracks: Sequence[GroupedTrack], group: str) -> None:
    alone = [track.path for track in tracks if track.group == track.path]
    if alone:
        log.warning("%s: %d track(s) without %s, each a group of its own: %s", source, len(alone), group, _shown(alone))


def _check_names(tracks: Sequence[GroupedTrack]) -> None:
    """Raise ListError if a name on the disk cannot stand in a list."""
    bad = [t.path for t in tracks if re.search(r"[\r\n]|[\ud800-\udfff]", t.path) or "\t" in t.label]
    if bad:
        raise ListError("\n".join(f"{path!r}: cannot stand in a list: rename the file or folder" for path in bad))


def _cannot_list(error: OSError) -> None:
    raise ListError(f"{error.filename}: cannot be read: {error.strerror}: check the folder")


def _shown(paths: Sequence[str]) -> str:
    return ", ".join(paths[:N_EXAMPLES]) + (", ..." if len(paths) > N_EXAMPLES else "")
