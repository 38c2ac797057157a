"""Tasks for classifiers of views: overlapping classes of random vectors."""

import numpy as np


def view_task(n_classes, n_tracks, *, seed=0, sizes=(30, 12)):
    """Return views of tracks whose classes overlap ({view: vectors}), targets, and groups of two tracks."""
    means, rng = np.random.default_rng(9), np.random.default_rng(seed)
    y = np.arange(n_tracks) % n_classes
    views = {
        f"view{k}": (means.normal(size=(n_classes, n)) * 0.4)[y] + rng.normal(size=(n_tracks, n))
        for k, n in enumerate(sizes)
    }
    return {name: x.astype(np.float32) for name, x in views.items()}, y, [str(k // 2) for k in range(n_tracks)]
