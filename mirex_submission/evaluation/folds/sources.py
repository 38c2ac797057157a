"""Labelled tracks with their groups: from a table or from a loader of mirdata; `folders` finds them in folders.

A table has a header with the columns `path`, `label` and any other, such as `artist` or `album`. Its suffix tells its
format: `.csv`, `.xlsx` and `.parquet`; any other file is UTF-8 text with a tab between columns and no quotes. All cells
are text, also those like `NA` or `1`. A relative path is relative to the folder of the table, or to one that is given.
"""

from __future__ import annotations

import io
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirex_submission.errors import ListError, UsageError, coded
from mirex_submission.protocol.lists import Problems, Track, is_path
from mirex_submission.protocol.nema import N_EXAMPLES
from mirex_submission.system.installation import install_extra
from mirex_submission.system.paths import full_path, in_other_form
from mirex_submission.system.unicode_forms import nfc

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# The label in mirdata's loaders: `canonical_composer` is maestro's, `tags` are the moods of MTG-Jamendo.
MIRDATA_LABELS = ("genre", "genres", "mood", "composer", "canonical_composer", "tags")


@dataclass(frozen=True)
class GroupedTrack(Track):
    """A labelled track with an absolute path, and the group (artist, album) that must not be in training and test."""

    group: str = ""


def read_table(
    table_path: str | os.PathLike[str], *, group: str | None = None, root: str | os.PathLike[str] | None = None
) -> list[GroupedTrack]:
    """Read the tracks of a table, in its order.

    Parameters
    ----------
    table_path : path-like
        TSV, CSV, Excel (.xlsx) or Parquet file.
    group : str, optional
        Column whose equal cells belong together, whatever their case and number of blanks. Without it, and where its
        cell is empty, a track is its own group.
    root : path-like, optional
        Folder of relative paths; by default that of the table.

    Returns
    -------
    list of GroupedTrack

    Raises
    ------
    ListError
        With every problem of the table, each with its `file:line`, or `file:row` of a binary table.
    UsageError
        If the package that reads the format is not installed.
    """
    problems = Problems(table_path)
    frame = read_frame(Path(table_path), problems)
    columns = ["path", "label", *([group] if group else [])]
    for name in columns:
        count = list(frame.columns).count(name)
        if count != 1:
            problem = f"{count} columns named {name!r} among {', '.join(map(repr, frame.columns))}"
            problems.add(1, problem, "name each column once in the first line", code="folds.columns")
            problems.finish(n_entries=0, expected="path<TAB>label")
    root = os.path.abspath(root or os.path.dirname(os.path.abspath(table_path)))
    tracks = _tracks(frame[columns], root, problems)
    problems.finish(n_entries=len(tracks), expected="path<TAB>label")
    if group:
        _warn_of_ungrouped(os.fspath(table_path), tracks, group)
        _warn_of_forms(f"{table_path}: {group}", frame[group])
    return tracks


def read_frame(path: Path, problems: Problems) -> pd.DataFrame:
    """Read a table as text; the index of a row is its line, or its row in a binary table."""
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix not in (".xlsx", ".parquet"):
        return _text_frame(problems, separator="," if suffix == ".csv" else "\t")
    try:
        if suffix == ".xlsx":
            frame = pd.read_excel(path, dtype=str, keep_default_na=False, engine="openpyxl")
        else:
            frame = pd.read_parquet(path, engine="pyarrow")
    except ImportError as error:
        raise UsageError(f"{path}: {error}: {install_extra('tables')}", code="folds.table-package") from None
    except OSError as error:
        reason = error.strerror or error
        raise ListError(
            f"{path}: cannot be read: {reason}: check the path of the table", code="list.unreadable"
        ) from None
    except Exception as error:  # noqa: BLE001 - each format has errors of its own for a damaged file
        problem = f"{path}: not a {suffix} table: {error}"
        raise ListError(f"{problem}: save it again, or as TSV", code="folds.damaged-table") from None
    frame.index = pd.RangeIndex(2, len(frame) + 2)  # as a spreadsheet numbers the rows below the header
    return frame.astype(object).where(frame.notna(), "").map(str)


