"""Truth and the outputs of several systems, fold by fold, to all of MIREX's figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mirex_submission.evaluation.judging import metrics, significance
from mirex_submission.evaluation.judging.pairing import FoldTruth, fold_truths, outputs_of
from mirex_submission.evaluation.judging.probabilities import beside, read_probabilities
from mirex_submission.protocol.lists import Track, read_labelled
from mirex_submission.protocol.outputs import Finding, Kind, TestList, check_names, class_key, class_names, read_output

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Fold:
    """A fold's truth: its file, its tracks, and their classes, int64 [shape=(n_tracks,)]."""

    file: FoldTruth
    tracks: list[Track]
    truth: np.ndarray


@dataclass(frozen=True)
class System:
    """What one system answered, fold by fold, and its figures with their 95 % intervals.

    outputs : the file of each fold, None where there is none.
    predicted : of each fold the classes, int64 [shape=(n_tracks,)], metrics.NO_PREDICTION where there is none.
    """

    name: str
    outputs: list[Path | None]
    predicted: list[np.ndarray]
    folds: list[metrics.Score]
    fold_intervals: list[tuple[float, float]]
    overall: metrics.Score
    overall_interval: tuple[float, float]
    findings: list[Finding]


@dataclass(frozen=True)
class Evaluation:
    """Everything that is known of all systems, which are in the order of their names.

    by_class, by_fold : Friedman's test over the overall recalls and over the folds' accuracies; None for one system.
    """

    classes: list[str]
    folds: list[Fold]
    systems: list[System]
    truth_findings: list[Finding]
    by_class: significance.Comparison | None
    by_fold: significance.Comparison | None
    pairs: list[significance.McNemar]
    seed: int

    @cached_property
    def findings(self) -> list[Finding]:
        return [*self.truth_findings, *(finding for system in self.systems for finding in system.findings)]

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each fold, track and system.

        Returns
        -------
        pandas.DataFrame
            Columns fold, path, truth, system, predicted (None where there is no prediction) and probability: that of
            the predicted class, from `NAME.csv` beside the output `NAME.txt`, NaN where it is not known.

        Raises
        ------
        ListError
            A file of probabilities is not as `classify --probabilities` writes it.
        """
        import pandas as pd

        labels: dict[int, str | None] = dict(enumerate(self.classes)) | {metrics.NO_PREDICTION: None}
        rows = []
        for k, fold in enumerate(self.folds):
            tables = [read_probabilities(path) if (path := beside(s.outputs[k])) else None for s in self.systems]
            for n, track in enumerate(fold.tracks):
                for system, table in zip(self.systems, tables, strict=True):
                    predicted = labels[system.predicted[k][n]]
                    probability = table.of(track.path, predicted) if table and predicted is not None else np.nan
                    rows.append(
                        (fold.file.name, track.path, labels[fold.truth[n]], system.name, predicted, probability)
                    )
        columns = ["fold", "path", "truth", "system", "predicted", "probability"]
        # As objects, for pandas would turn None into NaN among texts.
        return pd.DataFrame(rows, columns=columns, dtype=object).astype({"probability": "float64"})


def evaluate(
    truth: str | os.PathLike[str], systems: Mapping[str, str | os.PathLike[str]], *, seed: int = 0
) -> Evaluation:
    """Compare the outputs in each system's folder with the truth.

    truth, systems : folders with one list a fold, matched by file name (see pairing); {system's name: its folder}.
    seed : of the bootstrap.

    Raises ListError for a truth that is wrong, and for names or files that leave a doubt. What is wrong with an
    output is a finding, and the rest counts.
    """
    files = fold_truths(truth)
    return judge(files, {name: outputs_of(folder, files) for name, folder in systems.items()}, seed=seed)


def judge(files: Sequence[FoldTruth], outputs: Mapping[str, list[Path | None]], *, seed: int = 0) -> Evaluation:
    """The same, where it is known which file is whose: {system's name: its output of each fold, None without one}."""
    outputs = dict(sorted(outputs.items()))
    lists = [read_labelled(file.path, min_classes=1, for_evaluator=False) for file in files]
    names = class_names(track for tracks in lists for track in tracks)
    number_of = {key: number for number, key in enumerate(names)}
    folds = [
        Fold(file, tracks, np.array([number_of[class_key(track.label)] for track in tracks]))
        for file, tracks in zip(files, lists, strict=True)
    ]
    tested = _tested(folds)
    judged = [_system(name, outputs[name], folds, number_of, tested, seed) for name in outputs]
    several = len(judged) > 1
    recalls = np.stack([system.overall.recalls for system in judged], axis=1)
    accuracies = np.array([[fold.accuracy for fold in system.folds] for system in judged]).T
    right = np.stack([np.concatenate(_right(folds, system.predicted)) for system in judged], axis=1)
    first_test = np.unique(np.concatenate(tested), return_index=True)[1]
    return Evaluation(
        classes=list(names.values()),
        folds=folds,
        systems=judged,
        truth_findings=check_names((fold.file.path, track) for fold in folds for track in fold.tracks),
        by_class=significance.friedman_tkhsd(recalls, list(outputs)) if several else None,
        by_fold=significance.friedman_tkhsd(accuracies, list(outputs)) if several else None,
        # A track that several folds test counts in the first of them: the test takes independent tracks.
        pairs=significance.mcnemar(right[first_test], list(outputs)),
        seed=seed,
    )


def _tested(folds: Sequence[Fold]) -> list[np.ndarray]:
    """Which track of the task each line of a fold's truth is: of each fold int64 [shape=(n_tracks,)]."""
    numbers: dict[str, int] = {}
    return [
        np.array([numbers.setdefault(os.path.normpath(track.path), len(numbers)) for track in fold.tracks])
        for fold in folds
    ]


def _system(
    name: str,
    outputs: list[Path | None],
    folds: Sequence[Fold],
    number_of: Mapping[str, int],
    tested: Sequence[np.ndarray],
    seed: int,
) -> System:
    predicted, findings = [], []
    for output, fold in zip(outputs, folds, strict=True):
        if output:
            test_list = TestList([track.path for track in fold.tracks])
            classes, found = read_output(output, test_list, number_of)
        else:
            classes = np.full(len(fold.tracks), metrics.NO_PREDICTION)
            found = [Finding(name, f"no output for fold {fold.file.name}", Kind.NO_OUTPUT)]
        predicted.append(classes)
        findings += found
    scores = [
        metrics.fold_score(fold.truth, classes, len(number_of)) for fold, classes in zip(folds, predicted, strict=True)
    ]
    right = _right(folds, predicted)
    answered = np.concatenate(predicted) != metrics.NO_PREDICTION
    return System(
        name=name,
        outputs=outputs,
        predicted=predicted,
        folds=scores,
        fold_intervals=[metrics.bootstrap_interval(*fold, seed=seed) for fold in zip(right, tested, strict=True)],
        overall=metrics.overall_score(scores),
        overall_interval=metrics.bootstrap_interval(
            np.concatenate(right)[answered], np.concatenate(tested)[answered], seed=seed
        ),
        findings=findings,
    )


def _right(folds: Sequence[Fold], predicted: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Whether each line of a fold's truth was answered rightly: of each fold bool [shape=(n_tracks,)]."""
    return [fold.truth == classes for fold, classes in zip(folds, predicted, strict=True)]
