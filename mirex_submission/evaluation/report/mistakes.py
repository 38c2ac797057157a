"""The tracks on which a system was wrong and most sure of it: wrong labels, odd clips, classes that overlap."""

from __future__ import annotations

import csv
import heapq
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirex_submission.errors import AudioError
from mirex_submission.evaluation.report.figures import spectrogram
from mirex_submission.features.inspect import find_features
from mirex_submission.features.spec import DEFAULT_BANDS, DEFAULT_FRAMES
from mirex_submission.protocol.outputs import class_key

N_SHOWN = 6  # a system
_N_CLASSES_SHOWN = 4


@dataclass(frozen=True)
class Mistake:
    """A track that a system got wrong, with the probability it gave its answer.

    probabilities : the likeliest classes and the true one, likeliest first.
    n_others_right : of the n_others systems that answered the same track, those that were right.
    """

    fold: str
    path: str
    truth: str
    predicted: str
    probability: float
    probabilities: list[tuple[str, float]]
    n_others: int
    n_others_right: int


@dataclass(frozen=True)
class Picture:
    """A track's spectrogram as a data address, or why there is none."""

    address: str = ""
    duration_s: float = 0.0
    rate_hz: int = 0
    missing: str = ""


def most_confident(system: str, folds: Sequence[Mapping[str, Any]], csv_of: Mapping[str, Path]) -> list[Mistake]:
    """The wrong answers of a system with the highest probability, highest first.

    folds : those of `results.json`. csv_of : fold -> its file of probabilities.
    Raises ValueError or OSError for a file that is none.
    """
    wrong = []
    for fold in folds:
        if fold["name"] in csv_of:
            probabilities = _read_probabilities(csv_of[fold["name"]])
            for track in fold["tracks"]:
                predicted, given = track["predicted"][system], probabilities.get(os.path.normpath(track["path"]))
                if given and predicted not in (None, track["label"]):
                    wrong.append(_mistake(system, fold["name"], track, given))
    return heapq.nlargest(N_SHOWN, wrong, key=lambda mistake: mistake.probability)


def picture(path: str) -> Picture:
    """A small spectrogram of a track, of the bands that the networks get."""
    try:
        header, frames, _ = find_features(path, None, rate_hz=None, n_bands=DEFAULT_BANDS, n_frames=DEFAULT_FRAMES)
    except AudioError as error:
        return Picture(missing=str(error).removeprefix(f"{path}: "))
    return Picture(spectrogram(frames), header.duration_s, header.spec.rate_hz)


def _mistake(system: str, fold: str, track: Mapping[str, Any], given: Mapping[str, float]) -> Mistake:
    truth, answers = track["label"], track["predicted"]
    by_label = {class_key(label): (label, p) for label, p in given.items()}
    ranked = sorted(by_label, key=lambda key: -by_label[key][1])
    shown = [key for k, key in enumerate(ranked) if k < _N_CLASSES_SHOWN or key == class_key(truth)]
    others = [answer for name, answer in answers.items() if name != system and answer is not None]
    return Mistake(
        fold=fold,
        path=track["path"],
        truth=truth,
        predicted=answers[system],
        probability=by_label.get(class_key(answers[system]), ("", 0.0))[1],
        probabilities=[by_label[key] for key in shown],
        n_others=len(others),
        n_others_right=others.count(truth),
    )


def _read_probabilities(path: Path) -> dict[str, dict[str, float]]:
    """Track's path -> class -> probability, from what `classify --probabilities` writes.

    Raises ValueError where that is not what the file holds.
    """
    with open(path, newline="", encoding="utf-8") as f:
        table = csv.reader(f, strict=True)
        given = {}
        try:
            header = next(table, [])
            if header[:2] != ["path", "label"]:
                raise ValueError("it does not begin with the columns path,label")
            for row in table:
                values = [float(text) for text in row[2:]]
                if len(row) != len(header) or not all(math.isfinite(p) and 0 <= p <= 1 for p in values):
                    raise ValueError(f"line {table.line_num}: not one probability a class")
                given[os.path.normpath(row[0])] = dict(zip(header[2:], values, strict=True))
        except csv.Error as error:
            raise ValueError(f"line {table.line_num}: {error}") from error
    return given
