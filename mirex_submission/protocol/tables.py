"""Tracks from a table: TSV, CSV, Excel or Parquet.

A table has a header with the columns `path`, `label` and any other, such as `artist` or `album`; options name others.
Its suffix tells its format: `.csv` (commas, semicolons or tabs), `.xlsx` and `.parquet`; any other file is UTF-8 text
with a tab between columns and no quotes. All cells are text, also those like `NA` or `1`. A relative path is relative
to the folder of the table, or to one that is given.
"""

from __future__ import annotations

import io
import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mirex_submission.errors import ListError, UsageError, coded, reason_of
from mirex_submission.protocol.groups import GroupedTrack, grouped, warn_of_forms, warn_of_ungrouped
from mirex_submission.protocol.lists import Problems, is_path
from mirex_submission.system import option as opt
from mirex_submission.system.installation import install_extra
from mirex_submission.system.option import Options, option
from mirex_submission.system.paths import full_path, in_other_form

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


BINARY = (".parquet", ".xlsx")  # suffixes; of the others the separator is known
SUFFIXES = (".csv", ".tsv", *BINARY)
PATH, LABEL = "path", "label"  # columns


@dataclass(frozen=True)
class TableOptions(Options):
    """Columns of the tables that are given in place of lists.

    Parameters
    ----------
    path_column, label_column : str, optional
        Columns of paths and labels; default: `path` and `label`. Either makes a text file of any name a table.
    group_column : str, optional
        Column whose equal cells, such as artists, stay together.
    root : path, optional
        Folder of the tables' relative paths; default: that of the table.
    """

    path_column: str | None = option(None, "column of paths (default: path)", convert=str, metavar="COLUMN")
    label_column: str | None = option(None, "column of labels (default: label)", convert=str, metavar="COLUMN")
    group_column: str | None = option(
        None, "column that keeps tracks together (default: none)", convert=str, metavar="COLUMN"
    )
    root: str | None = option(None, "folder of its relative paths, if not its own", convert=opt.path, metavar="DIR")


def read_table(
    table_path: str | os.PathLike[str],
    *,
    path: str = PATH,
    label: str | None = LABEL,
    group: str | None = None,
    root: str | os.PathLike[str] | None = None,
    may_lack_files: bool = False,
) -> list[GroupedTrack]:
    """Read the tracks of a table, in its order.

    Parameters
    ----------
    table_path : path-like
        TSV, CSV, Excel (.xlsx) or Parquet file.
    path : str
        Column of the paths.
    label : str, optional
        Column of the labels; None for tracks without labels.
    group : str, optional
        Column whose equal cells belong together, whatever their case and number of blanks. Without it, and where its
        cell is empty, a track is its own group.
    root : path-like, optional
        Folder of relative paths; by default that of the table.
    may_lack_files : bool
        Whether some of the files, but not all, may be missing.

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
    columns = [name for name in (path, label, group) if name]
    for name in columns:
        count = list(frame.columns).count(name)
        if count != 1:
            problem = f"{count} columns named {name!r} among {', '.join(map(repr, frame.columns))}"
            advice = "name each column once in the first line, or name others with --path-column and --label-column"
            problems.add(1, problem, advice, code="folds.columns")
            problems.finish(n_entries=0, expected="path<TAB>label")
    root = os.path.abspath(root or os.path.dirname(os.path.abspath(table_path)))
    tracks = _tracks(frame[columns], root, problems, labelled=label is not None, may_lack_files=may_lack_files)
    problems.finish(n_entries=len(tracks), expected="path<TAB>label")
    if group:
        warn_of_ungrouped(os.fspath(table_path), tracks, group)
        warn_of_forms(f"{table_path}: {group}", frame[group])
    return tracks


def read_frame(path: Path, problems: Problems) -> pd.DataFrame:
    """Read a table as text; the index of a row is its line, or its row in a binary table."""
    try:
        import pandas as pd
    except ModuleNotFoundError:  # a packed submission has none
        text = (
            f"{path}: a table, for which the Python package pandas is missing: give a list, a folder or an audio file"
        )
        raise UsageError(text, code="folds.table-package") from None

    suffix = path.suffix.lower()
    if suffix not in BINARY:
        return _text_frame(problems, is_csv=suffix == ".csv")
    try:
        if suffix == ".xlsx":
            frame = pd.read_excel(path, dtype=str, keep_default_na=False, engine="openpyxl")
        else:
            frame = pd.read_parquet(path, engine="pyarrow")
            if frame.index.names != [None]:  # pandas writes an index as columns
                frame = frame.reset_index()
    except ImportError as error:
        raise UsageError(f"{path}: {error}: {install_extra('tables')}", code="folds.table-package") from None
    except OSError as error:
        raise ListError(
            f"{path}: cannot be read: {reason_of(error)}: check the path of the table", code="list.unreadable"
        ) from None
    except Exception as error:  # noqa: BLE001 - each format has errors of its own for a damaged file
        problem = f"{path}: not a {suffix} table: {error}"
        raise ListError(f"{problem}: save it again, or as TSV", code="folds.damaged-table") from None
    frame.index = pd.RangeIndex(2, len(frame) + 2)  # as a spreadsheet numbers the rows below the header
    return frame.astype(object).where(frame.notna(), "").map(_cell_text)


def _cell_text(cell: object) -> str:
    """Return a cell of Parquet as text. A gap in a column of whole numbers makes them floats."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.decode("utf-8", "surrogateescape") if isinstance(cell, bytes) else str(cell)


def separator_of(line: str) -> str:
    """Return the separator of a CSV file by its first line; Excel writes `;` where the comma is the decimal point."""
    return max(",;\t", key=line.count)


def _text_frame(problems: Problems, *, is_csv: bool) -> pd.DataFrame:
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
            sep=separator_of(lines[0][1]) if is_csv else "\t",
            header=None,
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_MINIMAL if is_csv else csv.QUOTE_NONE,
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


def _tracks(
    frame: pd.DataFrame, root: str, problems: Problems, *, labelled: bool, may_lack_files: bool
) -> list[GroupedTrack]:
    """Check path and label of each row; columns are path, with `labelled` label, and perhaps a group."""
    tracks: list[GroupedTrack] = []
    line_of: dict[str, int] = {}
    missing: list[tuple[int, str]] = []
    for number, spelled, *others in frame.itertuples(name=None):
        label, *group = others if labelled else [""]
        path = full_path(os.path.join(root, spelled))
        if in_other_form(os.path.join(root, spelled)):
            text = f"{spelled!r}: the file's name has another Unicode form, {path!r}, which is taken"
            log.warning("%s", coded(text, code="folds.unicode-forms"))
        if labelled and not label.strip():
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
            tracks.append(replace(grouped(path, label, *group), line=number))
    if may_lack_files and len(missing) < len(tracks):  # as of a list: extraction names them
        missing = []
    if len(missing) > 1 and len(missing) == len(tracks):  # a wrong root is one problem
        missing = [(missing[0][0], f"{missing[0][1]}, and none of {len(missing) - 1} others")]
    for number, problem in missing:
        advice = f"correct the path, or what it is relative to with --root (now {root})"
        problems.add(number, problem, advice, code="folds.no-file")
    return tracks
