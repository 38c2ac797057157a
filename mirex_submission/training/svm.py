"""The classifier of views: each is standardised and compressed, and a support vector machine decides.

scikit-learn fits it. What is kept are arrays, from which NumPy alone computes the same decisions, so that a
classification loads no other library and a model can be read for as long as arrays can.

References
----------
C.-C. Chang and C.-J. Lin, "LIBSVM: a library for support vector machines", ACM Transactions on Intelligent Systems and
Technology 2 (3), 2011: one decision for each pair of classes.
C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017: temperature
scaling.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mirex_submission.networks.kernel import softmax

Arrays = dict[str, np.ndarray]

_CLIP = 4.0  # standard deviations: an outlier must not decide a component
_MOST_COMPONENTS = 200
_LEAST_VARIANCE = 1e-10  # of a component, as a share of the first one's: less is rounding
_FOLDS = 5  # of the calibration
_AT_ONCE = 1 << 24  # values of the kernel: 128 MB


@dataclass(frozen=True, eq=False)
class Projection:
    """How the vectors of one view become components.

    Parameters
    ----------
    mean, scale : np.ndarray [shape=(n_columns,)]
        Of the standardisation.
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
        """Fit it to the vectors of the training tracks [n_tracks, n_columns]."""
        mean, scale = vectors.mean(axis=0, dtype=float), vectors.std(axis=0, dtype=float)
        scale[scale == 0] = 1.0
        clipped = np.clip((vectors - mean) / scale, -_CLIP, _CLIP)
        centre = clipped.mean(axis=0)
        _, singular, axes = np.linalg.svd(clipped - centre, full_matrices=False)
        n = min(_MOST_COMPONENTS, len(vectors) - 1)
        variances = singular[:n] ** 2 / max(len(vectors) - 1, 1)
        kept = variances > _LEAST_VARIANCE * variances.max(initial=0.0)
        if not kept.any():  # all tracks are equal
            return cls(mean, scale, centre, np.zeros((vectors.shape[1], 1)))
        variances, axes = variances[kept], axes[:n][kept]
        axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]  # else chance decides
        spread = np.sqrt(2 * np.sqrt(variances).sum())
        return cls(mean, scale, centre, (axes / variances[:, None] ** 0.25).T / spread)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Compute the components [n_tracks, n_components] of vectors [n_tracks, n_columns]."""
        return np.asarray((np.clip((vectors - self.mean) / self.scale, -_CLIP, _CLIP) - self.centre) @ self.components)


@dataclass(frozen=True, eq=False)
class SupportVectorMachine:
    """A support vector machine with a Gaussian kernel on the joined components of views.

    Parameters
    ----------
    projections : dict of str to Projection
        Of each view, in the order in which their components are joined.
    vectors : np.ndarray [shape=(n_vectors, n_components)]
        Support vectors, class by class.
    counts : np.ndarray [shape=(n_classes,), int64]
        Number of support vectors of each class.
    coefficients : np.ndarray [shape=(n_classes - 1, n_vectors)]
        Of each support vector, in the decisions between its class and each other one.
    intercepts : np.ndarray [shape=(n_classes * (n_classes - 1) / 2,)]
        Of the pairs of classes, (0, 1) first, then (0, 2).
    gamma : float
        exp(-gamma * squared distance) is the kernel.
    temperature : float
        By which decisions are divided before they become probabilities.
    """

    projections: dict[str, Projection]
    vectors: np.ndarray
    counts: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    gamma: float
    temperature: float = 1.0

    def decisions(self, views: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute how strongly each class is chosen, [n_tracks, n_classes].

        It is the number of pairs of classes that a class wins, and a part below 1/3 for how clearly, as scikit-learn
        counts them.

        Parameters
        ----------
        views : mapping of str to np.ndarray
            View to the vectors of the tracks [n_tracks, n_columns].
        """
        joined = np.concatenate([project(views[name]) for name, project in self.projections.items()], axis=1)
        n = max(1, _AT_ONCE // max(len(self.vectors), 1))
        return np.concatenate([self._decisions(joined[k : k + n]) for k in range(0, len(joined), n)])

    def _decisions(self, joined: np.ndarray) -> np.ndarray:
        squares = (joined**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1) - 2 * joined @ self.vectors.T
        kernel = np.exp(-self.gamma * np.maximum(squares, 0))
        ends = np.cumsum(self.counts)
        # Of each class' own vectors, to the decisions between it and each other class.
        sums = [
            kernel[:, end - n : end] @ self.coefficients[:, end - n : end].T
            for n, end in zip(self.counts.tolist(), ends.tolist(), strict=True)
        ]
        n_classes = len(self.counts)
        wins, margins = np.zeros((len(joined), n_classes)), np.zeros((len(joined), n_classes))
        for (a, b), intercept in zip(itertools.combinations(range(n_classes), 2), self.intercepts, strict=True):
            margin = sums[a][:, b - 1] + sums[b][:, a] + intercept
            margins[:, a] += margin
            margins[:, b] -= margin
            wins[:, a] += margin >= 0
            wins[:, b] += margin < 0
        return np.asarray(wins + margins / (3 * (np.abs(margins) + 1)))

    def probabilities(self, views: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute class probabilities [n_tracks, n_classes]; the greatest is that of the class that is decided."""
        return softmax(self.decisions(views) / self.temperature)

    def arrays(self) -> Arrays:
        """Return all of it as named arrays, for storing."""
        own = {name: np.asarray(getattr(self, name)) for name in _OWN}
        return own | {
            f"{view}/{name}": getattr(projection, name)
            for view, projection in self.projections.items()
            for name in _OF_PROJECTION
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], views: Sequence[str]) -> SupportVectorMachine:
        """Make it of what `arrays` returned, with the views in their order."""
        projections = {view: Projection(*(arrays[f"{view}/{name}"] for name in _OF_PROJECTION)) for view in views}
        own: dict[str, Any] = {name: arrays[name] if arrays[name].ndim else arrays[name].item() for name in _OWN}
        return cls(projections, **own)


_OWN = ("vectors", "counts", "coefficients", "intercepts", "gamma", "temperature")
_OF_PROJECTION = ("mean", "scale", "centre", "components")


def fit(
    views: Mapping[str, np.ndarray], targets: Sequence[int], groups: Sequence[str], *, c: float, gamma: float
) -> SupportVectorMachine:
    """Fit a support vector machine, and calibrate its probabilities on tracks that are held out in turn.

    Parameters
    ----------
    views : mapping of str to np.ndarray
        View to the vectors of the training tracks [n_tracks, n_columns].
    targets : sequence of int
        Class of each track; each of 0 to n_classes - 1 has one track or more.
    groups : sequence of str
        Group of each track: groups are held out whole.
    c, gamma : float
        Penalty of errors, and width of the kernel.
    """
    y = np.asarray(targets)
    machine = _fit(views, y, c, gamma)
    decisions = np.full((len(y), int(y.max()) + 1), np.nan)
    for trained, held in _folds(y, groups):
        present, of_present = np.unique(y[trained], return_inverse=True)
        if len(present) > 1:
            part = _fit({name: vectors[trained] for name, vectors in views.items()}, of_present, c, gamma)
            decisions[held] = -1.0  # below every class that the part knows
            decisions[np.ix_(held, present)] = part.decisions({name: vectors[held] for name, vectors in views.items()})
    tested = ~np.isnan(decisions).any(axis=1)
    temperature = _temperature(decisions[tested], y[tested]) if tested.any() else machine.temperature
    return SupportVectorMachine(**{**vars(machine), "temperature": temperature})


def _fit(views: Mapping[str, np.ndarray], y: np.ndarray, c: float, gamma: float) -> SupportVectorMachine:
    from sklearn.svm import SVC

    projections = {name: Projection.fit(vectors) for name, vectors in views.items()}
    joined = np.concatenate([project(views[name]) for name, project in projections.items()], axis=1)
    svc = SVC(C=c, gamma=gamma).fit(joined, y)
    sign = -1 if len(svc.classes_) == 2 else 1  # scikit-learn turns the decision between two classes around
    return SupportVectorMachine(
        projections, svc.support_vectors_, svc.n_support_.astype(np.int64), sign * svc.dual_coef_,
        sign * svc.intercept_, gamma,
    )  # fmt: skip


def _folds(y: np.ndarray, groups: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedGroupKFold

    n = min(_FOLDS, len(set(groups)), int(np.bincount(y).max()))
    if n > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes with fewer tracks than folds
            yield from StratifiedGroupKFold(n).split(y, y, groups)


def _temperature(decisions: np.ndarray, y: np.ndarray) -> float:
    """Return the temperature with the least cross-entropy."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        probabilities = softmax(decisions / np.exp(log_temperature))
        return float(-np.log(np.maximum(probabilities[np.arange(len(y)), y], np.finfo(float).tiny)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))