def _text_frame(problems: Problems, *, separator: str) -> pd.DataFrame:
    """Read a text table. Blank lines count for nothing; a line that ends early has empty cells."""
    import csv

    import pandas as pd

    lines = list(problems.read_lines())
    numbers = [number for number, _ in lines]
    if not lines:
        problems.finish(n_entries=0, expected="path<TAB>label")
    try:
        rows = pd.read_csv(
            io.StringIO("".join(f"{line}\n" for _, line in lines)),
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE,
        )
    except pd.errors.EmptyDataError:  # of a line that pandas takes for blank
        problems.finish(n_entries=0, expected="path<TAB>label")
        raise
    except pd.errors.ParserError as error:
        match = re.search(r"in line (\d+)", str(error))
        number = numbers[int(match[1]) - 1] if match else None
        problems.add(
            number, str(error).rpartition("error: ")[2].strip(), "give each line as many cells", code="folds.cells"
        )
        problems.finish(n_entries=0, expected="path<TAB>label")
    # With a line end within quotes the lines of a CSV file are not its rows.
    rows.index = pd.Index(numbers if len(numbers) == len(rows) else range(1, len(rows) + 1))
    return rows.iloc[1:].set_axis(rows.iloc[0].tolist(), axis=1)


def _tracks(frame: pd.DataFrame, root: str, problems: Problems) -> list[GroupedTrack]:
    """Check path and label of each row; columns are path, label and perhaps a group."""
    tracks: list[GroupedTrack] = []
    line_of: dict[str, int] = {}
    missing: list[tuple[int, str]] = []
    for number, spelled, label, *group in frame.itertuples(name=None):
        path = full_path(os.path.join(root, spelled))
        if in_other_form(os.path.join(root, spelled)):
            text = f"{spelled!r}: the file's name has another Unicode form, {path!r}, which is taken"
            log.warning("%s", coded(text, code="folds.unicode-forms"))
        if not label.strip():
            problems.add(number, "an empty label", "write the track's class", code="list.no-label")
        elif re.search(r"[\t\r\n]", label) or re.search(r"[\r\n]", spelled):
            problem = f"a line end or a tab in {spelled!r} or {label!r}"
            problems.add(number, problem, "rename it: no list can hold it", code="folds.unlistable-name")
        elif is_path(spelled, number, problems):
            if path in line_of:
                problem = f"{spelled!r} is in line {line_of[path]} too"
                problems.add(number, problem, "keep one of the two lines", code="folds.repeated-track")
            elif not os.path.isfile(path):
                missing.append((number, f"no file {path!r}"))
            line_of.setdefault(path, number)
            tracks.append(grouped(path, label, *group))
    if len(missing) > 1 and len(missing) == len(tracks):  # a wrong root is one problem
        missing = [(missing[0][0], f"{missing[0][1]}, and none of {len(missing) - 1} others")]
    for number, problem in missing:
        advice = f"correct the path, or what it is relative to with --root (now {root})"
        problems.add(number, problem, advice, code="folds.no-file")
    return tracks


def from_mirdata(name: str, home: str | os.PathLike[str], *, group: str | None = None) -> list[GroupedTrack]:
    """Take the tracks of one of mirdata's loaders that have one label, and an audio file on the disk.

    Nothing is downloaded.

    Parameters
    ----------
    name : str
        Name of the loader.
    home : path-like
        Folder of its data.
    group : str, optional
        Attribute of mirdata's tracks that says what belongs together, such as `artist` or `album_id`.

    Raises
    ------
    UsageError
        Without mirdata, or if it has no such loader or attribute.
    ListError
        If there is no track to use.
    """
    home = os.path.abspath(home)
    loaded = _load_mirdata(name, home)
    attributes = dir(loaded[0]) if loaded else []
    label_attribute = next((attribute for attribute in MIRDATA_LABELS if attribute in attributes), None)
    if label_attribute is None:
        problem = f"mirdata's {name}: its tracks have no {', '.join(MIRDATA_LABELS)}"
        raise ListError(f"{problem}: take another loader", code="folds.mirdata-label")
    if group and group not in attributes:
        shown = ", ".join(attribute for attribute in attributes if not attribute.startswith("_"))
        problem = f"mirdata's {name}: its tracks have no {group!r}"
        raise UsageError(f"{problem}: --group takes one of {shown}", code="folds.mirdata-group")
    try:
        rows = [
            (
                _audio_of(track),
                _single(getattr(track, label_attribute)),
                _single(getattr(track, group)) if group else "",
            )
            for track in loaded
        ]
    except OSError as error:
        raise _not_fetched(name, home, error) from None
    tracks = [grouped(path, label, group_name) for path, label, group_name in rows if label and os.path.isfile(path)]
    if not tracks:
        problem = f"mirdata's {name}: none of {len(rows)} tracks has one {label_attribute} and its audio in {home}"
        raise ListError(f"{problem}: check the folder", code="folds.no-audio")
    if len(tracks) < len(rows):
        text = f"mirdata's {name}: left out {len(rows) - len(tracks)} of {len(rows)} tracks"
        log.warning("%s", coded(f"{text}: no audio file, or not one {label_attribute}", code="folds.left-out"))
    check_names(tracks)
    if group:
        _warn_of_ungrouped(f"mirdata's {name}", tracks, group)
        _warn_of_forms(f"mirdata's {name}: {group}", (group_name for *_, group_name in rows))
    return tracks


