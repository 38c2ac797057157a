"""The file `results.json`: a complete evaluation, from which a report can be made without any other file.

The classes below define the format, for writing and reading. Names of folds, labels and paths are spelled as in the
lists. Classes are in the order of rows and columns; confusion matrices are lists of rows, predictions by truth.
Numbers that no evaluation can give (NaN, infinity, above 2^53) are refused.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct, field

from mirex_submission.errors import ListError, reason_of
from mirex_submission.evaluation.judging import evaluate, metrics, significance
from mirex_submission.evaluation.records import Count, Name, Number, Share, read_record
from mirex_submission.protocol.findings import Finding
from mirex_submission.protocol.outputs import NO_PREDICTION
from mirex_submission.system.atomic import sha256
from mirex_submission.version import __version__

RESULTS = "results.json"
_IN_LINES = ("tracks", "confusion")  # lists with one line per entry


class File(Struct, frozen=True):
    """A file that was read."""

    path: str
    sha256: str


class Settings(Struct, frozen=True):
    """Settings of the tests and of the bootstrap."""

    alpha: Number
    confidence: Number
    n_resamples: Count
    seed: int


class TrackResult(Struct, frozen=True):
    """A track of a fold's truth; predicted: {name of a system: its label, None without a prediction}."""

    path: str
    label: str
    predicted: dict[str, str | None]


class FoldResult(Struct, frozen=True):
    """A fold's truth and the predictions of all systems for it."""

    name: Name
    truth: File
    n_tracks: Count
    tracks: list[TrackResult]


class Figures(Struct, frozen=True, kw_only=True):
    """Figures of a system over one fold or over all; n_tracks: the denominator of the accuracy."""

    accuracy: Share
    accuracy_interval: tuple[Share, Share]
    normalised_accuracy: Share
    n_tracks: Count
    n_predicted: Count
    n_right: Count
    n_tracks_per_class: list[Count]
    recalls: list[Share]
    confusion: list[list[Count]]


class FoldFigures(Figures, frozen=True):
    """Figures of a system over the fold `name`; output: None if the system wrote none."""

    name: Name
    output: File | None


class Problem(Struct, frozen=True):
    """A problem on which the organisers' evaluator fails or miscounts; where: a file, or file:line."""

    where: str
    text: str = field(name="found")
    kind: str
    evaluator: str
    counted: str


class PartFigure(Struct, frozen=True):
    """One of parts.FIGURES with its 95 % intervals from resampled tracks and, if there are groups, resampled groups."""

    value: Number
    by_track: tuple[Number, Number]
    by_group: tuple[Number, Number] | None


class ReliabilityBin(Struct, frozen=True):
    """Tracks whose largest probability is above low and at most high; accuracy: share that are correct."""

    low: Share
    high: Share
    n_tracks: Count
    confidence: Share
    accuracy: Share


class PartFigures(Struct, frozen=True):
    """Figures of a system over all tracks, a fold or a stratum; n_known: number of tracks with known probabilities."""

    kind: Literal["all", "fold", "stratum"]
    name: str
    n_tracks: Count
    n_known: Count
    figures: dict[str, PartFigure]
    reliability: list[ReliabilityBin]


class SystemResult(Struct, frozen=True):
    """All figures of one system."""

    name: Name
    folds: list[FoldFigures]
    overall: Figures
    problems: list[Problem] = field(name="findings")
    parts: list[PartFigures] = []


class MeanRank(Struct, frozen=True):
    """A system's mean rank and its interval."""

    mean: Number
    interval: tuple[Number, Number]


class Difference(Struct, frozen=True):
    """Mean rank of the first system minus that of the second."""

    first: str
    second: str
    low: Number
    mean: Number
    high: Number
    p: Number
    significant: bool


class Comparison(Struct, frozen=True):
    """Friedman's test with its Tukey-Kramer HSD; warning: set if there are too few rows to detect differences."""

    n_rows: Count
    mean_ranks: dict[str, MeanRank]
    chi_square: Number
    p: Number
    critical_difference: Number
    differences: list[Difference]
    warning: str | None


class Significance(Struct, frozen=True):
    """Friedman's tests over classes and over folds; None for a single system."""

    classes: Comparison | None
    folds: Comparison | None


