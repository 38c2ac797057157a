"""One pass over the training segments, in the form that an engine takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mirex_submission.networks.sizes import DENSE_UNITS, DROPOUT_RATE


@dataclass(frozen=True)
class Epoch:
    """The segments of one epoch, their order, and the settings of a step of SGD.

    Parameters
    ----------
    frames : np.ndarray
        Log-Mel frames of all tracks, float32 [n_all_frames, n_bands].
    n_frames : int
        Frames of a segment.
    starts : np.ndarray
        Row of `frames` where each segment begins, integers [n_segments].
    targets : np.ndarray
        Class of each segment, integers [n_segments].
    class_weights : np.ndarray or None
        Weight of the loss for each class, float32 [n_classes]; None: all weights are 1.
    order : np.ndarray
        Indices of the segments in the order of the training, integers [n_segments].
    batch_size : int
        Segments of a mini-batch; the last one may be smaller.
    learning_rate : float
        Constant rate of SGD.
    dropout_seed : tuple of int
        Seed of the stream of random numbers that dropout draws.
    """

    frames: np.ndarray
    n_frames: int
    starts: np.ndarray
    targets: np.ndarray
    class_weights: np.ndarray | None
    order: np.ndarray
    batch_size: int
    learning_rate: float
    dropout_seed: tuple[int, ...]

    def batches(self) -> Iterator[np.ndarray]:
        """Iterate over the mini-batches as indices of segments."""
        for first in range(0, len(self.order), self.batch_size):
            yield self.order[first : first + self.batch_size]

    def dropout_rng(self) -> np.random.Generator:
        """Return a new generator of the stream that dropout draws from, one segment after the other."""
        return np.random.default_rng(self.dropout_seed)

    def weights(self, batch: np.ndarray) -> np.ndarray:
        """Return the loss weight of each segment of a mini-batch, float32 [len(batch)]."""
        if self.class_weights is None:
            return np.ones(len(batch), np.float32)
        return np.asarray(self.class_weights[self.targets[batch]])


def cut(frames: np.ndarray, starts: np.ndarray, n_frames: int) -> np.ndarray:
    """Cut segments out of frames.

    Parameters
    ----------
    frames : np.ndarray
        [n_all_frames, n_bands].
    starts : np.ndarray
        Rows where the segments begin, integers [n].
    n_frames : int
        Frames of a segment.

    Returns
    -------
    np.ndarray
        [n, n_bands, n_frames], frequency first.
    """
    rows = starts[:, None].astype(np.int64) + np.arange(n_frames)
    return np.asarray(frames[rows].transpose(0, 2, 1))


def draw_kept(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw which units of the dense layer dropout keeps for each of the next n segments, bool [n, DENSE_UNITS]."""
    return np.asarray(rng.random((n, DENSE_UNITS), np.float32) >= DROPOUT_RATE)