def _load_mirdata(name: str, home: str) -> list[Any]:
    """Load the tracks of a loader of mirdata."""
    try:
        import mirdata
    except ModuleNotFoundError as error:
        problem = f"--from-mirdata: the Python package {error.name!r} is missing"
        raise UsageError(f"{problem}: {install_extra('mirdata')}", code="folds.no-mirdata") from None
    if name not in mirdata.list_datasets():
        problem = f"mirdata has no loader {name!r}: one of {', '.join(mirdata.list_datasets())}"
        raise UsageError(problem, code="folds.mirdata-loader")
    try:
        return list(mirdata.initialize(name, data_home=home).load_tracks().values())
    except OSError as error:
        raise _not_fetched(name, home, error) from None


def _not_fetched(name: str, home: str, error: OSError) -> ListError:
    """Return the error for an index or metadata of mirdata that is missing."""
    fetch = f"mirdata.initialize({name!r}, {home!r}).download()"
    problem = f"mirdata's {name} in {home}: {error}"
    return ListError(f"{problem}: fetch it with `import mirdata; {fetch}`", code="folds.mirdata-data")


def _audio_of(track: Any) -> str:
    """Return the first path that a track of mirdata has to its audio (`audio_path`, `audio_path_mono`), or ""."""
    paths = [value for key, value in sorted(vars(track).items()) if key.startswith("audio") and isinstance(value, str)]
    return os.path.abspath(paths[0]) if paths else ""


def _single(value: Any) -> str:
    """Return a text, or the only text of a list; "" for none or several."""
    values = list(value) if isinstance(value, list | tuple | set) else [value]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def grouped(path: str, label: str, group: str = "") -> GroupedTrack:
    """Make a track; groups are compared without case, blanks and Unicode form, and without one a track is its own."""
    return GroupedTrack(path, label, " ".join(nfc(nfc(group).casefold()).split()) or path)


def _warn_of_ungrouped(source: str, tracks: Sequence[GroupedTrack], group: str) -> None:
    alone = [track.path for track in tracks if track.group == track.path]
    if alone:
        warning = f"{source}: {len(alone)} track(s) without {group}, each a group of its own: {examples(alone)}"
        log.warning("%s", coded(warning, code="folds.no-group"))


def one_form(tracks: Sequence[GroupedTrack]) -> list[GroupedTrack]:
    """Spell each label in one Unicode form, and warn if it had several: in lists they would be several classes."""
    several = _warn_of_forms("labels", (track.label for track in tracks))
    return [replace(track, label=nfc(track.label)) if nfc(track.label) in several else track for track in tracks]


def _warn_of_forms(where: str, names: Iterable[str]) -> set[str]:
    """Warn of names that differ in their Unicode form alone, and return them in their composed form."""
    forms: dict[str, set[str]] = defaultdict(set)
    for name in set(names):
        forms[nfc(name)].add(name)
    several = {name for name, spelled in forms.items() if len(spelled) > 1}
    if several:
        text = (
            f"{where}: {len(several)} name(s) in several Unicode forms, each taken as one: {examples(sorted(several))}"
        )
        log.warning("%s", coded(text, code="folds.unicode-forms"))
    return several


def check_names(tracks: Sequence[GroupedTrack]) -> None:
    """Raise ListError if a name on the disk cannot stand in a list."""
    paths = [t.path for t in tracks if re.search(r"[\r\n]|[\ud800-\udfff]", t.path) or "\t" in t.label]
    if paths:
        lines = (f"{path!r}: cannot stand in a list: rename the file or folder" for path in paths)
        raise ListError("\n".join(coded(line, code="folds.unlistable-name") for line in lines))


def examples(paths: Sequence[str]) -> str:
    """Return the first few, joined."""
    return ", ".join(paths[:N_EXAMPLES]) + (", ..." if len(paths) > N_EXAMPLES else "")
