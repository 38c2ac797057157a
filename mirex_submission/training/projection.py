"""Projection of the vectors of a view to a few components of comparable size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_CLIP = 4.0  # standard deviations: an outlier must not decide a component
MOST_COMPONENTS = 200
_LEAST_VARIANCE = 1e-10  # of a component, relative to the first one: less is a rounding error
_AT_ONCE = 4096  # tracks: float64 copies of all would fill the memory


@dataclass(frozen=True, eq=False)
class Projection:
    """Standardisation, clipping and principal components of one view.

    Parameters
    ----------
    mean, scale : np.ndarray [shape=(n_columns,)]
        Mean and standard deviation of the columns, for the standardisation.
    centre : np.ndarray [shape=(n_columns,)]
        Mean of the standardised and clipped columns.
    components : np.ndarray [shape=(n_columns, n_components)]
        Principal axes; each is divided by the fourth root of its variance, and all by one number such that the squared
        distance of two training tracks is 1 on average.
    """

    mean: np.ndarray
    scale: np.ndarray
    centre: np.ndarray
    components: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray) -> Projection:
        """Fit a projection to the vectors of the training tracks [n_tracks, n_columns]."""
        n_tracks, n_columns = vectors.shape
        mean, scale = vectors.mean(axis=0, dtype=float), vectors.std(axis=0, dtype=float)
        scale[scale == 0] = 1.0
        unfitted = cls(mean, scale, np.zeros(n_columns), np.empty(0))
        centre = sum((block.sum(axis=0) for block in unfitted._clipped(vectors)), np.zeros(n_columns)) / n_tracks
        centred = cls(mean, scale, centre, unfitted.components)
        if n_tracks > n_columns:
            covariance = sum((x.T @ x for x in centred._clipped(vectors)), np.zeros((n_columns, n_columns)))
            squares, axes = np.linalg.eigh(covariance)
            squares, axes = squares[::-1], axes.T[::-1]
        else:
            _, singular, axes = np.linalg.svd(np.concatenate(list(centred._clipped(vectors))), full_matrices=False)
            squares = singular**2
        n = min(MOST_COMPONENTS, n_tracks - 1)
        variances = squares[:n] / max(n_tracks - 1, 1)
        kept = variances > _LEAST_VARIANCE * variances.max(initial=0.0)
        if not kept.any():  # all tracks are equal
            return cls(mean, scale, centre, np.zeros((n_columns, 1)))
        variances, axes = variances[kept], axes[:n][kept]
        axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]  # signs are arbitrary
        spread = np.sqrt(2 * np.sqrt(variances).sum())
        return cls(mean, scale, centre, (axes / variances[:, None] ** 0.25).T / spread)

    def _clipped(self, vectors: np.ndarray) -> Iterator[np.ndarray]:
        """Yield standardised, clipped and centred vectors, block by block."""
        blocks = (vectors[k : k + _AT_ONCE] for k in range(0, len(vectors), _AT_ONCE))
        return (np.clip((x - self.mean) / self.scale, -_CLIP, _CLIP) - self.centre for x in blocks)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Compute the components [n_tracks, n_components] of vectors [n_tracks, n_columns]."""
        return np.concatenate([x @ self.components for x in self._clipped(vectors)])
