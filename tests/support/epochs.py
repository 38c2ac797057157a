"""Epochs of ready segments, for tests of the engines."""

import numpy as np

from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import make_epoch


def epoch_of(segments, targets, *, number=0, class_weights=None, **recipe):
    """Make an epoch with every segment once; by default in a single mini-batch."""
    n, n_bands, n_frames = segments.shape
    frames = np.ascontiguousarray(segments.transpose(0, 2, 1)).reshape(-1, n_bands)
    recipe = Recipe(**{"batch_size": n, **recipe})
    starts = np.arange(n) * n_frames
    more = {"n_frames": n_frames, "number": number, "class_weights": class_weights}
    return make_epoch(frames, starts, np.asarray(targets), recipe, **more)


def train(network, segments, targets, **more):
    """Train one epoch; return the sum of the losses and the number of correct predictions."""
    results = list(network.train(epoch_of(segments, targets, **more)))
    assert sum(n for n, _, _ in results) == len(segments)
    return sum(loss for _, loss, _ in results), sum(right for _, _, right in results)
