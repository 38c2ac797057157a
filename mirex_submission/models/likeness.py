"""Distance of a track to the nearest training track, in standard deviations of the features.

A track is described by the vectors of its views, or by mean and standard deviation of each Mel band.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirex_submission.features.spec import Spec, ViewSpec
from mirex_submission.features.store import Header
from mirex_submission.features.views import track_vector

LIKENESS = "likeness"  # its name among the weights of a model
MOST_TRACKS = 2000  # training tracks that a model keeps
_CLIP = 4.0  # standard deviations: a single outlying column must not decide


def descriptor(specs: Sequence[Spec], features: Sequence[tuple[Header, np.ndarray]]) -> np.ndarray:
    """Describe a track by its features, one for each spec, float64 [n_columns]."""
    parts = []
    for spec, (_, rows) in zip(specs, features, strict=True):
        if isinstance(spec, ViewSpec):
            parts.append(track_vector(rows).astype(np.float64))
        else:
            parts += [rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)]
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Likeness:
    """Training tracks to compare with.

    Parameters
    ----------
    mean, scale : np.ndarray [shape=(n_columns,), float64]
        Mean and standard deviation of the columns, for the standardisation.
    vectors : np.ndarray [shape=(n_tracks, n_columns), float32]
        Standardised descriptors of training tracks.
    groups : np.ndarray [shape=(n_tracks,), int64]
        Group of each of these tracks.
    distances : np.ndarray [shape=(n_tracks,), float64]
        Distance from each track to the nearest one of another group; infinite if all are of one group.
    """

    mean: np.ndarray
    scale: np.ndarray
    vectors: np.ndarray
    groups: np.ndarray
    distances: np.ndarray

    @classmethod
    def fit(cls, descriptors: np.ndarray, groups: Sequence[int]) -> Likeness:
        """Standardise descriptors [n_tracks, n_columns] and measure the distances between groups."""
        of_tracks = np.asarray(groups, np.int64)
        scale = descriptors.std(axis=0)
        scale[scale == 0] = 1.0
        empty = cls(descriptors.mean(axis=0), scale, np.empty(0), of_tracks, np.empty(0))
        vectors = empty._standardised(descriptors)
        x = vectors.astype(np.float64)
        lengths = np.square(x).sum(axis=1)
        squares = np.maximum(lengths[:, None] + lengths - 2 * x @ x.T, 0) / x.shape[1]
        squares[of_tracks[:, None] == of_tracks] = np.inf
        return dataclasses.replace(empty, vectors=vectors, distances=np.sqrt(squares.min(axis=1)))

    def distance(self, described: np.ndarray) -> float:
        """Return the root mean square difference, over the columns, between a descriptor and the nearest one."""
        squares = np.square(self.vectors - self._standardised(described)).mean(axis=1, dtype=np.float64)
        return float(np.sqrt(squares.min()))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all fields as named arrays, for storing."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def _standardised(self, described: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip((described - self.mean) / self.scale, -_CLIP, _CLIP), np.float32)


def of_arrays(arrays: dict[str, np.ndarray]) -> Likeness:
    """Make a Likeness from the result of `Likeness.arrays`. Raises ValueError if the arrays are invalid."""
    types = {
        "mean": np.float64,
        "scale": np.float64,
        "vectors": np.float32,
        "groups": np.int64,
        "distances": np.float64,
    }
    if arrays.keys() != types.keys() or any(array.dtype != types[name] for name, array in arrays.items()):
        raise ValueError("not the arrays of training tracks to compare with")
    n, columns = len(arrays["groups"]), arrays["mean"].shape
    shapes = {"mean": columns, "scale": columns, "vectors": (n, *columns), "groups": (n,), "distances": (n,)}
    if not n or len(columns) != 1 or any(array.shape != shapes[name] for name, array in arrays.items()):
        raise ValueError("the arrays have other sizes than those of training tracks to compare with")
    finite = all(np.isfinite(arrays[name]).all() for name in ("mean", "scale", "vectors"))
    if not finite or not (arrays["scale"] > 0).all() or not (arrays["distances"] >= 0).all():
        raise ValueError("the arrays have values that training tracks to compare with cannot have")
    return Likeness(**arrays)