class Pair(Struct, frozen=True):
    """McNemar's test of two systems; difference: accuracy of the first minus that of the second, over all tests."""

    first: str
    second: str
    n_only_first: Count
    n_only_second: Count
    p: Number
    p_holm: Number
    difference: Number | None = None
    difference_interval: tuple[Number, Number] | None = None


class Results(Struct, frozen=True):
    """The whole file; versions: of this program and of the packages that compute; command: the command line."""

    format: Literal[1]
    versions: dict[str, str]
    command: list[str]
    settings: Settings
    classes: list[str]
    folds: list[FoldResult]
    systems: list[SystemResult]
    truth_problems: list[Problem] = field(name="truth_findings")
    significance: Significance
    mcnemar: list[Pair]
    groups: File | None = None
    strata: File | None = None


def as_json(evaluation: evaluate.Evaluation, command: Sequence[str] = ()) -> bytes:
    """Return the evaluation as UTF-8 text; bytes of a path that are not valid UTF-8 are escaped."""
    text = "".join(_lines(record(evaluation, command)))
    return text.encode("utf-8", errors="backslashreplace")


def _lines(value: Any, depth: int = 0, *, in_lines: bool = False) -> Iterator[str]:
    """Yield indented JSON in pieces, without a copy of all records; in_lines: write one line per entry."""
    if isinstance(value, Struct):
        value = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
    if not value or not isinstance(value, dict | list | tuple):
        yield json.dumps(value, ensure_ascii=False)
        return
    before, after = "{}" if isinstance(value, dict) else "[]"
    line_end = f"\n{' ' * (depth + 1)}"
    yield before
    for k, entry in enumerate(value):
        yield f",{line_end}" if k else line_end
        if in_lines:
            yield json.dumps(msgspec.to_builtins(entry), ensure_ascii=False)
        elif isinstance(value, dict):
            yield f"{json.dumps(entry, ensure_ascii=False)}: "
            yield from _lines(value[entry], depth + 1, in_lines=entry in _IN_LINES)
        else:
            yield from _lines(entry, depth + 1)
    yield f"\n{' ' * depth}{after}"


def record(evaluation: evaluate.Evaluation, command: Sequence[str] = ()) -> Results:
    """Return the evaluation as the record of `results.json`; command: the command line, if any."""
    return Results(
        format=1,
        versions={
            "mirex-submission": __version__,
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in ("numpy", "scipy")},
        },
        command=list(command),
        settings=Settings(significance.ALPHA, metrics.CONFIDENCE, metrics.N_RESAMPLES, evaluation.seed),
        classes=evaluation.classes,
        folds=[_fold(evaluation, k) for k in range(len(evaluation.folds))],
        systems=[_system(evaluation, system) for system in evaluation.systems],
        truth_problems=_problems(evaluation.truth_findings),
        significance=Significance(_comparison(evaluation.by_class), _comparison(evaluation.by_fold)),
        mcnemar=_pairs(evaluation),
        groups=_file(evaluation.groups) if evaluation.groups else None,
        strata=_file(evaluation.strata) if evaluation.strata else None,
    )


def _pairs(evaluation: evaluate.Evaluation) -> list[Pair]:
    n_tests = max(sum(len(fold.tracks) for fold in evaluation.folds), 1)
    n_right = {
        system.name: sum(int(np.trace(fold.confusion)) for fold in system.folds) for system in evaluation.systems
    }
    return [
        Pair(
            **dataclasses.asdict(pair),
            difference=(n_right[pair.first] - n_right[pair.second]) / n_tests,
            difference_interval=interval,
        )
        for pair, interval in zip(evaluation.pairs, evaluation.difference_intervals, strict=True)
    ]


def _fold(evaluation: evaluate.Evaluation, k: int) -> FoldResult:
    fold, classes = evaluation.folds[k], evaluation.classes
    labels: dict[int, str | None] = dict(enumerate(classes)) | {NO_PREDICTION: None}
    tracks = [
        TrackResult(
            track.path,
            classes[fold.truth[n]],
            {system.name: labels[system.predicted[k][n]] for system in evaluation.systems},
        )
        for n, track in enumerate(fold.tracks)
    ]
    return FoldResult(fold.file.name, _file(fold.file.path), len(tracks), tracks)


