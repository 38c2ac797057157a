"""The results of a stress test: `stress.json` and `stress.csv` beside `results.json`.

The classes below define the format, for writing and reading.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from mirex_submission.errors import ListError, reason_of
from mirex_submission.evaluation.crossval.run import SystemRun
from mirex_submission.evaluation.folds.lists import KnownPaths
from mirex_submission.evaluation.judging.evaluate import Evaluation
from mirex_submission.evaluation.judging.metrics import difference_interval, wilson_interval
from mirex_submission.evaluation.judging.task import Fold
from mirex_submission.evaluation.records import Count, Number, Share, read_record
from mirex_submission.evaluation.stress.altered import Variant
from mirex_submission.evaluation.stress.deformations import DEFORMATIONS
from mirex_submission.evaluation.stress.stress import Stress
from mirex_submission.protocol import lists
from mirex_submission.protocol.outputs import TestList, class_key, class_numbers, read_output
from mirex_submission.system.atomic import write_file
from mirex_submission.system.paths import full_path

STRESS = "stress.json"
_COLUMNS = (
    "system", "deformation", "strength", "unit", "tracks", "accuracy", "low", "high", "change", "change low",
    "change high", "only before", "only after", "p",
)  # fmt: skip


class StressPoint(Struct, frozen=True):
    """A system's accuracy for one deformation and strength, compared with the same tracks unaltered.

    Parameters
    ----------
    deformation, strength
        As in DEFORMATIONS.
    n_tracks, n_right, accuracy, interval
        Tests of the folds with an output, and the accuracy with its 95 % interval (Wilson).
    change, change_interval
        This accuracy minus the accuracy without the deformation, with its 95 % interval.
    n_only_before, n_only_after, p
        Number of tests that are correct only without, and only with the deformation; p of McNemar's exact test.
    """

    deformation: str
    strength: Number
    n_tracks: Count
    n_right: Count
    accuracy: Share
    interval: tuple[Share, Share]
    change: Number
    change_interval: tuple[Number, Number]
    n_only_before: Count
    n_only_after: Count
    p: Share


class StressSystem(Struct, frozen=True):
    """A system's accuracy without any deformation, over the folds of the stress test, and a point for each variant."""

    name: str
    accuracy: Share
    interval: tuple[Share, Share]
    points: list[StressPoint]


class StressRecord(Struct, frozen=True):
    """The whole file.

    left_out : `FOLD VARIANT` left out because of the time limit. unaltered : a note for each track that could not be
    altered. problems : {`SYSTEM FOLD VARIANT`: why the step failed}.
    """

    systems: list[StressSystem]
    left_out: list[str] = []
    unaltered: list[str] = []
    problems: dict[str, str] = {}


def judge(stress: Stress, runs: Sequence[SystemRun], evaluation: Evaluation) -> StressRecord:
    """Compare the predictions for altered audio with the truth, and with the predictions for unaltered audio.

    Raises
    ------
    ListError
        An output cannot be read.
    """
    numbers = class_numbers({class_key(label): label for label in evaluation.classes})
    predicted = {system.name: system.predicted for system in evaluation.systems}
    systems = []
    for run in (run for run in runs if run.plan.submission.separate):
        name, points = run.plan.submission.name, []
        before = [answers == fold.truth for answers, fold in zip(predicted[name], evaluation.folds, strict=True)]
        for of_folds in zip(*stress.variants.values(), strict=True):
            pairs = [
                _right(variant, run, number, evaluation.folds[number], before[number], numbers)
                for number, variant in enumerate(of_folds)
            ]
            answered = [pair for pair in pairs if pair]
            if answered:
                was_right, is_right = (np.concatenate(part) for part in zip(*answered, strict=True))
                points.append(_point(of_folds[0], was_right, is_right))
        # Only folds of the stress test, so that both accuracies use the same tracks.
        tested = [
            number for number, fold in enumerate(run.folds) if fold.output and run.plan.folds[number].stress_steps
        ] or range(len(before))
        all_before = np.concatenate([before[number] for number in tested])
        accuracy, interval = float(all_before.mean()), wilson_interval(int(all_before.sum()), len(all_before))
        systems.append(StressSystem(name, accuracy, interval, points))
    return StressRecord(systems, stress.left_out, sorted(stress.unaltered), stress.problems)


