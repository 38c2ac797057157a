"""Calibrate a trained model on a fifth of the training tracks, which is held out."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from mirex_submission.errors import UsageError
from mirex_submission.features import extraction
from mirex_submission.features.extraction import Stores
from mirex_submission.features.store import Header
from mirex_submission.models import bundle as bundles
from mirex_submission.models.bundle import Bundle, TrainedTrack, ViewBundle
from mirex_submission.models.calibration import Calibration, HeldOutTrack, logarithms
from mirex_submission.models.likeness import LIKENESS, MOST_TRACKS, Likeness, descriptor
from mirex_submission.models.prediction import Predictor
from mirex_submission.protocol.answers import NONE
from mirex_submission.system.atomic import digest
from mirex_submission.system.progress import Progress
from mirex_submission.training import svm
from mirex_submission.training.holdout import CALIBRATION_SHARE, held_out, joined

log = logging.getLogger(__name__)

_VERSION = 1  # raise it whenever the same tracks would give another calibration

Model = TypeVar("Model", Bundle, ViewBundle)


@dataclass(frozen=True, eq=False)
class Split:
    """The tracks to train on, and those that are held out to calibrate the model.

    Parameters
    ----------
    trained, groups : tuple of TrainedTrack, tuple of str
        Tracks to train on, and the group of each.
    held : tuple of TrainedTrack
        Held-out tracks; empty without calibration.
    trained_numbers, held_numbers : tuple of int
        Number of the group of each track, which copies share; empty without calibration.
    key : str
        Hash of everything that decides the split; "" without calibration.
    """

    trained: tuple[TrainedTrack, ...]
    groups: tuple[str, ...]
    held: tuple[TrainedTrack, ...] = ()
    trained_numbers: tuple[int, ...] = ()
    held_numbers: tuple[int, ...] = ()
    key: str = ""

    def calibrated(self, model: Bundle | ViewBundle) -> bool:
        """Return whether a model has the calibration of this split, or none if the split holds out no track."""
        return (model.calibration.key if model.calibration else "") == self.key


def split(tracks: tuple[TrainedTrack, ...], groups: Sequence[str], *, calibrate: bool, seed: int) -> Split:
    """Split the tracks of a training, and hold some out if `calibrate` is true.

    Raises
    ------
    UsageError
        No tracks can be held out, or a class has the name of the set without labels.
    """
    if not calibrate:
        return Split(tracks, tuple(groups))
    labels, contents = [track.label for track in tracks], [track.content for track in tracks]
    if NONE in labels:
        text = (
            f"--calibrate: a class is named {NONE!r}, which stands for no class in the sets of `classify --confidence`"
        )
        raise UsageError(f"{text}: rename the class, or leave out --calibrate", code="usage.none-class")
    out = held_out(labels, contents, groups, seed=seed, share=CALIBRATION_SHARE, option="--calibrate")
    numbers = np.unique(joined(contents, groups), return_inverse=True)[1]
    key = digest(json.dumps([_VERSION, list(map(dataclasses.astuple, tracks)), numbers.tolist(), seed]).encode())
    parts = [[k for k, held in enumerate(out) if held == side] for side in (False, True)]
    (trained, held), n_groups = parts, len(set(numbers[out]))
    text = f"{len(held)} of {len(tracks)} tracks ({n_groups} groups) are held out to calibrate the model"
    highest = np.floor(1000 * n_groups / (n_groups + 1)) / 1000
    log.info("%s: --confidence may be up to %.3g; above, each set holds all labels", text, highest)
    return Split(
        tuple(tracks[k] for k in trained),
        tuple(groups[k] for k in trained),
        tuple(tracks[k] for k in held),
        tuple(numbers[trained].tolist()),
        tuple(numbers[held].tolist()),
        key,
    )


def calibrated(folder: Path, model: Model, predictor: Predictor, stores: Stores, tracks: Split) -> Model:
    """Calibrate a model on its held-out tracks, and store the training tracks to which others are compared.

    Parameters
    ----------
    folder : Path
        Folder of the model.
    model : Bundle or ViewBundle
        Model that was trained on `tracks.trained`.
    predictor : Predictor
        This model in memory.
    stores : sequence of FeatureStore
        Stores of the model's features.
    tracks : Split
        Tracks of the training.
    """
    specs = [store.spec for store in stores]

    def features(track: TrainedTrack) -> list[tuple[Header, np.ndarray]]:
        return [extraction.read_or_fail(track.path, store) for store in stores]

    n = len(tracks.trained)
    kept = np.sort(np.random.default_rng(model.recipe.seed).permutation(n)[:MOST_TRACKS])
    described = np.stack([descriptor(specs, features(tracks.trained[k])) for k in kept])
    likeness = Likeness.fit(described, [tracks.trained_numbers[k] for k in kept])
    targets = np.array([model.classes.index(track.label) for track in tracks.held])
    probabilities, distances = [], []
    progress = Progress("calibration", len(targets), unit="tracks")
    for track in tracks.held:
        read = features(track)
        probabilities.append(predictor.predict(read)[1])
        distances.append(likeness.distance(descriptor(specs, read)))
        progress.advance()
    progress.close()
    # The classifier of views already has a temperature, by a cross-validation on all of its training tracks.
    logs = logarithms(np.stack(probabilities))
    temperature = svm.temperature(logs, targets) if isinstance(model, Bundle) else 1.0
    held = [
        HeldOutTrack(track.path, track.label, track.content, group, float(1 - of_track[target]), distance)
        for track, group, of_track, target, distance in zip(
            tracks.held, tracks.held_numbers, probabilities, targets, distances, strict=True
        )
    ]
    if isinstance(model, Bundle):
        log.info("calibration: temperature %.3g", temperature)
    file = bundles.save_weights(folder, likeness.arrays())
    return dataclasses.replace(
        model,
        weights={**model.weights, LIKENESS: file},
        calibration=Calibration(tracks.key, temperature, tuple(held)),
    )
