"""The tables of probabilities that `classify --probabilities` writes, read back."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.errors import ListError
from mirex_submission.evaluation.records import open_plausible
from mirex_submission.protocol.outputs import class_key


@dataclass(frozen=True)
class Probabilities:
    """Probabilities of the classes of each track.

    Parameters
    ----------
    columns : dict of str to (int, str)
        `class_key` of a class to its column and its label.
    rows : dict of str to ndarray of float64, shape (n_classes,)
        Normalised path of a track to its probabilities.
    """

    columns: dict[str, tuple[int, str]]
    rows: dict[str, np.ndarray]

    def of(self, path: str, label: str) -> float:
        """Return the probability of a class for a track, NaN where it is not known."""
        row, (column, _) = self.rows.get(os.path.normpath(path)), self.columns.get(class_key(label), (-1, ""))
        return float("nan") if row is None or column < 0 else float(row[column])

    def ranked(self, path: str) -> list[tuple[str, float]]:
        """Return the labels of all classes and their probabilities for a track that has a row, likeliest first."""
        row = self.rows[os.path.normpath(path)]
        return sorted(((label, float(row[k])) for k, label in self.columns.values()), key=lambda pair: -pair[1])


def read_probabilities(path: Path) -> Probabilities:
    """Read a table of probabilities: path, label, and a column a class.

    Raises
    ------
    ListError
        The file cannot be read, or a line of it is not one probability a class.
    """
    try:
        with open(path, newline="", encoding="utf-8", opener=open_plausible) as file:
            table = csv.reader(file, strict=True)
            rows = {}
            try:
                header = next(table, [])
                if header[:2] != ["path", "label"]:
                    raise ValueError("does not begin with the columns path,label")
                for row in table:
                    values = np.array(row[2:], np.float64)
                    if len(row) != len(header) or not ((values >= 0) & (values <= 1)).all():
                        raise ValueError("not one probability a class")
                    rows[os.path.normpath(row[0])] = values
            except (csv.Error, ValueError) as error:
                text = f"{path}:{table.line_num}: {error}: write it again with `classify --probabilities`"
                raise ListError(text, code="output.probabilities-invalid") from error
    except OSError as error:
        raise ListError(f"{path}: cannot be read: {error}", code="output.probabilities-unreadable") from error
    return Probabilities({class_key(label): (k, label) for k, label in enumerate(header[2:])}, rows)


def beside(output: str | os.PathLike[str] | None) -> Path | None:
    """Return the table beside an output, `NAME.csv` for `NAME.txt`; None where there is none."""
    path = Path(output).with_suffix(".csv") if output else None
    return path if path and path.is_file() else None