def _right(
    variant: Variant, run: SystemRun, number: int, fold: Fold, before: np.ndarray, numbers: dict[str, int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return masks of the tests of a fold that are correct unaltered and altered, or None without an output."""
    extra = run.plan.folds[number].stress_steps.get(variant.name)
    if not (run.folds[number].output and extra and extra.step.finished()):
        return None
    known = KnownPaths(full_path(track.path) for track in fold.tracks)
    place = {full_path(track.path): k for k, track in enumerate(fold.tracks)}
    order = [place[known.find(track.path)] for track in lists.read_unlabelled(variant.source)]
    altered = [track.path for track in lists.read_unlabelled(variant.test_list)]
    answers, _ = read_output(extra.step.outputs[0], TestList(altered), numbers)
    return before[order], answers == fold.truth[order]


def _point(variant: Variant, before: np.ndarray, after: np.ndarray) -> StressPoint:
    from scipy import stats

    n, n_right = len(after), int(after.sum())
    only_before, only_after = int((before & ~after).sum()), int((after & ~before).sum())
    return StressPoint(
        variant.deformation,
        variant.strength,
        n,
        n_right,
        n_right / n,
        wilson_interval(n_right, n),
        (only_after - only_before) / n,
        difference_interval(np.stack([after, before], axis=1), np.arange(n), seed=variant.seed),
        only_before,
        only_after,
        float(stats.binomtest(only_before, only_before + only_after).pvalue) if only_before + only_after else 1.0,
    )


def write_stress(record: StressRecord, folder: Path) -> None:
    """Write `stress.json` and `stress.csv`. Raises StorageError."""
    write_file(folder / STRESS, json.dumps(msgspec.to_builtins(record), indent=1).encode())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for system in record.systems:
        for p in system.points:
            shares = [f"{x:.4f}" for x in (p.accuracy, *p.interval, p.change, *p.change_interval)]
            unit = DEFORMATIONS[p.deformation].unit
            of_tests = [p.n_only_before, p.n_only_after, f"{p.p:.4g}"]
            writer.writerow([system.name, p.deformation, f"{p.strength:g}", unit, p.n_tracks, *shares, *of_tests])
    write_file(folder / "stress.csv", text.getvalue().encode())


def read_stress(folder: Path) -> StressRecord | None:
    """Read `stress.json` in a folder; None if there is none. Raises ListError for an invalid file."""
    path = folder / STRESS
    try:
        record = read_record(path, StressRecord)
        unknown = {point.deformation for system in record.systems for point in system.points} - DEFORMATIONS.keys()
        if unknown:
            raise ValueError(f"unknown deformation {', '.join(sorted(unknown))}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        text = f"{path}: cannot be read: {reason_of(error)}: run crossval --stress again, or remove the file"
        raise ListError(text, code="report.stress-invalid") from error
    return record


def summary(record: StressRecord) -> str:
    """Return a table to print: the accuracy of each system and its change, for each deformation and strength."""
    names = [system.name for system in record.systems]
    width = max(17, *map(len, names)) if names else 0
    lines = [f"{'altered audio':36}" + "".join(f"  {name:>{width}}" for name in names)]
    lines.append(f"{'unaltered':36}" + "".join(f"  {system.accuracy:>{width}.2%}" for system in record.systems))
    of_systems = [{(p.deformation, p.strength): p for p in system.points} for system in record.systems]
    n_most = max((p.n_tracks for points in of_systems for p in points.values()), default=0)
    for key in dict.fromkeys(key for points in of_systems for key in points):
        deformation = DEFORMATIONS[key[0]]
        cells = [
            f"{p.accuracy:.2%} ({100 * p.change:+.1f}){'*' if p.p < 0.05 else ' '}" if (p := points.get(key)) else "-"
            for points in of_systems
        ]
        n_tracks = {points[key].n_tracks for points in of_systems if key in points}
        title = f"{deformation.title} {key[1]:g} {deformation.unit}".rstrip()
        if n_tracks != {n_most}:
            title += f" ({'/'.join(map(str, sorted(n_tracks)))} tracks)"
        lines.append(f"{title:36}" + "".join(f"  {cell:>{width}}" for cell in cells))
    return "\n".join(
        [
            *lines,
            "In brackets: change in percentage points; *: p < 0.05 (McNemar's test, uncorrected).",
        ]
    )
