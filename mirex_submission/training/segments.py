"""Choice and order of segments: functions of the seed, the track's content and the epoch.

The order of a list, the path of the audio and the number of threads have no influence. A segment is a slice of the
track's frames, so overlapping segments need no memory of their own.
"""

from __future__ import annotations

import numpy as np

from mirex_submission.features.spec import FeatureSpec
from mirex_submission.networks.epoch import Epoch
from mirex_submission.training.recipe import Recipe

_STARTS, _ORDER, _DROPOUT = 1, 2, 3  # first numbers of the seeds of three separate random streams


def n_segments(n_frames: int, spec: FeatureSpec, recipe: Recipe) -> int:
    """Count the segments of a track of `n_frames` frames."""
    if recipe.segments == "consecutive":
        return 1 + (n_frames - spec.n_frames) // spec.frames_between_segments
    return recipe.segments_per_track


def segment_starts(n_frames: int, content: str, spec: FeatureSpec, recipe: Recipe, *, epoch: int = 0) -> np.ndarray:
    """Draw the first frames of a track's segments.

    Parameters
    ----------
    n_frames : int
        Frames of the track, at least `spec.n_frames`.
    content : str
        The track's content hash, in hexadecimal.
    spec : FeatureSpec
        Size of a segment.
    recipe : Recipe
        How segments are chosen, and the seed.
    epoch : int
        Number of the epoch, from 0; it matters for "fresh" segments only.

    Returns
    -------
    np.ndarray
        int64 [n_segments].
    """
    n_starts = n_frames - spec.n_frames + 1
    if recipe.segments == "consecutive":
        return np.arange(0, n_starts, spec.frames_between_segments)
    n_draw = epoch if recipe.segments == "fresh" else 0
    rng = np.random.default_rng([recipe.seed, _STARTS, int(content, 16), *([n_draw] if n_draw else [])])
    return rng.integers(0, n_starts, size=recipe.segments_per_track)


def draw_order(n: int, recipe: Recipe, epoch: int, room: np.ndarray | None = None) -> np.ndarray:
    """Draw the order in which an epoch goes through its segments.

    Parameters
    ----------
    n : int
        Number of segments.
    recipe : Recipe
        Recipe with the seed.
    epoch : int
        Number of the epoch, from 0.
    room : np.ndarray, optional
        Array to write the order to, uint32 [n].

    Returns
    -------
    np.ndarray
        A permutation of 0 .. n - 1, uint32 [n].
    """
    order = np.empty(n, np.uint32) if room is None else room
    order[:1], order[1:] = 0, 1
    np.cumsum(order, out=order)
    np.random.default_rng([recipe.seed, _ORDER, epoch]).shuffle(order)
    return order


def make_epoch(
    frames: np.ndarray,
    starts: np.ndarray,
    targets: np.ndarray,
    recipe: Recipe,
    *,
    n_frames: int,
    number: int = 0,
    class_weights: np.ndarray | None = None,
    room: np.ndarray | None = None,
) -> Epoch:
    """Make the epoch of this number, from 0: its order and its dropout are drawn from the recipe's seed.

    See `Epoch` for the arrays and `draw_order` for `room`.
    """
    order = draw_order(len(starts), recipe, number, room)
    seed = recipe.seed, _DROPOUT, number
    return Epoch(frames, n_frames, starts, targets, class_weights, order, recipe.batch_size, recipe.learning_rate, seed)
