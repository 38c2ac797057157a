"""The training tracks that are nearest to a clip, by the features that the scratch folder still has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.features.store import FeatureStore
from mirex_submission.features.views import track_vector
from mirex_submission.models.bundle import AnyBundle, Bundle, TrainedTrack, load_weights
from mirex_submission.models.prediction import NetworkPredictor, ViewPredictor
from mirex_submission.models.waveform_model import Features
from mirex_submission.training.kernel_machine import join

N_NEAREST = 6
OF_VIEWS = "distance in the components of the views on which the classifier decides"
OF_NETWORKS = (
    "distance of the mean and the deviation of each log-Mel band over the clip, standardised as the network does: it "
    "compares the sound, not the activations of the network's layers"
)


@dataclass(frozen=True)
class Neighbours:
    """The nearest training tracks.

    Parameters
    ----------
    tracks : list of (TrainedTrack, float)
        Tracks with their distances, nearest first; 1 is the mean distance of the clip to all compared tracks.
    n_compared : int
        Number of training tracks whose features the scratch folder has.
    n_trained : int
        Number of training tracks.
    space : str
        Description of the distance.
    """

    tracks: list[tuple[TrainedTrack, float]]
    n_compared: int
    n_trained: int
    space: str


def nearest(
    scratch: Path, folder: Path, bundle: AnyBundle, predictor: NetworkPredictor | ViewPredictor, features: Features
) -> Neighbours:
    """Find the training tracks that are nearest to a clip with these features; the clip itself is left out.

    Parameters
    ----------
    scratch, folder : Path
        Scratch folder, and the folder of the model in it.
    bundle, predictor : AnyBundle, Predictor
        The model.
    features : list of (Header, np.ndarray)
        Features of the clip, for each spec of the model.
    """
    place = _place_of(folder, bundle, predictor)
    here = place([matrix for _, matrix in features])
    stores = [FeatureStore(scratch, spec) for spec in bundle.specs]
    content, compared = features[0][0].content, []
    for track in bundle.tracks:
        stored = [store.read(track.path) for store in stores] if track.content != content else []
        matrices = [features[1] for features in stored if features]
        if len(matrices) == len(stores):
            compared.append((track, float(np.linalg.norm(place(matrices) - here))))
    compared.sort(key=lambda pair: pair[1])
    mean = float(np.mean([distance for _, distance in compared])) if compared else 1.0
    shown = [(track, distance / (mean or 1.0)) for track, distance in compared[:N_NEAREST]]
    space = OF_NETWORKS if isinstance(bundle, Bundle) else OF_VIEWS
    return Neighbours(shown, len(compared), len(bundle.tracks), space)


def _place_of(
    folder: Path, bundle: AnyBundle, predictor: NetworkPredictor | ViewPredictor
) -> Callable[[list[np.ndarray]], np.ndarray]:
    """Return the function from a track's matrices to its point in the space of the distances."""
    if isinstance(predictor, ViewPredictor):
        views, projections = [spec.view for spec in predictor.bundle.specs], predictor.classifier.projections
        return lambda matrices: join(
            projections, {view: track_vector(matrix)[None] for view, matrix in zip(views, matrices, strict=True)}
        )[0]
    weights = load_weights(folder, predictor.bundle, predictor.bundle.recipe.networks[0])
    deviation = weights["standardise/std"]

    def place(matrices: list[np.ndarray]) -> np.ndarray:
        (frames,) = matrices
        return np.concatenate([frames.mean(axis=0) / deviation, frames.std(axis=0) / deviation])

    return place
