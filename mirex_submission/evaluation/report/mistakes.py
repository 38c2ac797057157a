"""The wrong predictions with the highest probability: they show wrong labels, untypical clips and similar classes."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirex_submission.errors import AudioError
from mirex_submission.evaluation.judging.probabilities import Probabilities
from mirex_submission.evaluation.judging.results import FoldResult, TrackResult
from mirex_submission.evaluation.report.figures import spectrogram
from mirex_submission.features.inspect import find_features
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.protocol.outputs import class_key

N_SHOWN = 6  # per system
_N_CLASSES_SHOWN = 4


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction and its probability.

    probabilities : the likeliest classes and the true one, likeliest first.
    n_others : number of other systems with a prediction for the track.
    n_others_right : number of these whose prediction is correct.
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
class Explained:
    """Link to the page that explains a mistake, and the clip as a data URL; or the reason why there is none."""

    link: str = ""
    audio: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Picture:
    """Spectrogram of a track as a data URL, or the reason why there is none."""

    address: str = ""
    duration_s: float = 0.0
    rate_hz: int = 0
    missing: str = ""


def most_confident(system: str, folds: Sequence[FoldResult], tables: Mapping[str, Probabilities]) -> list[Mistake]:
    """Return the wrong predictions of a system with the highest probability, highest first.

    tables : {name of a fold: probabilities of its tracks}, for the folds where they are known.
    """
    wrong = [
        (probability, fold.name, track)
        for fold in folds
        if fold.name in tables
        for track in fold.tracks
        if (predicted := track.predicted[system]) not in (None, track.label)
        and not math.isnan(probability := tables[fold.name].of(track.path, str(predicted)))
    ]
    return [
        _mistake(system, fold, track, probability, tables[fold].ranked(track.path))
        for probability, fold, track in heapq.nlargest(N_SHOWN, wrong, key=lambda mistake: mistake[0])
    ]


def picture(path: str) -> Picture:
    """Return a small spectrogram of a track, with the Mel bands that the networks receive."""
    try:
        (features,), _ = find_features(path, None, rate_hz=None, specs_at=lambda rate_hz: (FeatureSpec(rate_hz),))
    except AudioError as error:
        return Picture(missing=error.text.removeprefix(f"{path}: "))
    header, frames = features
    return Picture(spectrogram(frames), header.duration_s, header.spec.rate_hz)


def _mistake(
    system: str, fold: str, track: TrackResult, probability: float, ranked: Sequence[tuple[str, float]]
) -> Mistake:
    others = [label for name, label in track.predicted.items() if name != system and label is not None]
    return Mistake(
        fold=fold,
        path=track.path,
        truth=track.label,
        predicted=str(track.predicted[system]),
        probability=probability,
        probabilities=[
            (label, p)
            for k, (label, p) in enumerate(ranked)
            if k < _N_CLASSES_SHOWN or class_key(label) == class_key(track.label)
        ],
        n_others=len(others),
        n_others_right=others.count(track.label),
    )
