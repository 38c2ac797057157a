"""Which cells of a clip's log-Mel picture decide its class, by the gradients of networks that Keras computes."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from mirex_submission.models.prediction import NetworkPredictor
from mirex_submission.models.waveform_model import Features, consecutive_starts
from mirex_submission.networks.epoch import cut


@runtime_checkable
class Differentiable(Protocol):
    """A network that Keras computes."""

    def gradients(self, segments: np.ndarray, target: int) -> np.ndarray:
        """Compute the gradients of the logarithm of a class's probability, [n, n_bands, n_frames]."""


def saliency(predictor: NetworkPredictor, features: Features, target: int) -> np.ndarray | None:
    """Compute how much each cell counts for or against the class, in the segments that follow each other.

    It is the gradient of the logarithm of the probability, times what the cell differs by from its band's mean over
    the clip: to a first approximation what the class would lose if the cell were like its band. Networks are averaged.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands)], or None
        None where the native kernel computes the networks, which gives no gradients of its input. 0 in the frames
        behind the last whole segment.
    """
    networks = [network for network in predictor.networks if isinstance(network, Differentiable)]
    if not networks:
        return None
    ((header, frames),) = features
    n = predictor.bundle.spec.n_frames
    starts = consecutive_starts(predictor, header, frames)
    segments = cut(frames, starts, n)
    by_network = np.mean([network.gradients(segments, target) for network in networks], axis=0)
    counts = np.zeros(frames.shape)
    for start, gradient in zip(starts, by_network, strict=True):
        counts[start : start + n] = gradient.T
    return np.asarray(counts * (frames - frames.mean(axis=0)))
