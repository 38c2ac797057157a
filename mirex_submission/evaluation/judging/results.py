"""An evaluation in full as `results.json`, from which a report can be made without any other file.

    format, versions, command      of this file; of the program and what it counts with; what was called
    settings                       alpha, confidence, n_resamples and seed of the tests
    classes                        labels as the truth spells them, in the order of rows and columns
    folds                          name, truth (path, sha256), n_tracks; tracks: path, label, predicted {system: label}
    systems                        name, folds (each with its output's path and sha256, or null), overall, findings
    truth_findings, findings       where, found, kind; what the evaluator does with it, how it is counted here
    significance.classes, .folds   Friedman's test and its Tukey-Kramer HSD, null for a single system
    mcnemar                        a pair of systems each

A fold's and the overall figures: accuracy with its interval, normalised_accuracy, n_tracks (out of which is counted),
n_predicted, n_right, n_tracks_per_class, recalls, and confusion as a list of rows: predictions by truth.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from mirex_submission.errors import ListError
from mirex_submission.evaluation.judging.evaluate import Evaluation
from mirex_submission.evaluation.judging.metrics import CONFIDENCE, N_RESAMPLES, Score
from mirex_submission.evaluation.judging.shape import fault_of
from mirex_submission.evaluation.judging.significance import ALPHA, Comparison
from mirex_submission.protocol.outputs import NO_PREDICTION, Finding
from mirex_submission.system.atomic import sha256
from mirex_submission.version import __version__

FORMAT = 1


def as_json(evaluation: Evaluation, command: Sequence[str] = ()) -> bytes:
    """The evaluation as UTF-8 text; bytes of a path that are no UTF-8 are escaped."""
    text = json.dumps(record(evaluation, command), ensure_ascii=False, indent=1)
    return text.encode("utf-8", errors="backslashreplace")


def record(evaluation: Evaluation, command: Sequence[str] = ()) -> dict[str, Any]:
    """The evaluation as `results.json` has it; command: the call that made it, if one did."""
    labels: dict[int, str | None] = dict(enumerate(evaluation.classes)) | {NO_PREDICTION: None}
    return {
        "format": FORMAT,
        "versions": {
            "mirex-submission": __version__,
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in ("numpy", "scipy")},
        },
        "command": list(command),
        "settings": {"alpha": ALPHA, "confidence": CONFIDENCE, "n_resamples": N_RESAMPLES, "seed": evaluation.seed},
        "classes": evaluation.classes,
        "folds": [
            {
                "name": fold.file.name,
                "truth": _file(fold.file.path),
                "n_tracks": len(fold.tracks),
                "tracks": [
                    {
                        "path": track.path,
                        "label": labels[fold.truth[n]],
                        "predicted": {system.name: labels[system.predicted[k][n]] for system in evaluation.systems},
                    }
                    for n, track in enumerate(fold.tracks)
                ],
            }
            for k, fold in enumerate(evaluation.folds)
        ],
        "systems": [
            {
                "name": system.name,
                "folds": [
                    {"name": fold.file.name, "output": output and _file(output), **_figures(score, interval)}
                    for fold, output, score, interval in zip(
                        evaluation.folds, system.outputs, system.folds, system.fold_intervals, strict=True
                    )
                ],
                "overall": _figures(system.overall, system.overall_interval),
                "findings": _findings(system.findings),
            }
            for system in evaluation.systems
        ],
        "truth_findings": _findings(evaluation.truth_findings),
        "significance": {"classes": _comparison(evaluation.by_class), "folds": _comparison(evaluation.by_fold)},
        "mcnemar": [dataclasses.asdict(pair) for pair in evaluation.pairs],
    }


def _file(path: Path) -> dict[str, str]:
    return {"path": os.path.abspath(path), "sha256": sha256(path)}


def _figures(score: Score, interval: tuple[float, float]) -> dict[str, Any]:
    return {
        "accuracy": score.accuracy,
        "accuracy_interval": interval,
        "normalised_accuracy": score.normalised_accuracy,
        "n_tracks": int(score.n_tracks.sum()),
        "n_predicted": int(score.confusion.sum()),
        "n_right": int(np.trace(score.confusion)),
        "n_tracks_per_class": score.n_tracks.tolist(),
        "recalls": score.recalls.tolist(),
        "confusion": score.confusion.tolist(),
    }


def _comparison(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    half = comparison.critical_difference / 2
    return {
        **dataclasses.asdict(comparison),
        "warning": comparison.warning,
        "mean_ranks": {
            name: {"mean": mean, "interval": [mean - half, mean + half]} for name, mean in comparison.mean_ranks.items()
        },
        "differences": [{**dataclasses.asdict(d), "significant": d.significant} for d in comparison.differences],
    }


def _findings(findings: Iterable[Finding]) -> list[dict[str, str]]:
    return [
        {
            "where": finding.where,
            "found": finding.found,
            "kind": finding.kind.name.lower(),
            "evaluator": finding.kind.evaluator,
            "counted": finding.kind.counted,
        }
        for finding in findings
    ]


def read(path: Path) -> dict[str, Any]:
    """What `as_json` wrote. Raises ListError for what it cannot have written."""
    try:
        results = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ListError(f"{path}: cannot be read: {error}: give the folder that `evaluate --out` wrote") from error
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        raise ListError(f"{path}: not written by this version's `evaluate`: run that again")
    outline = {"classes": [str], "folds": [{"name": str}], "systems": [{"name": str}]}
    fault = fault_of(results, outline)
    names = {} if fault else {part: [each["name"] for each in results[part]] for part in ("folds", "systems")}
    if names and not (results["classes"] and all(each and len(set(each)) == len(each) for each in names.values())):
        fault = "classes, folds, systems: one or more, with different names"
    fault = fault or fault_of(results, _shape(len(results["classes"]), len(results["folds"]), names["systems"]))
    if not fault:
        pairs = sorted(combinations(sorted(names["systems"]), 2))
        tests = {over: (test or {"differences": []})["differences"] for over, test in results["significance"].items()}
        for test, found in {**tests, "mcnemar": results["mcnemar"]}.items():
            if sorted(tuple(sorted((pair["first"], pair["second"]))) for pair in found) != pairs:
                fault = f"{test}: not one test for each pair of systems"
    if fault:
        raise ListError(f"{path}: {fault}: not as `evaluate` writes it: run that again")
    return results


def _shape(n_classes: int, n_folds: int, systems: Sequence[str]) -> dict[str, Any]:
    """What a report relies on."""
    finding = {"where": str, "found": str, "kind": str, "evaluator": str, "counted": str}
    file = {"path": str, "sha256": str}
    figures = {
        **dict.fromkeys(("accuracy", "normalised_accuracy"), float),
        **dict.fromkeys(("n_tracks", "n_predicted", "n_right"), int),
        "accuracy_interval": [float, 2],
        "n_tracks_per_class": [int, n_classes],
        "recalls": [float, n_classes],
        "confusion": [[int, n_classes], n_classes],
    }
    pair = {"first": set(systems), "second": set(systems), "p": float}
    rank = {"mean": float, "interval": [float, 2]}
    comparison = {
        **dict.fromkeys(("chi_square", "p"), float),
        "warning": (str, None),
        "mean_ranks": dict.fromkeys(systems, rank),
        "differences": [{**pair, "mean": float}],
    }
    compared = comparison if len(systems) > 1 else None
    track = {"path": str, "label": str, "predicted": dict.fromkeys(systems, (str, None))}
    return {
        "versions": {str: str},
        "command": [str],
        "settings": {"alpha": float, "seed": int, "n_resamples": int},
        "folds": [{"name": str, "n_tracks": int, "truth": file, "tracks": [track]}],
        "systems": [
            {
                "folds": [{"name": str, "output": (file, None), **figures}, n_folds],
                "overall": figures,
                "findings": [finding],
            }
        ],
        "truth_findings": [finding],
        "significance": {"classes": compared, "folds": compared},
        "mcnemar": [{**pair, "n_only_first": int, "n_only_second": int, "p_holm": float}],
    }
