"""Which segments of which track, and in which order: pure functions of the seed, the track's content and the epoch.

Neither the order of a list, nor where the audio lies, nor the number of threads decides a segment; a segment is a
slice of the clip's frames, so overlapping segments cost nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mirex_submission.features.spec import FeatureSpec
from mirex_submission.networks.sizes import DENSE_UNITS, DROPOUT_RATE
from mirex_submission.training.recipe import Recipe

_STARTS, _ORDER, _DROPOUT = 1, 2, 3  # keep the streams of random numbers apart


def n_segments(n_frames: int, spec: FeatureSpec, recipe: Recipe) -> int:
    """How many segments a track of so many frames has."""
    if recipe.segments == "consecutive":
        return 1 + (n_frames - spec.n_frames) // spec.frames_between_segments
    return recipe.segments_per_track


def segment_starts(n_frames: int, content: str, spec: FeatureSpec, recipe: Recipe, *, epoch: int = 0) -> np.ndarray:
    """First frames of a track's segments, int64 [shape=(n_segments,)]; they depend on `epoch` if they are "fresh".

    Parameters
    ----------
    n_frames : frames of the track, at least `spec.n_frames`.
    content : the track's content hash, in hexadecimal.
    """
    n_starts = n_frames - spec.n_frames + 1
    if recipe.segments == "consecutive":
        return np.arange(0, n_starts, spec.frames_between_segments)
    drawn = epoch if recipe.segments == "fresh" else 0
    rng = np.random.default_rng([recipe.seed, _STARTS, int(content, 16), *([drawn] if drawn else [])])
    return rng.integers(0, n_starts, size=recipe.segments_per_track)


def cut(frames: np.ndarray, starts: np.ndarray, n_frames: int) -> np.ndarray:
    """The segments that begin at `starts`: [len(starts), n_bands, n_frames], frequency first, from [n, n_bands]."""
    rows = starts[:, None].astype(np.int64) + np.arange(n_frames)
    return np.asarray(frames[rows].transpose(0, 2, 1))


def batches(n: int, recipe: Recipe, epoch: int, room: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Indices of segments, a mini-batch at a time, every segment once, in an order of the epoch's own.

    room : uint32 [n], where that order is put.
    """
    order = np.empty(n, np.uint32) if room is None else room
    order[:1], order[1:] = 0, 1
    np.cumsum(order, out=order)
    np.random.default_rng([recipe.seed, _ORDER, epoch]).shuffle(order)
    for start in range(0, n, recipe.batch_size):
        yield order[start : start + recipe.batch_size]


def dropout_rng(seed: int, epoch: int) -> np.random.Generator:
    """What draws the dropout of an epoch, segment by segment."""
    return np.random.default_rng([seed, _DROPOUT, epoch])


def draw_kept(rng: np.random.Generator, n: int) -> np.ndarray:
    """Which units of the dense layer dropout keeps for each of the next n segments, bool [n, DENSE_UNITS]."""
    return np.asarray(rng.random((n, DENSE_UNITS), np.float32) >= DROPOUT_RATE)


@dataclass(frozen=True)
class Epoch:
    """One pass over the segments of a training, whatever computes it.

    frames : float32 [shape=(all frames, n_bands)]. starts : the first row of each segment, of n_frames rows.
    targets : the class of each segment. class_weights : of the losses, float32 [n_classes], or None.
    number : from 0. order_room : see batches.
    """

    frames: np.ndarray
    n_frames: int
    starts: np.ndarray
    targets: np.ndarray
    class_weights: np.ndarray | None
    recipe: Recipe
    number: int
    order_room: np.ndarray | None = None

    def batches(self) -> Iterator[np.ndarray]:
        """Indices of the segments of each mini-batch."""
        return batches(len(self.starts), self.recipe, self.number, self.order_room)

    def dropout_rng(self) -> np.random.Generator:
        return dropout_rng(self.recipe.seed, self.number)

    def weights(self, batch: np.ndarray) -> np.ndarray:
        """Of the losses of these segments, float32 [len(batch)]."""
        if self.class_weights is None:
            return np.ones(len(batch), np.float32)
        return np.asarray(self.class_weights[self.targets[batch]])
