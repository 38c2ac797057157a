"""Classifiers of views with a Gaussian kernel: scikit-learn fits them, and NumPy computes their decisions.

A classifier consists of arrays only, so that a classification needs no other library and no certain version of one.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mirex_submission.networks.kernel import softmax
from mirex_submission.training.projection import Projection

Arrays = dict[str, np.ndarray]
_AT_ONCE = 1 << 24  # values of the kernel: 128 MB


@dataclass(frozen=True, eq=False)
class KernelMachine(ABC):
    """A classifier of tracks by the similarities of their joined components to those of some training tracks.

    Parameters
    ----------
    projections : dict of str to Projection
        Projection of each view, in the order in which their components are joined.
    vectors : np.ndarray [shape=(n_vectors, n_components)]
        Joined components of the training tracks to compare with.
    gamma : float
        Width of the kernel: exp(-gamma * squared distance) is the similarity.
    temperature : float
        Divisor of the decisions before they become probabilities.
    """

    projections: dict[str, Projection]
    vectors: np.ndarray
    gamma: float
    temperature: float

    def decisions(self, views: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the decision values of all classes, [n_tracks, n_classes]; the greatest one wins.

        Parameters
        ----------
        views : mapping of str to np.ndarray
            View to the vectors of the tracks [n_tracks, n_columns].
        """
        joined = join(self.projections, views)
        n = max(1, _AT_ONCE // max(len(self.vectors), self._n_values, 1))
        blocks = [joined[k : k + n] for k in range(0, len(joined), n)]
        return np.concatenate([self._decisions(gaussian_kernel(x, self.vectors, self.gamma)) for x in blocks])

    @property
    @abstractmethod
    def _n_values(self) -> int:
        """Return how many values, beside the similarities, the decisions of a track need in memory."""

    @abstractmethod
    def _decisions(self, kernel: np.ndarray) -> np.ndarray:
        """Compute the decisions from similarities [n_tracks, n_vectors]."""

    @property
    @abstractmethod
    def description(self) -> str:
        """Return the kind and the size of the classifier, for the log."""

    def probabilities(self, views: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute class probabilities [n_tracks, n_classes], ordered as the decision values are."""
        return softmax(self.decisions(views) / self.temperature)

    def arrays(self) -> Arrays:
        """Return the whole classifier as named arrays, for storing."""
        own = {name: np.asarray(getattr(self, name)) for name in _names(type(self))}
        return own | {
            f"{view}/{name}": getattr(projection, name)
            for view, projection in self.projections.items()
            for name in _names(Projection)
        }


@dataclass(frozen=True, eq=False)
class SupportVectorMachine(KernelMachine):
    """One decision for each pair of classes; `vectors` are support vectors, class by class.

    Parameters
    ----------
    counts : np.ndarray [shape=(n_classes,), int64]
        Number of support vectors of each class.
    coefficients : np.ndarray [shape=(n_classes - 1, n_vectors)]
        Coefficients of each support vector in the decisions between its class and every other class.
    intercepts : np.ndarray [shape=(n_classes * (n_classes - 1) / 2,)]
        Intercepts of the pairs of classes, in the order (0, 1), (0, 2) and so on.

    References
    ----------
    C.-C. Chang and C.-J. Lin, "LIBSVM: a library for support vector machines", ACM Transactions on Intelligent Systems
    and Technology 2 (3), 2011.
    """

    counts: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray

    @property
    def description(self) -> str:
        """Return the kind and the size of the classifier, for the log."""
        return f"a support vector machine with {len(self.vectors)} support vectors"

    @property
    def _n_values(self) -> int:
        return len(self.counts) ** 2

    def _decisions(self, kernel: np.ndarray) -> np.ndarray:
        """Count the pairs that each class wins, and add its margin scaled to less than 1/3, as scikit-learn does."""
        n_tracks, n_classes = len(kernel), len(self.counts)
        # The contribution of the support vectors of each class to its decisions against every other class.
        sums = np.zeros((n_tracks, n_classes, n_classes))
        others, start = ~np.eye(n_classes, dtype=bool), 0
        for k, n in enumerate(self.counts.tolist()):
            sums[:, k, others[k]] = kernel[:, start : start + n] @ self.coefficients[:, start : start + n].T
            start += n
        a, b = np.triu_indices(n_classes, 1)  # the pairs, in the order of the intercepts
        between = sums[:, a, b] + sums[:, b, a] + self.intercepts
        sums[:, a, b], sums[:, b, a] = between, -between
        margins = sums.sum(axis=2)
        sums[:, a, b], sums[:, b, a] = between >= 0, between < 0
        return np.asarray(sums.sum(axis=2) + margins / (3 * (np.abs(margins) + 1)))


@dataclass(frozen=True, eq=False)
class LandmarkMachine(KernelMachine):
    """One decision for each class, linear in the similarities to landmarks, by Nystroem's method.

    Parameters
    ----------
    coefficients : np.ndarray [shape=(n_vectors, n_classes)]
    intercepts : np.ndarray [shape=(n_classes,)]

    References
    ----------
    C. K. I. Williams and M. Seeger, "Using the Nystroem method to speed up kernel machines", Advances in Neural
    Information Processing Systems 13, 2001.
    """

    coefficients: np.ndarray
    intercepts: np.ndarray

    @property
    def description(self) -> str:
        """Return the kind and the size of the classifier, for the log."""
        return f"least squares on the similarities to {len(self.vectors)} landmarks"

    @property
    def _n_values(self) -> int:
        return len(self.intercepts)

    def _decisions(self, kernel: np.ndarray) -> np.ndarray:
        return np.asarray(kernel @ self.coefficients + self.intercepts)


def of_arrays(arrays: Arrays, lengths: Mapping[str, int], n_classes: int) -> KernelMachine:
    """Make a classifier from its arrays.

    Parameters
    ----------
    arrays : dict of str to np.ndarray
        Result of `KernelMachine.arrays`.
    lengths : mapping of str to int
        Columns of each view, in the order in which they are joined.
    n_classes : int

    Raises
    ------
    ValueError
        The arrays are not those of such a machine.
    """
    kind = SupportVectorMachine if "counts" in arrays else LandmarkMachine
    names = {*_names(kind), *(f"{view}/{name}" for view in lengths for name in _names(Projection))}
    if arrays.keys() != names:
        raise ValueError("not the arrays of a classifier of these views")
    n_components = {view: arrays[f"{view}/components"].shape[-1:] for view in lengths}
    n = arrays["vectors"].shape[:1]
    shapes = {"vectors": (*n, sum(map(sum, n_components.values()))), "gamma": (), "temperature": ()}
    for view, length in lengths.items():
        shapes |= {f"{view}/{name}": (length,) for name in ("mean", "scale", "centre")}
        shapes[f"{view}/components"] = (length, *n_components[view])
    if kind is SupportVectorMachine:
        n_pairs = n_classes * (n_classes - 1) // 2
        shapes |= {"counts": (n_classes,), "coefficients": (n_classes - 1, *n), "intercepts": (n_pairs,)}
    else:
        shapes |= {"coefficients": (*n, n_classes), "intercepts": (n_classes,)}
    types = dict.fromkeys(shapes, np.dtype(np.float64)) | {"counts": np.dtype(np.int64)}
    fit = all(arrays[name].shape == shape and arrays[name].dtype == types[name] for name, shape in shapes.items())
    if not fit or not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("the arrays have other sizes or types than a classifier of these views")
    positive = ["gamma", "temperature", *(f"{view}/scale" for view in lengths)]
    counts = arrays.get("counts", np.array([*n]))
    if not all((arrays[name] > 0).all() for name in positive) or (counts < 0).any() or counts.sum() != n[0]:
        raise ValueError("the arrays have values that no classifier of these views has")
    projections = {view: Projection(*(arrays[f"{view}/{name}"] for name in _names(Projection))) for view in lengths}
    own: dict[str, Any] = {name: arrays[name] if arrays[name].ndim else arrays[name].item() for name in _names(kind)}
    return kind(projections, **own)


def join(projections: Mapping[str, Projection], views: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute the joined components of all views, [n_tracks, n_components]."""
    return np.concatenate([project(views[name]) for name, project in projections.items()], axis=1)


def gaussian_kernel(a: np.ndarray, b: np.ndarray, gamma: float) -> np.ndarray:
    """Compute exp(-gamma * squared distance) of each row of `a` and each row of `b`, [n_a, n_b]."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.exp(-gamma * np.maximum(squares, 0)))


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.name != "projections"]
