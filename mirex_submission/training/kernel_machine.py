"""Classifiers of views with a Gaussian kernel, of arrays alone: NumPy computes what scikit-learn has fitted.

So a classification loads no other library, and a model can be read for as long as arrays can.
"""

from __future__ import annotations

import dataclasses
import itertools
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
    """A decision on the joined components of views, from their similarities to some training tracks.

    Parameters
    ----------
    projections : dict of str to Projection
        Of each view, in the order in which their components are joined.
    vectors : np.ndarray [shape=(n_vectors, n_components)]
        Joined components of the training tracks that the similarities are to.
    gamma : float
        exp(-gamma * squared distance) is the similarity.
    temperature : float
        By which decisions are divided before they become probabilities.
    """

    projections: dict[str, Projection]
    vectors: np.ndarray
    gamma: float
    temperature: float

    def decisions(self, views: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute how strongly each class is chosen, [n_tracks, n_classes].

        Parameters
        ----------
        views : mapping of str to np.ndarray
            View to the vectors of the tracks [n_tracks, n_columns].
        """
        joined = join(self.projections, views)
        n = max(1, _AT_ONCE // max(len(self.vectors), 1))
        blocks = [joined[k : k + n] for k in range(0, len(joined), n)]
        return np.concatenate([self._decisions(gaussian_kernel(x, self.vectors, self.gamma)) for x in blocks])

    @abstractmethod
    def _decisions(self, kernel: np.ndarray) -> np.ndarray:
        """Compute the decisions from similarities [n_tracks, n_vectors]."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is and how large, for the log."""

    def probabilities(self, views: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute class probabilities [n_tracks, n_classes]; the greatest is that of the class that is decided."""
        return softmax(self.decisions(views) / self.temperature)

    def arrays(self) -> Arrays:
        """Return all of it as named arrays, for storing."""
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
        Of each support vector, in the decisions between its class and each other one.
    intercepts : np.ndarray [shape=(n_classes * (n_classes - 1) / 2,)]
        Of the pairs of classes, (0, 1) first, then (0, 2).

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
        """What it is and how large, for the log."""
        return f"a support vector machine with {len(self.vectors)} support vectors"

    def _decisions(self, kernel: np.ndarray) -> np.ndarray:
        """Count the pairs of classes that each class wins, and add less than 1/3 for how clearly, as scikit-learn."""
        ends = np.cumsum(self.counts)
        # Of each class' own vectors, to the decisions between it and each other class.
        sums = [
            kernel[:, end - n : end] @ self.coefficients[:, end - n : end].T
            for n, end in zip(self.counts.tolist(), ends.tolist(), strict=True)
        ]
        n_tracks, n_classes = len(kernel), len(self.counts)
        wins, margins = np.zeros((n_tracks, n_classes)), np.zeros((n_tracks, n_classes))
        for (a, b), intercept in zip(itertools.combinations(range(n_classes), 2), self.intercepts, strict=True):
            margin = sums[a][:, b - 1] + sums[b][:, a] + intercept
            margins[:, a] += margin
            margins[:, b] -= margin
            wins[:, a] += margin >= 0
            wins[:, b] += margin < 0
        return np.asarray(wins + margins / (3 * (np.abs(margins) + 1)))


@dataclass(frozen=True, eq=False)
class LandmarkMachine(KernelMachine):
    """One decision for each class, linear in the similarities to landmarks, as Nystroem's method gives it.

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
        """What it is and how large, for the log."""
        return f"least squares on the similarities to {len(self.vectors)} landmarks"

    def _decisions(self, kernel: np.ndarray) -> np.ndarray:
        return np.asarray(kernel @ self.coefficients + self.intercepts)


def of_arrays(arrays: Arrays, lengths: Mapping[str, int], n_classes: int) -> KernelMachine:
    """Make the machine of what its `arrays` returned.

    Parameters
    ----------
    arrays : dict of str to np.ndarray
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
    if arrays.keys() != names or not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("not the arrays of a classifier of these views")
    projections = {view: Projection(*(arrays[f"{view}/{name}"] for name in _names(Projection))) for view in lengths}
    own: dict[str, Any] = {name: arrays[name] if arrays[name].ndim else arrays[name].item() for name in _names(kind)}
    machine = kind(projections, **own)
    n = len(machine.vectors)
    shapes = {"coefficients": (n, n_classes), "intercepts": (n_classes,)}
    if isinstance(machine, SupportVectorMachine):
        shapes = {"coefficients": (n_classes - 1, n), "intercepts": (n_classes * (n_classes - 1) // 2,)}
        shapes["counts"] = (n_classes,)
    n_components = sum(projection.components.shape[1] for projection in projections.values())
    fits = all(arrays[name].shape == shape for name, shape in shapes.items())
    fits &= all(len(projections[view].components) == length for view, length in lengths.items())
    if not fits or machine.vectors.shape != (n, n_components):
        raise ValueError("arrays of other sizes than those of a classifier of these views")
    return machine


def join(projections: Mapping[str, Projection], views: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute the joined components of all views, [n_tracks, n_components]."""
    return np.concatenate([project(views[name]) for name, project in projections.items()], axis=1)


def gaussian_kernel(a: np.ndarray, b: np.ndarray, gamma: float) -> np.ndarray:
    """Compute exp(-gamma * squared distance) of each row of `a` and each row of `b`, [n_a, n_b]."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.exp(-gamma * np.maximum(squares, 0)))


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.name != "projections"]
