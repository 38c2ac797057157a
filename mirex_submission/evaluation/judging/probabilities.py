"""Tables of class probabilities: the format of `classify --probabilities`, for any system."""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mirex_submission.errors import ListError, reason_of
from mirex_submission.evaluation.records import open_plausible
from mirex_submission.protocol.lists import Problems
from mirex_submission.protocol.outputs import class_key
from mirex_submission.system.progress import shortened

_TOLERANCE = 1e-3  # for the sum of rounded probabilities
_WRITE_AGAIN = "write one probability from 0 to 1 per class, with a sum of 1"


@dataclass(frozen=True)
class Probabilities:
    """Class probabilities of tracks.

    Parameters
    ----------
    columns : dict of str to (int, str)
        {`class_key` of a class: its column and its label}.
    rows : dict of str to np.ndarray [shape=(n_classes,), dtype=float64]
        {normalised path of a track: its probabilities}.
    """

    columns: dict[str, tuple[int, str]]
    rows: dict[str, np.ndarray]

    def of(self, path: str, label: str) -> float:
        """Return the probability of a class for a track, NaN if it is not known."""
        row, (column, _) = self.rows.get(os.path.normpath(path)), self.columns.get(class_key(label), (-1, ""))
        return float("nan") if row is None or column < 0 else float(row[column])

    def ranked(self, path: str) -> list[tuple[str, float]]:
        """Return the labels of all classes and their probabilities for a track that has a row, likeliest first."""
        row = self.rows[os.path.normpath(path)]
        return sorted(((label, float(row[k])) for k, label in self.columns.values()), key=lambda pair: -pair[1])


def read_probabilities(path: Path) -> Probabilities:
    """Read a table of probabilities: column `path`, optional second column `label` (ignored), one column per class.

    Raises
    ------
    ListError
        If the file cannot be read; or with every line that repeats a track or lacks one probability per class.
    """
    problems = Problems(path)
    try:
        with open(path, newline="", encoding="utf-8-sig", opener=open_plausible) as file:
            table = csv.reader(file, strict=True)
            try:
                return _read(table, problems)
            except (csv.Error, UnicodeDecodeError) as error:
                problems.add(table.line_num, str(error), _WRITE_AGAIN, code="output.probabilities-invalid")
                problems.finish(n_entries=0, expected="path,probabilities")
                raise
    except OSError as error:
        raise ListError(
            f"{path}: cannot be read: {reason_of(error)}", code="output.probabilities-unreadable"
        ) from error


def _read(table: Any, problems: Problems) -> Probabilities:
    def add(number: int, problem: str) -> None:
        problems.add(number, problem, _WRITE_AGAIN, code="output.probabilities-invalid")

    header: list[str] = next(table, [])
    first = 2 if header[1:2] == ["label"] else 1
    columns: dict[str, tuple[int, str]] = {}
    for k, label in enumerate(header[first:]):
        if columns.setdefault(class_key(label), (k, label))[0] != k:
            add(1, f"two columns for the class {shortened(label)!r}")
    if header[:1] != ["path"] or not columns:
        add(1, "the first line is not `path` followed by the labels of the classes")
        problems.finish(n_entries=0, expected="path,probabilities")
    lines: dict[str, int] = {}
    numbers = array("d")
    for row in filter(None, table):  # without blank lines
        if len(row) != len(header):
            add(table.line_num, f"{len(row)} cells, but the first line has {len(header)}")
            continue
        track = os.path.normpath(row[0])
        try:
            values = [float(cell) for cell in row[first:]]
        except ValueError as error:
            add(table.line_num, str(error))
            continue
        if track in lines:
            add(table.line_num, f"the track {shortened(row[0])!r} is also in line {lines[track]}")
        else:
            lines[track] = table.line_num
            numbers.extend(values)
    matrix = np.frombuffer(numbers).reshape(len(lines), len(header) - first)
    sums = matrix.sum(axis=1)
    is_share = ((matrix >= 0) & (matrix <= 1)).all(axis=1)  # False for NaN
    whole = np.abs(sums - 1) <= _TOLERANCE
    numbers_of_lines = list(lines.values())
    for k in np.flatnonzero(~(is_share & whole)).tolist():
        worst = next((x for x in matrix[k].tolist() if not 0 <= x <= 1), None)
        problem = (
            f"the probabilities sum to {sums[k]:.6g}, not to 1" if worst is None else f"{worst} is not a probability"
        )
        add(numbers_of_lines[k], problem)
    if problems.lines:
        problems.finish(n_entries=0, expected="path,probabilities")
    return Probabilities(columns, dict(zip(lines, matrix, strict=True)))


def matrix_of(path: Path, tracks: Sequence[str], numbers: Mapping[str, int], n_classes: int) -> np.ndarray:
    """Read the probabilities of a fold's tracks by class number, with sum 1; a class without a column gets 0.

    Parameters
    ----------
    path : Path
        The table; rows of other tracks are ignored.
    tracks : sequence of str
        Paths of the fold's tracks.
    numbers : mapping
        Number of each class by its `class_key`.
    n_classes : int
        Number of classes.

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_classes), dtype=float64]

    Raises
    ------
    ListError
        As read_probabilities(); also with every column of an unknown class and every track without a row.
    """
    table = read_probabilities(path)
    problems = Problems(path)
    for key, (_, label) in table.columns.items():
        if key not in numbers:
            problem = f"the column {shortened(label)!r} is not a class of the truth lists"
            advice = "spell the class as the truth lists do, remove the column, or give the truth of all folds"
            problems.add(1, problem, advice, code="output.probabilities-class")
    rows = [table.rows.get(os.path.normpath(track)) for track in tracks]
    for track, row in zip(tracks, rows, strict=True):
        if row is None:
            problem = f"no row for the track {shortened(track)!r}"
            problems.add(None, problem, "write one row for each track", code="output.probabilities-missing")
    if problems.lines:
        problems.finish(n_entries=0, expected="path,probabilities")
    matrix = np.zeros((len(tracks), n_classes))
    matrix[:, [numbers[key] for key in table.columns]] = np.stack([row for row in rows if row is not None])
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


CROSSVAL_OUTPUTS, CROSSVAL_PROBABILITIES = (
    "outputs",
    "probabilities",
)  # folders that crossval writes for our own systems


def beside(output: str | os.PathLike[str] | None) -> Path | None:
    """Return the table of probabilities of an output, `NAME.csv` for `NAME.txt`; None if there is none.

    The table is beside the output, or in the folder where crossval writes it.
    """
    if not output:
        return None
    path = Path(output).with_suffix(".csv")
    places = [path]
    if path.parent.name == CROSSVAL_OUTPUTS:
        places.append(path.parent.with_name(CROSSVAL_PROBABILITIES) / path.name)
    return next((place for place in places if place != Path(output) and place.is_file()), None)
