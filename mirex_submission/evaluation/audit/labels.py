"""Find labels that look wrong by confident learning: tracks whose label contradicts the predictions of systems.

The probabilities are out of fold: those of a track come from systems that were not trained on it. The threshold of a
class is its mean probability over the tracks with this label. The confident class of a track is the likeliest class
whose threshold it reaches. If this is not the label of the track, the label is doubtful. The tracks are sorted by their
margin: the probability of the label minus the highest probability of another class.

References
----------
C. G. Northcutt, L. Jiang and I. L. Chuang, "Confident learning: Estimating uncertainty in dataset labels", Journal of
Artificial Intelligence Research 70, 2021.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mirex_submission.errors import coded, examples
from mirex_submission.evaluation.audit.records import Problem
from mirex_submission.evaluation.audit.task import AuditTask, AuditTrack
from mirex_submission.evaluation.judging.probabilities import beside, read_probabilities
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.outputs import (
    NO_PREDICTION,
    TestList,
    class_key,
    class_names,
    class_numbers,
    read_output,
)

# Doubtful labels are a warning only from these values on; below, mistakes of the systems explain them equally well.
_LEAST_SHARE = 0.05  # share of tracks with doubtful labels
_LEAST_AGREEMENT = 0.75  # share of predictions that agree with the labels
_CONFIDENCE_RATIO = 0.6  # how often systems are confident where they contradict a label, relative to where they agree
_UNKNOWN = -1
_NO_PROBABILITIES = (
    "there is only one system, without probabilities beside its outputs: each of its mistakes counts as a doubtful "
    "label: give a folder with tables of probabilities, such as crossval writes, or several systems"
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConfidentLabels:
    """Confident learning for labels.

    Parameters
    ----------
    labels : np.ndarray [shape=(n_tracks,), dtype=int]
        Class of each track, as labelled.
    probabilities : np.ndarray [shape=(n_tracks, n_classes), dtype=float64]
        Out-of-fold probabilities.
    """

    labels: np.ndarray
    probabilities: np.ndarray

    @cached_property
    def thresholds(self) -> np.ndarray:
        """Mean probability of each class over the tracks that have its label; infinite for a class without tracks."""
        n_classes = self.probabilities.shape[1]
        counts = np.bincount(self.labels, minlength=n_classes)
        own = np.bincount(self.labels, self._of_label, minlength=n_classes)
        return np.where(counts > 0, own / np.maximum(counts, 1), np.inf)

    @cached_property
    def confident(self) -> np.ndarray:
        """Confident class of each track, -1 if it reaches no threshold."""
        reached = self.probabilities >= self.thresholds - 1e-9  # a mean of equal numbers may be rounded up
        likeliest = np.where(reached, self.probabilities, -1.0).argmax(axis=1)
        return np.where(reached.any(axis=1), likeliest, _UNKNOWN)

    @cached_property
    def joint(self) -> np.ndarray:
        """Estimated share of the tracks with each label (row) and each true class (column)."""
        n_classes = self.probabilities.shape[1]
        counts = np.zeros((n_classes, n_classes))
        known = self.confident != _UNKNOWN
        np.add.at(counts, (self.labels[known], self.confident[known]), 1)
        np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))  # for a class without confident tracks
        of_label = np.bincount(self.labels, minlength=n_classes)
        return np.asarray(counts / counts.sum(axis=1, keepdims=True) * of_label[:, None] / max(len(self.labels), 1))

    @cached_property
    def margins(self) -> np.ndarray:
        """Probability of each track's label minus the highest probability of another class, -1 to 1."""
        others = self.probabilities.copy()
        others[np.arange(len(others)), self.labels] = -1.0
        return np.asarray(self._of_label - others.max(axis=1))

    @cached_property
    def doubtful(self) -> np.ndarray:
        """Numbers of the tracks with a doubtful label, smallest margin first."""
        is_doubtful = (self.confident != _UNKNOWN) & (self.confident != self.labels) & (self.margins < 0)
        tracks = np.flatnonzero(is_doubtful)
        return tracks[np.argsort(self.margins[tracks], kind="stable")]

    @cached_property
    def labels_seem_wrong(self) -> bool:
        """True if wrong labels explain the doubtful labels better than mistakes of the systems do.

        A system that makes a mistake mostly has a low confidence. A correct system that contradicts a wrong label is as
        confident as for other tracks.
        """
        agrees = self.margins > 0
        if len(self.doubtful) < _LEAST_SHARE * len(agrees) or agrees.mean() < _LEAST_AGREEMENT:
            return False
        is_sure = self.confident == self.probabilities.argmax(axis=1)
        return bool(is_sure[~agrees].mean() >= _CONFIDENCE_RATIO * is_sure[agrees].mean())

    @property
    def _of_label(self) -> np.ndarray:
        return np.asarray(self.probabilities[np.arange(len(self.labels)), self.labels])


