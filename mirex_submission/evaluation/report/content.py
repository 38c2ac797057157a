"""The content of the report: collects results, run record and the files that they name for the template."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np
from markupsafe import Markup
from msgspec.structs import replace

from mirex_submission.errors import ListError, coded
from mirex_submission.evaluation.crossval.record import RUNS, FoldRecord, RunRecord, StepRecord
from mirex_submission.evaluation.judging.metrics import most_confused
from mirex_submission.evaluation.judging.probabilities import Probabilities, beside, read_probabilities
from mirex_submission.evaluation.judging.results import (
    Comparison,
    Difference,
    Pair,
    Problem,
    Results,
    SystemResult,
)
from mirex_submission.evaluation.records import open_plausible
from mirex_submission.evaluation.report import figures
from mirex_submission.evaluation.report.curves import Curves, read_history
from mirex_submission.evaluation.report.further import Further, further
from mirex_submission.evaluation.report.mistakes import Mistake, Picture, most_confident, picture
from mirex_submission.features.spec import DEFAULT_BANDS
from mirex_submission.version import __version__

_N_CONFUSIONS = 3  # listed below each matrix
_Test = TypeVar("_Test", Difference, Pair)
_Histories = dict[str, dict[str, list[Curves]]]  # system: {network: curves of each training}


@dataclass(frozen=True)
class PairTests:
    """All significance tests of two systems, the one with the higher accuracy first."""

    mcnemar: Pair
    classes: Difference | None
    folds: Difference | None


@dataclass(frozen=True)
class Ranks:
    """Friedman's test over `classes` or `folds`, and its figure."""

    over: str
    test: Comparison
    figure: Markup


@dataclass(frozen=True)
class Matrix:
    """A system's confusion matrix.

    Parameters
    ----------
    name : str
        The system.
    figure : Markup
        The matrix as SVG; of many classes, a bar chart of the most frequent confusions.
    picture : str
        The whole matrix of many classes as a data URL, otherwise "".
    confusions : list of (int, str, str)
        Number of tracks, truth and prediction of the most frequent confusions.
    """

    name: str
    figure: Markup
    picture: str
    confusions: list[tuple[int, str, str]]


@dataclass(frozen=True)
class ProblemGroup:
    """Problems of one kind in the truth or in a system's outputs: the first one, and their number."""

    owner: str
    first: Problem
    n: int


@dataclass
class StepGroup:
    """All steps of one name of a system; others: the systems that share these steps."""

    system: str
    name: str
    steps: list[StepRecord] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def times(self) -> list[float]:
        """Seconds of the steps whose time is known."""
        return [step.seconds for step in self.steps if step.seconds is not None]

    @property
    def peak_mb(self) -> float | None:
        """Highest peak memory of a step in MB, None if it is not known."""
        return max((step.peak_mb for step in self.steps if step.peak_mb is not None), default=None)

    @property
    def n_failed(self) -> int:
        """Number of steps that failed."""
        return sum(step.status != 0 or step.problem is not None for step in self.steps)


@dataclass(frozen=True)
class Report:
    """Everything that the template shows.

    systems : best first. sizes : number of tracks of each class. notes : what the page lacks, and why.
    mistakes, curves : by system, for the systems where they are known. pictures : by path of the track.
    """

    results: Results
    run: RunRecord
    systems: list[SystemResult]
    sizes: list[int]
    pairs: list[PairTests]
    problems: list[ProblemGroup]
    steps: list[StepGroup]
    mistakes: dict[str, list[Mistake]]
    pictures: dict[str, Picture]
    accuracies: Markup
    recalls: Markup
    ranks: list[Ranks]
    matrices: list[Matrix]
    curves: dict[str, Markup]
    run_times: Markup | None
    versions: dict[str, str]
    notes: list[str]
    further: Further | None
    n_bands: int = DEFAULT_BANDS
    most_classes: int = figures.MOST_CLASSES
    most_pairs: int = figures.MOST_PAIRS

    @property
    def n_tests(self) -> int:
        """Number of test tracks of all folds."""
        return sum(self.sizes)

    @property
    def largest_class(self) -> tuple[str, float]:
        """Label of the largest class, and its share of the tracks."""
        return self.results.classes[int(np.argmax(self.sizes))], max(self.sizes) / max(self.n_tests, 1)


