"""A model that predicts from waveforms, to explain its prediction for a clip and for the clip without some regions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirex_submission.features.logmel import log_mel
from mirex_submission.features.spec import FeatureSpec, ViewSpec
from mirex_submission.features.store import Header
from mirex_submission.features.views import OWN, vectors_of_blocks
from mirex_submission.models.bundle import AnyBundle, Bundle
from mirex_submission.models.prediction import NetworkPredictor, Predictor
from mirex_submission.training.segments import segment_starts

Features = list[tuple[Header, np.ndarray]]
_PIECE_S = 3.0  # length of a piece of a clip, for a model without segments


@dataclass(frozen=True, eq=False)
class Pieces:
    """Class probabilities over time.

    Parameters
    ----------
    edges_s : np.ndarray [shape=(n_pieces + 1,)]
        Where the pieces of the clip begin and end.
    probabilities : np.ndarray [shape=(n_pieces, n_classes)]
    """

    edges_s: np.ndarray
    probabilities: np.ndarray


class WaveformModel:
    """A model and one clip, whose segments stay the same when regions of the clip are removed.

    Parameters
    ----------
    bundle : Bundle or ViewBundle
    predictor : Predictor
        Predictor of the bundle.
    headers : sequence of Header
        Headers of the clip's features, one for each spec of the bundle.
    """

    def __init__(self, bundle: AnyBundle, predictor: Predictor, headers: Sequence[Header]) -> None:
        self.bundle, self.predictor, self._headers = bundle, predictor, headers

    @property
    def has_own_threads(self) -> bool:
        """Whether it must predict one clip at a time: networks use threads, and added views may not be thread-safe."""
        return isinstance(self.bundle, Bundle) or not {spec.view for spec in self.bundle.specs} <= set(OWN)

    @property
    def least_s(self) -> float:
        """Shortest duration of a clip that has a piece."""
        spec = self.bundle.specs[0]
        return spec.segment_samples / spec.rate_hz if isinstance(spec, FeatureSpec) else _PIECE_S

    def features(self, samples: np.ndarray) -> Features:
        """Compute the features of samples at the model's rate."""
        if isinstance(self.bundle, Bundle):
            matrices = [log_mel(samples, self.bundle.spec)]
        else:
            matrices = vectors_of_blocks([samples], [spec for spec in self.bundle.specs if isinstance(spec, ViewSpec)])
        return list(zip(self._headers, matrices, strict=True))

    def predict(self, samples: np.ndarray) -> tuple[int, np.ndarray]:
        """Return class and class probabilities [n_classes] of samples."""
        return self.predictor.predict(self.features(samples))

    def pieces(self, samples: np.ndarray) -> Pieces:
        """Compute class probabilities over time: of consecutive segments, or of pieces that are treated as clips."""
        spec = self.bundle.specs[0]
        if isinstance(self.predictor, NetworkPredictor):
            assert isinstance(spec, FeatureSpec)
            ((header, frames),) = self.features(samples)
            starts = consecutive_starts(self.predictor, header, frames)
            edges = np.append(starts, starts[-1] + spec.frames_between_segments) * spec.hop / spec.rate_hz
            return Pieces(edges, self.predictor.probabilities_at(starts, frames))
        n = max(1, int(len(samples) / (_PIECE_S * spec.rate_hz)))
        edges = np.linspace(0, len(samples), n + 1).astype(int)
        parts = np.split(samples, edges[1:-1])
        return Pieces(edges / spec.rate_hz, np.stack([self.predict(part)[1] for part in parts]))


def consecutive_starts(predictor: NetworkPredictor, header: Header, frames: np.ndarray) -> np.ndarray:
    """Return the first frames of consecutive segments, whatever segments the recipe has."""
    recipe = dataclasses.replace(predictor.bundle.recipe, segments="consecutive")
    return segment_starts(len(frames), header.content, predictor.bundle.spec, recipe)
