"""Evaluation of the outputs of several systems against the truth of all folds, with all of MIREX's figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mirex_submission.errors import ListError
from mirex_submission.evaluation.folds.split import check_number_of_classes
from mirex_submission.evaluation.judging import metrics, significance
from mirex_submission.evaluation.judging.pairing import FoldTruth, fold_truths, outputs_of
from mirex_submission.evaluation.judging.parts import Answers, Part, judge_parts
from mirex_submission.evaluation.judging.probabilities import beside, matrix_of, read_probabilities
from mirex_submission.evaluation.judging.task import Fold, Task, make_task
from mirex_submission.protocol.findings import Finding, Kind
from mirex_submission.protocol.lists import read_labelled
from mirex_submission.protocol.outputs import (
    NO_PREDICTION,
    check_names,
    class_names,
    read_output,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class System:
    """The predictions of one system for each fold, and its figures with their 95 % intervals.

    Parameters
    ----------
    name : str
        The system's name.
    outputs : list of Path or None
        Output file of each fold, None where there is none.
    predicted : list of np.ndarray [shape=(n_tracks,), dtype=int64]
        Class numbers of each fold, NO_PREDICTION where there is none.
    folds, fold_intervals : list of Score, list of (float, float)
        The figures of each fold, and the interval of its accuracy.
    overall, overall_interval : Score, (float, float)
        The figures of all folds together.
    findings : list of Finding
        Problems on which the organisers' evaluator would fail or miscount.
    parts : list of Part
        Further figures, if there are probabilities, groups or strata.
    probability_problems : list of str
        Reasons why the probabilities of some folds are not used.
    """

    name: str
    outputs: list[Path | None]
    predicted: list[np.ndarray]
    folds: list[metrics.Score]
    fold_intervals: list[tuple[float, float]]
    overall: metrics.Score
    overall_interval: tuple[float, float]
    findings: list[Finding]
    parts: list[Part] = field(default_factory=list)
    probability_problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of all systems.

    Parameters
    ----------
    classes : list of str
        Labels as the truth spells them, in the order of their class numbers.
    folds : list of Fold
        The truth.
    systems : list of System
        In the order of their names.
    truth_findings : list of Finding
        Names in the truth on which the organisers' evaluator would fail.
    by_class, by_fold : Comparison or None
        Friedman's test over the recalls of the classes and over the accuracies of the folds; None for a single system.
    pairs : list of McNemar
        McNemar's test of each pair of systems.
    difference_intervals : list of (float, float)
        For each pair, the interval of the accuracy of the first minus that of the second.
    seed : int
        Seed of the bootstrap.
    groups, strata : Path or None
        The files that were read.
    """

    classes: list[str]
    folds: list[Fold]
    systems: list[System]
    truth_findings: list[Finding]
    by_class: significance.Comparison | None
    by_fold: significance.Comparison | None
    pairs: list[significance.McNemar]
    difference_intervals: list[tuple[float, float]]
    seed: int
    groups: Path | None = None
    strata: Path | None = None

    @cached_property
    def findings(self) -> list[Finding]:
        """Problems for the organisers' evaluator in the truth and in all systems' outputs."""
        return [*self.truth_findings, *(finding for system in self.systems for finding in system.findings)]

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per fold, track and system.

        Returns
        -------
        pandas.DataFrame
            Columns fold, path, truth, system, predicted (None without a prediction) and probability: probability of
            the predicted class, from `NAME.csv` beside the output `NAME.txt`, NaN if it is not known.

        Raises
        ------
        ListError
            A file of probabilities is not in the format of `classify --probabilities`.
        """
        import pandas as pd

        labels: dict[int, str | None] = dict(enumerate(self.classes)) | {NO_PREDICTION: None}
        rows = []
        for k, fold in enumerate(self.folds):
            files = [beside(system.outputs[k]) for system in self.systems]
            tables = [read_probabilities(path.resolve()) if path else None for path in files]
            for n, track in enumerate(fold.tracks):
                for system, table in zip(self.systems, tables, strict=True):
                    predicted = labels[system.predicted[k][n]]
                    probability = table.of(track.path, predicted) if table and predicted is not None else np.nan
                    rows.append(
                        (fold.file.name, track.path, labels[fold.truth[n]], system.name, predicted, probability)
                    )
        columns = ["fold", "path", "truth", "system", "predicted", "probability"]
        # With another dtype, pandas would turn None into NaN.
        return pd.DataFrame(rows, columns=columns, dtype=object).astype({"probability": "float64"})


def evaluate(
    truth: str | os.PathLike[str],
    systems: Mapping[str, str | os.PathLike[str]],
    *,
    seed: int = 0,
    groups: str | os.PathLike[str] | None = None,
    strata: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Compare the outputs of each system with the truth.

    Parameters
    ----------
    truth : path-like
        Folder, pattern or file of the truth, one list per fold (the module `pairing` describes the file names).
    systems : mapping
        {name of a system: folder, pattern or file of its outputs}. Probabilities are read from tables beside them.
    seed : int
        Seed of the bootstrap.
    groups, strata : path-like, optional
        List of the groups of the tracks, and table of their strata.

    Returns
    -------
    Evaluation

    Raises
    ------
    ListError
        If the truth, the groups or the strata are wrong, or an output belongs to no fold. A wrong line of an output
        raises nothing: it becomes one of `System.findings`, and the other lines count. Wrong probabilities become
        `System.probability_problems`.
    """
    files = fold_truths(truth)
    outputs = {name: outputs_of(source, files) for name, source in systems.items()}
    return judge(files, outputs, seed=seed, groups=groups, strata=strata)