def _system(evaluation: evaluate.Evaluation, system: evaluate.System) -> SystemResult:
    folds = [
        FoldFigures(
            fold.file.name, _file(output) if output else None, **msgspec.structs.asdict(_figures(score, interval))
        )
        for fold, output, score, interval in zip(
            evaluation.folds, system.outputs, system.folds, system.fold_intervals, strict=True
        )
    ]
    return SystemResult(
        system.name,
        folds,
        _figures(system.overall, system.overall_interval),
        _problems(system.findings),
        [msgspec.convert(dataclasses.asdict(part), PartFigures) for part in system.parts],
    )


def _file(path: Path) -> File:
    return File(os.path.abspath(path), sha256(path))


def _figures(score: metrics.Score, interval: tuple[float, float]) -> Figures:
    return Figures(
        accuracy=score.accuracy,
        accuracy_interval=interval,
        normalised_accuracy=score.normalised_accuracy,
        n_tracks=int(score.n_tracks.sum()),
        n_predicted=int(score.confusion.sum()),
        n_right=int(np.trace(score.confusion)),
        n_tracks_per_class=score.n_tracks.tolist(),
        recalls=score.recalls.tolist(),
        confusion=score.confusion.tolist(),
    )


def _comparison(test: significance.Comparison | None) -> Comparison | None:
    if test is None:
        return None
    half = test.critical_difference / 2
    return Comparison(
        n_rows=test.n_rows,
        mean_ranks={name: MeanRank(mean, (mean - half, mean + half)) for name, mean in test.mean_ranks.items()},
        chi_square=test.chi_square,
        p=test.p,
        critical_difference=test.critical_difference,
        differences=[
            Difference(pair.first, pair.second, pair.low, pair.mean, pair.high, pair.p, pair.significant)
            for pair in test.differences
        ],
        warning=test.warning,
    )


def _problems(findings: Iterable[Finding]) -> list[Problem]:
    return [
        Problem(finding.where, finding.problem, finding.kind.name.lower(), finding.kind.evaluator, finding.kind.counted)
        for finding in findings
    ]


def read(path: Path) -> Results:
    """Read a file that `as_json` wrote.

    Raises
    ------
    ListError
        The file cannot be read, or is not in the format of `evaluate`.
    """
    try:
        results = read_record(path, Results)
        _check(results)
    except OSError as error:
        text = f"{path}: cannot be read: {reason_of(error)}: give the folder that `evaluate --out` wrote"
        raise ListError(text, code="report.results-missing") from error
    except ValueError as error:
        text = f"{path}: {error}: this file is not from this version's `evaluate`: run `evaluate` again"
        raise ListError(text, code="report.results-invalid") from error
    return results


def _check(results: Results) -> None:
    """Raise ValueError if the parts of the results contradict each other."""
    systems, folds = [system.name for system in results.systems], [fold.name for fold in results.folds]
    if not all(names and len(set(names)) == len(names) for names in (results.classes, systems, folds)):
        raise ValueError("classes, folds, systems: a name is missing or occurs twice")
    if any(track.predicted.keys() != set(systems) for fold in results.folds for track in fold.tracks):
        raise ValueError("folds: a track without one entry for each system")
    for system in results.systems:
        if len(system.folds) != len(folds):
            raise ValueError(f"{system.name}: not one entry for each fold")
        for part in (*system.folds, system.overall):
            per_class: list[Sequence[object]] = [part.n_tracks_per_class, part.recalls, part.confusion, *part.confusion]
            if {len(figures) for figures in per_class} != {len(results.classes)}:
                raise ValueError(f"{system.name}: not one figure for each class")
            if part.n_tracks and abs(part.accuracy - part.n_right / part.n_tracks) > 1e-9:
                raise ValueError(f"{system.name}: an accuracy that does not match its counts")
    pairs = sorted(combinations(sorted(systems), 2))
    tests: list[Sequence[Difference | Pair]] = [results.mcnemar]
    for comparison in (results.significance.classes, results.significance.folds):
        if (comparison is not None) != bool(pairs) or (comparison and comparison.mean_ranks.keys() != set(systems)):
            raise ValueError("significance: not one mean rank for each of several systems")
        tests += [comparison.differences] if comparison else []
    for test in tests:
        if sorted((min(pair.first, pair.second), max(pair.first, pair.second)) for pair in test) != pairs:
            raise ValueError("significance, mcnemar: not one test for each pair of systems")
