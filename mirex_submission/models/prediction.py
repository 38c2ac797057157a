"""Prediction: class probabilities and one label for each track, from trained models and stored features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mirex_submission.errors import ModelError, UsageError
from mirex_submission.features.extraction import Extracted
from mirex_submission.features.store import Header
from mirex_submission.features.views import track_vector
from mirex_submission.models.bundle import (
    AnyBundle,
    Bundle,
    TrainedTrack,
    ViewBundle,
    load_classifier,
    load_weights,
)
from mirex_submission.models.calibration import HeldOutTrack
from mirex_submission.networks.engine import Engine
from mirex_submission.networks.epoch import cut
from mirex_submission.system.paths import full_path
from mirex_submission.training.segments import segment_starts

_AT_ONCE = 1000  # segments: all segments of hours of audio would fill memory


class Predictor(Protocol):
    """A model in memory that predicts track by track: the other tracks of a list have no influence."""

    def predict(self, features: Sequence[tuple[Header, np.ndarray]]) -> tuple[int, np.ndarray]:
        """Return class and class probabilities [n_classes] of a track from its features, one for each spec."""


class NetworkPredictor:
    """The networks of a bundle: segments -> softmax -> vote. A batch never has segments of two tracks."""

    def __init__(self, folder: Path, bundle: Bundle, engine: Engine) -> None:
        """Load the networks. Raises ModelError if one cannot be loaded."""
        self.bundle = bundle
        try:
            self.networks = [
                engine.network(architecture, load_weights(folder, bundle, architecture), n_frames=bundle.spec.n_frames)
                for architecture in bundle.recipe.networks
            ]
        except UsageError as error:  # the package of an added network is missing or broken
            raise ModelError(f"{folder}: {error.text}", code=error.code) from error

    def predict(self, features: Sequence[tuple[Header, np.ndarray]]) -> tuple[int, np.ndarray]:
        """Return class and class probabilities of a track from its frames."""
        chosen, probabilities = vote(self.segment_probabilities(*features[0]), self.bundle.recipe.vote)
        calibration = self.bundle.calibration
        return chosen, calibration.tempered(probabilities) if calibration else probabilities

    def segment_probabilities(self, header: Header, frames: np.ndarray) -> np.ndarray:
        """Compute class probabilities of a track's segments, the mean over the networks, [n_segments, n_classes]."""
        starts = segment_starts(len(frames), header.content, self.bundle.spec, self.bundle.recipe)
        return self.probabilities_at(starts, frames)

    def probabilities_at(self, starts: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Compute class probabilities of the segments that begin at these frames, [n_segments, n_classes]."""
        of_parts = []
        for part in np.split(starts, range(_AT_ONCE, len(starts), _AT_ONCE)):
            x = cut(frames, part, self.bundle.spec.n_frames)
            by_network = np.stack([network.probabilities(x).astype(np.float64) for network in self.networks])
            of_parts.append(by_network.mean(axis=0))
        return np.concatenate(of_parts)


class ViewPredictor:
    """The classifier of a bundle of views."""

    def __init__(self, folder: Path, bundle: ViewBundle) -> None:
        """Load the classifier. Raises ModelError if it cannot be loaded."""
        self.bundle = bundle
        self.classifier = load_classifier(folder, bundle)

    def predict(self, features: Sequence[tuple[Header, np.ndarray]]) -> tuple[int, np.ndarray]:
        """Return class and class probabilities of a track from its vectors."""
        views = {
            spec.view: track_vector(vectors)[None]
            for spec, (_, vectors) in zip(self.bundle.specs, features, strict=True)
        }
        (probabilities,) = self.classifier.probabilities(views)
        return int(probabilities.argmax()), probabilities


def vote(probabilities: np.ndarray, how: str) -> tuple[int, np.ndarray]:
    """Decide the class of a track.

    Parameters
    ----------
    probabilities : np.ndarray
        Class probabilities of its segments, [n_segments, n_classes].
    how : {"mean", "majority"}
        "mean": the class of the highest mean probability, which the authors call maximum probability. "majority": the
        class that most segments choose; the mean breaks ties.

    Returns
    -------
    (int, np.ndarray)
        The class, and the mean probabilities [n_classes].
    """
    mean = probabilities.mean(axis=0)
    if how == "majority":
        votes = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
        return int(np.lexsort((-np.arange(len(mean)), mean, votes))[-1]), mean
    return int(mean.argmax()), mean


def overlap(bundle: AnyBundle, tracks: Iterable[Extracted]) -> list[str]:
    """Return the paths of the test tracks that the model was trained or calibrated on, by path or by content."""
    known: list[TrainedTrack | HeldOutTrack] = [*bundle.tracks]
    if bundle.calibration:
        known += bundle.calibration.tracks
    paths, contents = {track.path for track in known}, {track.content for track in known}
    return [t.path for t in tracks if t.content and (full_path(t.path) in paths or t.content in contents)]