def judge(
    files: Sequence[FoldTruth],
    outputs: Mapping[str, list[Path | None]],
    *,
    probabilities: Mapping[str, Sequence[Path | None]] | None = None,
    seed: int = 0,
    groups: str | os.PathLike[str] | None = None,
    strata: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Compare outputs with the truth, given the file of each fold.

    Parameters
    ----------
    files : sequence of FoldTruth
        The truth of each fold.
    outputs : mapping
        {name of a system: its output of each fold, or None}.
    probabilities : mapping, optional
        {name of a system: its table of probabilities of each fold, or None}; by default the tables beside the outputs.
    seed : int
        Seed of the bootstrap.
    groups, strata : path-like, optional
        List of the groups of the tracks, and table of their strata.

    Returns
    -------
    Evaluation

    Raises
    ------
    ListError
        If the truth, the groups or the strata are wrong, or there are too many classes.
    """
    lists = [read_labelled(file.path, min_classes=1, for_evaluator=False) for file in files]
    classes = class_names(track for tracks in lists for track in tracks)
    check_number_of_classes(len(classes))
    task = make_task(files, lists, classes, groups=groups, strata=strata, seed=seed)
    names = sorted(outputs)
    tables = probabilities or {name: [beside(output) for output in outputs[name]] for name in names}
    systems = [_judge_system(name, outputs[name], tables[name], task) for name in names]
    recalls = np.stack([system.overall.recalls for system in systems], axis=1)
    accuracies = np.array([[fold.accuracy for fold in system.folds] for system in systems]).T
    right = np.stack([np.concatenate(task.right(system.predicted)) for system in systems], axis=1)
    tested = np.concatenate(task.tested)
    first_test = np.unique(tested, return_index=True)[1]
    several = len(systems) > 1
    clusters = tested if task.groups is None else task.groups
    return Evaluation(
        classes=list(classes.values()),
        folds=task.folds,
        systems=systems,
        truth_findings=check_names((fold.file.path, track) for fold in task.folds for track in fold.tracks),
        by_class=significance.friedman_tkhsd(recalls, names) if several else None,
        by_fold=significance.friedman_tkhsd(accuracies, names) if several else None,
        # McNemar's test needs independent tracks: a track that several folds test counts in the first of them only.
        pairs=significance.mcnemar(right[first_test], names),
        difference_intervals=[
            metrics.difference_interval(right[:, pair], clusters, seed=seed)
            for pair in combinations(range(len(systems)), 2)
        ],
        seed=seed,
        groups=Path(groups) if groups else None,
        strata=Path(strata) if strata else None,
    )


def _judge_system(name: str, outputs: list[Path | None], tables: Sequence[Path | None], task: Task) -> System:
    predicted, findings = [], []
    for output, fold, test_list in zip(outputs, task.folds, task.test_lists, strict=True):
        if output:
            classes, problems = read_output(output, test_list, task.number_of)
        else:
            classes = np.full(len(fold.tracks), NO_PREDICTION)
            problems = [Finding(name, f"no output for fold {fold.file.name}", Kind.NO_OUTPUT)]
        predicted.append(classes)
        findings += problems
    scores = [
        metrics.fold_score(fold.truth, classes, task.n_classes)
        for fold, classes in zip(task.folds, predicted, strict=True)
    ]
    right = task.right(predicted)
    probabilities, problems_of_tables = _probabilities(tables, task)
    answered = np.concatenate(predicted) != NO_PREDICTION
    return System(
        name=name,
        outputs=outputs,
        predicted=predicted,
        folds=scores,
        fold_intervals=[
            metrics.accuracy_interval(*fold, seed=task.seed) for fold in zip(right, task.tested, strict=True)
        ],
        overall=metrics.overall_score(scores),
        overall_interval=metrics.accuracy_interval(
            np.concatenate(right)[answered], np.concatenate(task.tested)[answered], seed=task.seed
        ),
        findings=findings,
        parts=_parts(predicted, probabilities, task),
        probability_problems=problems_of_tables,
    )


def _probabilities(tables: Sequence[Path | None], task: Task) -> tuple[np.ndarray | None, list[str]]:
    """Read the probabilities of all tests (NaN where they are not known), and return the problems of the tables."""
    problems: list[str] = []
    blocks: list[np.ndarray | None] = []
    for table, fold in zip(tables, task.folds, strict=True):
        blocks.append(None)
        try:
            if table:
                blocks[-1] = matrix_of(table, [track.path for track in fold.tracks], task.number_of, task.n_classes)
        except ListError as error:
            problems += str(error).splitlines()
    if all(block is None for block in blocks):
        return None, problems
    unknown = [np.full((len(fold.tracks), task.n_classes), np.nan) for fold in task.folds]
    filled = [empty if block is None else block for block, empty in zip(blocks, unknown, strict=True)]
    return np.concatenate(filled), problems


def _parts(predicted: Sequence[np.ndarray], probabilities: np.ndarray | None, task: Task) -> list[Part]:
    if probabilities is None and task.groups is None and not task.strata:
        return []
    truth, tested = (np.concatenate(parts) for parts in ([fold.truth for fold in task.folds], task.tested))
    tests = Answers(truth, np.concatenate(predicted), probabilities, tested, task.groups)
    folds = [(fold.file.name, len(fold.tracks)) for fold in task.folds]
    return judge_parts(tests, folds, task.strata, seed=task.seed)
