"""The cells of a clip's log-Mel spectrogram that decide its class, by gradients of networks that Keras computes."""

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
    """Compute how much each cell counts for or against the class, in consecutive segments.

    The result is the gradient of the logarithm of the probability times the difference between the cell and its band's
    mean over the clip. To a first approximation, the class would lose this much if the cell had the mean of its band.
    Several networks are averaged.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands)], or None
        None if the native kernel computes the networks, because it has no gradients of its input. The frames behind the
        last whole segment are 0.
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
