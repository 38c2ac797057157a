"""Accuracy and confusion as the organisers' evaluator counts them.

Tracks are matched by `nema.track_id`, labels by `nema.clean_label`. Confusion matrices are integer arrays [n_classes,
n_classes] whose rows are predictions and whose columns are the truth: the transpose of scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.nema import clean_label, track_id


def confusion(truth: Sequence[Track], predictions: Sequence[Track], classes: Sequence[str]) -> np.ndarray:
    """The confusion matrix of one fold over `classes`; a track without a prediction is in no cell."""
    index = {clean_label(label): k for k, label in enumerate(classes)}
    predicted = {track_id(track.path): index[clean_label(track.label)] for track in predictions}
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for track in truth:
        row = predicted.get(track_id(track.path))
        if row is not None:
            matrix[row, index[clean_label(track.label)]] += 1
    return matrix


def accuracy(matrix: np.ndarray, n_tracks: int) -> float:
    """Right predictions over the tracks of the fold's test list, those without a prediction counted as wrong."""
    return float(np.trace(matrix)) / n_tracks
