"""The training histories that `runs.json` names: loss and accuracy of every epoch."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from mirex_submission.errors import ListError, reason_of
from mirex_submission.evaluation.records import open_plausible

_LARGEST = 3.5e38  # above any finite float32
CURVES = ("loss", "accuracy", "validation_loss", "validation_accuracy")
Curves = dict[str, np.ndarray]  # column (`epoch`, and the CURVES that the file has) to float64 [shape=(n_epochs,)]


def read_history(path: Path) -> dict[str, Curves]:
    """Read the `history.csv` of a training and return the curves of each network; a missing value becomes NaN.

    Raises
    ------
    ListError
        The file is unreadable or is not a training history.
    """
    try:
        with open(path, newline="", encoding="utf-8", opener=open_plausible) as file:
            table = csv.DictReader(file, strict=True)
            epochs: dict[str, list[list[float]]] = defaultdict(list)
            try:
                header = table.fieldnames or ()
                if missing := sorted({"model", "epoch", "loss", "accuracy"} - set(header)):
                    raise ValueError(f"no column {', '.join(missing)}")
                columns = ["epoch", *(name for name in CURVES if name in header)]
                for line in table:
                    values = [float(line[name] or "nan") for name in columns]
                    if any(_LARGEST < abs(value) < math.inf for value in values):
                        raise ValueError("a number too large for a loss or an accuracy")
                    epochs[line["model"]].append(values)
            except (csv.Error, ValueError) as error:
                text = f"{path}:{table.reader.line_num}: {error}: the page does not show this training"
                raise ListError(text, code="report.history-invalid") from error
    except OSError as error:
        text = f"{path}: cannot be read: {reason_of(error)}: the page does not show this training"
        raise ListError(text, code="report.history-unreadable") from error
    return {network: dict(zip(columns, np.array(rows).T, strict=True)) for network, rows in epochs.items()}
