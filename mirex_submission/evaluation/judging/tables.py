"""The files that MIREX publishes of an evaluation, with NEMA's names, columns and four decimals.

`summaryResults.csv`, `PerFoldResults.csv`, `PerClassResults.csv`; for several systems
`PerFoldResults.friedmanTKHSD.csv`, `PerClassResults.friedmanTKHSD.csv`; for each system
`NAME/report.txt`. Also `results.json`: see the module `results`.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mirex_submission.evaluation.judging import results
from mirex_submission.evaluation.judging.evaluate import Evaluation, System
from mirex_submission.evaluation.judging.metrics import Score, most_confused
from mirex_submission.system.atomic import remove, write_file
from mirex_submission.system.progress import printable

_COLUMN = 7  # width of a matrix column of report.txt in characters, as in NEMA's
_MOST_CLASSES = 100  # above, report.txt has no matrices: those of 500 classes would take 4 MB per fold
_N_CONFUSIONS = 100  # most frequent confusions that report.txt lists instead


def write_results(evaluation: Evaluation, folder: str | os.PathLike[str], command: Sequence[str] = ()) -> None:
    """Write all files into `folder`; raises StorageError if they cannot be written.

    command : the command line, which is stored in `results.json`.
    """
    folder = Path(folder)
    systems = evaluation.systems
    names = [system.name for system in systems]
    summary = [
        [system.name, f"{system.overall.accuracy:.4f}", f"{system.overall.normalised_accuracy:.4f}"]
        for system in systems
    ]
    write_csv(
        folder / "summaryResults.csv",
        ["Algorithm", "Classification Accuracy", "Normalised Classification Accuracy"],
        summary,
    )
    per_fold = [
        [fold.file.name, *(f"{system.folds[k].accuracy:.4f}" for system in systems)]
        for k, fold in enumerate(evaluation.folds)
    ]
    write_csv(folder / "PerFoldResults.csv", ["Fold", *names], per_fold)
    per_class = [
        [label, *(f"{system.overall.recalls[k]:.4f}" for system in systems)]
        for k, label in enumerate(evaluation.classes)
    ]
    write_csv(folder / "PerClassResults.csv", ["Class", *names], per_class)
    for table, comparison in (("PerClassResults", evaluation.by_class), ("PerFoldResults", evaluation.by_fold)):
        if comparison:
            rows = [
                [d.first, d.second, f"{d.low:.4f}", f"{d.mean:.4f}", f"{d.high:.4f}", str(d.significant).upper()]
                for d in comparison.differences
            ]
            header = ["*TeamID", "TeamID", "Lowerbound", "Mean", "Upperbound", "Significance"]
            write_csv(folder / f"{table}.friedmanTKHSD.csv", header, rows)
        else:  # a file of an earlier evaluation would be mistaken for a result of this one
            remove(folder / f"{table}.friedmanTKHSD.csv")
    for system in systems:
        write_file(folder / system.name / "report.txt", _report(evaluation, system).encode("utf-8"))
    write_file(folder / "results.json", results.as_json(evaluation, command))


def summary(evaluation: Evaluation) -> str:
    """Return the overall figures of all systems, best first, as lines to print."""
    width = max(len("system"), *(len(system.name) for system in evaluation.systems))
    lines = [f"{'system':{width}}  accuracy  95 % interval     normalised  correct of predicted of tracks"]
    for system in sorted(evaluation.systems, key=lambda system: -system.overall.accuracy):
        overall, (low, high) = system.overall, system.overall_interval
        n_right, n_predicted = np.trace(overall.confusion), overall.confusion.sum()
        n_tracks = sum(len(fold.tracks) for fold in evaluation.folds)
        lines.append(
            f"{system.name:{width}}  {overall.accuracy:8.2%}  {low:6.2%} - {high:7.2%}  "
            f"{overall.normalised_accuracy:10.2%}  {n_right} of {n_predicted} of {n_tracks}"
        )
    return "\n".join(lines)


def _report(evaluation: Evaluation, system: System) -> str:
    """Return the figures of one system with all its matrices, in the order of NEMA's report.txt."""
    keys = [f"{_letters(k):>4}".ljust(_COLUMN) for k in range(len(evaluation.classes))]
    double, single = "=" * 80, "-" * 80
    lines = [double, "Classification Evaluation Report", f"System:               {system.name}"]
    lines += [f"Number of iterations: {len(system.folds)}", ""]
    for fold, output, score, interval in zip(
        evaluation.folds, system.outputs, system.folds, system.fold_intervals, strict=True
    ):
        lines += [
            single,
            printable(f"Fold {fold.file.name} ({output or 'no output'})"),
            *_figures(score, interval, keys),
        ]
    lines += [double, "Overall Evaluation", *_figures(system.overall, system.overall_interval, keys)]
    lines += [
        "Matrix Key:",
        *(f"{key}: {printable(label)}" for key, label in zip(keys, evaluation.classes, strict=True)),
    ]
    lines += [double, f"What the evaluator fails on or miscounts: {len(system.findings)}"]
    lines += [printable(f"{finding.text}; counted here: {finding.kind.counted}") for finding in system.findings]
    return "\n".join(lines) + "\n"


def _figures(score: Score, interval: tuple[float, float], keys: Sequence[str]) -> list[str]:
    figures = [
        f"Accuracy: {score.accuracy:.2%} (95 % interval {interval[0]:.2%} to {interval[1]:.2%})",
        f"Accuracy (normalised for class sizes): {score.normalised_accuracy:.2%}",
        f"Predictions: {score.confusion.sum()} for {score.n_tracks.sum()} tracks",
    ]
    if len(keys) > _MOST_CLASSES:
        pairs = most_confused(score.confusion, _N_CONFUSIONS)
        lines = [
            f"{n:{_COLUMN}}  {keys[truth].strip()} taken for {keys[predicted].strip()}" for n, predicted, truth in pairs
        ]
        return [*figures, f"Most frequent confusions (results.json has the matrix of {len(keys)} classes):", *lines, ""]
    counts = [[f"{n:{_COLUMN}}" for n in row] for row in score.confusion]
    shares = [[f"{x:{_COLUMN}.2%}" for x in row] for row in score.confusion / np.maximum(score.n_tracks, 1)]
    return [
        *figures,
        *("Raw Confusion Matrix:", *_matrix(keys, counts), ""),
        *("Confusion Matrix percentage:", *_matrix(keys, shares), ""),
    ]


def _matrix(keys: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    rows = [f"{key}\t\t" + "\t".join(row) for key, row in zip(keys, cells, strict=True)]
    return ["Truth\t\t" + "\t".join(keys), "Classification", *rows]


def _letters(k: int) -> str:
    """Return A to Z for 0 to 25, then AA, AB and so on."""
    return (_letters(k // 26 - 1) if k >= 26 else "") + chr(ord("A") + k % 26)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table; raises StorageError if it cannot be written."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_file(path, text.getvalue().encode("utf-8"))