def assemble(folder: Path, results: Results, run: RunRecord | None) -> Report:
    """Assemble the report; run: None if there is no record of the run. Its paths are relative to folder."""
    notes = []
    if run is None:
        text = f"no {RUNS} beside the results: times, memory and training histories are not known"
        notes.append(coded(text, code="report.no-runs"))
        run = RunRecord(systems={})
    systems = sorted(results.systems, key=lambda system: (-system.overall.accuracy, system.name))
    names = [system.name for system in systems]
    steps = _steps(run)
    histories = _histories(folder, run, notes)
    mistakes = {system.name: _mistakes(folder, results, system, run, notes) for system in systems}
    known = {name: wrong for name, wrong in mistakes.items() if wrong is not None}
    return Report(
        results=results,
        run=run,
        systems=systems,
        sizes=np.sum([fold.n_tracks_per_class for fold in systems[0].folds], axis=0).tolist(),
        pairs=_pairs(results, names),
        problems=_problems(results),
        steps=steps,
        mistakes=known,
        pictures={mistake.path: picture(mistake.path) for wrong in known.values() for mistake in wrong},
        accuracies=figures.accuracies(
            [
                (s.name, s.overall.accuracy, s.overall.accuracy_interval, [fold.accuracy for fold in s.folds])
                for s in systems
            ]
        ),
        recalls=_recalls(results.classes, systems),
        ranks=_ranks(results),
        matrices=[_matrix(results.classes, system) for system in systems],
        curves={
            name: figures.learning_curves(histories[name], name) for name in _trained_once(names, steps, histories)
        },
        run_times=_run_times(names, steps),
        versions={
            "mirex-submission": __version__,
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in ("matplotlib", "jinja2")},
        },
        notes=notes,
        further=further(results, systems),
    )


def _pairs(results: Results, names: Sequence[str]) -> list[PairTests]:
    classes, folds = (
        _both_ways(
            test.differences if test else [],
            lambda d: replace(d, first=d.second, second=d.first, low=-d.high, mean=-d.mean, high=-d.low),
        )
        for test in (results.significance.classes, results.significance.folds)
    )
    mcnemar = _both_ways(
        results.mcnemar,
        lambda p: replace(
            p, first=p.second, second=p.first, n_only_first=p.n_only_second, n_only_second=p.n_only_first
        ),
    )
    return [PairTests(mcnemar[pair], classes.get(pair), folds.get(pair)) for pair in combinations(names, 2)]


def _both_ways(tests: Iterable[_Test], turn: Callable[[_Test], _Test]) -> dict[tuple[str, str], _Test]:
    """Return {(first, second): the test of the first system against the second} for both orders of each pair."""
    return {(test.first, test.second): test for test in [test for pair in tests for test in (pair, turn(pair))]}