def doubtful_labels(task: AuditTask) -> list[Problem]:
    """Find the labels that look wrong, and for each class the tracks to listen to first.

    Parameters
    ----------
    task : AuditTask
        The task. If any system has probabilities beside its outputs, their mean is used; otherwise the share of the
        systems that predict a class. A track that is tested several times counts once, with the mean.

    Returns
    -------
    list of Problem
        One for each class with doubtful labels; empty if there are no outputs.
    """
    names = class_names(Track(track.path, track.label) for track in task.tracks.values() if track.label)
    numbers = class_numbers(names)
    by_file, have_degrees = _probabilities(task, numbers, len(names))
    tracks = [task.tracks[file] for file in by_file]
    if len(names) < 2 or not tracks:
        return []
    labels = np.array([numbers[class_key(track.label)] for track in tracks])
    learned = ConfidentLabels(labels, np.stack(list(by_file.values())))
    if not have_degrees:
        log.warning("%s", coded(_NO_PROBABILITIES, code="audit.no-probabilities"))
    is_warning = have_degrees and learned.labels_seem_wrong
    spelled = list(names.values())
    return [
        _problem(learned, tracks, spelled, number, is_warning=is_warning)
        for number in np.unique(labels[learned.doubtful]).tolist()
    ]


def _probabilities(task: AuditTask, numbers: Mapping[str, int], n_classes: int) -> tuple[dict[str, np.ndarray], bool]:
    """Return the mean probabilities of each labelled test file, and True if they are more than a single prediction."""
    tables = {name: [beside(output) for output in outputs] for name, outputs in task.systems.items()}
    with_tables = [name for name, of_folds in tables.items() if any(of_folds)]
    answers: dict[str, list[np.ndarray]] = {}
    for name in with_tables or task.systems:
        for fold, table, output in zip(task.folds, tables[name], task.systems[name], strict=True):
            tests = [track for track in fold.test if track.label]
            if table:
                rows = _of_table(table, tests, numbers, n_classes)
            elif output and not with_tables:
                rows = _of_output(output, tests, numbers, n_classes)
            else:
                continue
            for track, row in zip(tests, rows, strict=True):
                if row.any():
                    answers.setdefault(track.file, []).append(row / row.sum())
    return {file: np.mean(rows, axis=0) for file, rows in answers.items()}, bool(with_tables) or len(task.systems) > 1


def _of_table(path: Path, tests: Sequence[AuditTrack], numbers: Mapping[str, int], n_classes: int) -> np.ndarray:
    """Return the probabilities of each track from a table, zeros for a track without a row."""
    table = read_probabilities(path)
    columns = [(numbers[key], column) for key, (column, _) in table.columns.items() if key in numbers]
    matrix = np.zeros((len(tests), n_classes))
    for row, track in zip(matrix, tests, strict=True):
        of_track = table.rows.get(os.path.normpath(track.path))
        if of_track is not None:
            for number, column in columns:
                row[number] = of_track[column]
    return matrix


def _of_output(path: Path, tests: Sequence[AuditTrack], numbers: Mapping[str, int], n_classes: int) -> np.ndarray:
    """Return 1 for the class that an output predicts for each track, zeros for a track without a prediction."""
    predicted, _ = read_output(path, TestList([track.path for track in tests]), numbers)
    matrix = np.zeros((len(tests), n_classes))
    known = np.flatnonzero(predicted != NO_PREDICTION)
    matrix[known, predicted[known]] = 1
    return matrix


def _problem(
    learned: ConfidentLabels, tracks: Sequence[AuditTrack], classes: Sequence[str], number: int, *, is_warning: bool
) -> Problem:
    """Make the problem of the doubtful labels of one class."""
    doubtful = [k for k in learned.doubtful.tolist() if learned.labels[k] == number]
    suggested = [classes[learned.confident[k]] for k in doubtful]
    paths = [tracks[k].path for k in doubtful]
    n_wrong = (learned.joint[number].sum() - learned.joint[number, number]) * len(tracks)
    shown = examples([f"{path} ({label}?)" for path, label in zip(paths, suggested, strict=True)])
    n_labelled = np.count_nonzero(learned.labels == number)
    text = (
        f"label {classes[number]!r}: the systems predict another class for {len(paths)} of {n_labelled} "
        f"tracks, and about {n_wrong:.0f} labels may be wrong: listen to these first: {shown}"
    )
    return Problem(
        code="audit.doubtful-label",
        severity="warning" if is_warning else "note",
        message=text,
        paths=paths,
        labels=[classes[number]] * len(paths),
        suggested=suggested,
        margins=[float(learned.margins[k]) for k in doubtful],
    )