def _problems(results: Results) -> list[ProblemGroup]:
    """Group the problems for the organisers' evaluator by owner (truth or system) and kind."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    owned = [("the truth", results.truth_problems), *((system.name, system.problems) for system in results.systems)]
    for owner, problems in owned:
        for problem in problems:
            groups.setdefault((owner, problem.kind), []).append(problem)
    return [ProblemGroup(owner, problems[0], len(problems)) for (owner, _), problems in groups.items()]


def _steps(run: RunRecord) -> list[StepGroup]:
    groups: dict[tuple[str, str], StepGroup] = {}
    served: dict[str, list[str]] = {}
    for system, _, step in run.steps():
        groups.setdefault((system, step.name), StepGroup(system, step.name)).steps.append(step)
        if step.log:
            served.setdefault(step.log, []).append(system)
    for group in groups.values():
        systems = dict.fromkeys(system for step in group.steps if step.log for system in served[step.log])
        group.others += [system for system in systems if system != group.system]
    return list(groups.values())


def _run_times(names: Sequence[str], steps: Sequence[StepGroup]) -> Markup | None:
    seconds: dict[str, dict[str, float]] = {}
    for group in steps:
        if group.system in names and group.times:
            seconds.setdefault(group.system, {})[group.name] = sum(group.times)
    return figures.run_times(seconds) if seconds else None


def _file_of_run(folder: Path, fold: FoldRecord, name: str, notes: list[str]) -> Path | None:
    """Return the file that a run wrote, unless a later run has changed it."""
    relative = fold.history if name == "history" else fold.probabilities
    if not relative:
        return None
    path, expected = folder / relative, fold.sha256.get(name)
    if not _is_inside(path, folder):
        notes.append(coded(f"{path}: left out: it is not in the folder of the results", code="report.file-outside"))
        return None
    if expected is None or _sha256(path) in (expected, None):
        return path
    notes.append(coded(f"{path}: left out: a later run has changed it", code="report.file-changed"))
    return None


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
    except ValueError:  # a NUL character cannot be part of a path
        return False


def _sha256(path: str | Path) -> str | None:
    """Return the SHA-256 of a file, or None if it cannot be read."""
    try:
        with open(path, "rb", opener=open_plausible) as f:
            return hashlib.sha256(f.read()).hexdigest()
    except (OSError, ValueError):
        return None


def _histories(folder: Path, run: RunRecord, notes: list[str]) -> _Histories:
    histories: _Histories = {}
    for name, system in run.systems.items():
        for fold in system.folds.values():
            try:
                path = _file_of_run(folder, fold, "history", notes)
                for network, curves in (read_history(path) if path else {}).items():
                    histories.setdefault(name, {}).setdefault(network, []).append(curves)
            except ListError as error:
                notes.append(str(error))
    return histories


def _trained_once(names: Sequence[str], steps: Sequence[StepGroup], histories: _Histories) -> list[str]:
    """Return the systems that have a training history; of systems that share a training, only the first."""
    others = {group.system: group.others for group in steps if group.name == "train"}
    shown: list[str] = []
    for name in names:
        if name in histories and not set(others.get(name, ())) & set(shown):
            shown.append(name)
    return shown


def _mistakes(
    folder: Path, results: Results, system: SystemResult, run: RunRecord, notes: list[str]
) -> list[Mistake] | None:
    """Return a system's most confident mistakes, or None if its probabilities are not known."""
    try:
        tables = _probabilities(folder, system, run, notes)
    except ListError as error:
        notes.append(f"{system.name}: its probabilities are not used: {error}")
        return None
    if not tables:
        text = f"{system.name} has no file of probabilities: the page has no table of its most confident mistakes"
        notes.append(coded(text, code="report.no-probabilities"))
        return None
    return most_confident(system.name, results.folds, tables)


def _probabilities(folder: Path, system: SystemResult, run: RunRecord, notes: list[str]) -> dict[str, Probabilities]:
    """Return the probabilities of each fold, from the file of the run or else from the one beside the output."""
    recorded = run.systems[system.name].folds if system.name in run.systems else {}
    tables = {}
    for fold in system.folds:
        record = recorded.get(fold.name)
        path = _file_of_run(folder, record, "probabilities", notes) if record else None
        # Read only beside an output whose hash is in the results: another folder may belong to something else.
        if not path and fold.output and _sha256(fold.output.path) == fold.output.sha256:
            path = beside(fold.output.path)
        if path and os.path.exists(path):
            tables[fold.name] = read_probabilities(path)
    return tables


def _recalls(classes: Sequence[str], systems: Sequence[SystemResult]) -> Markup:
    """Draw the recall of each class, sorted by mean recall over the systems, highest first."""
    table = np.array([system.overall.recalls for system in systems]).T
    order = np.argsort(-table.mean(axis=1), kind="stable")
    return figures.recalls([classes[k] for k in order], table[order], [system.name for system in systems])


def _ranks(results: Results) -> list[Ranks]:
    shown = []
    for over, test in (("classes", results.significance.classes), ("folds", results.significance.folds)):
        if test:
            ranks = {name: (rank.mean, *rank.interval) for name, rank in test.mean_ranks.items()}
            best_first = dict(sorted(ranks.items(), key=lambda item: -item[1][0]))
            shown.append(Ranks(over, test, figures.mean_ranks(best_first, over)))
    return shown


def _matrix(classes: Sequence[str], system: SystemResult) -> Matrix:
    counts = np.array(system.overall.confusion)
    n_tracks = np.sum([fold.n_tracks_per_class for fold in system.folds], axis=0)
    return Matrix(
        name=system.name,
        figure=figures.confusion(classes, counts, n_tracks - counts.sum(axis=0), system.name),
        picture=figures.confusion_picture(counts) if len(classes) > figures.MOST_CLASSES else "",
        confusions=[
            (n, classes[truth], classes[predicted]) for n, predicted, truth in most_confused(counts, _N_CONFUSIONS)
        ],
    )
