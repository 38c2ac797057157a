"""Training of the classifier of views: scikit-learn fits a support vector machine, which held-out tracks calibrate.

References
----------
C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017: temperature
scaling.
J. Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers, MIT Press, 1999.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mirex_submission.errors import coded
from mirex_submission.training.kernel_machine import (
    KernelMachine,
    LandmarkMachine,
    SupportVectorMachine,
    gaussian_kernel,
    join,
)
from mirex_submission.training.projection import Projection

log = logging.getLogger(__name__)

MOST_TRACKS = 20_000  # for a support vector machine, whose fit takes time that grows with their square
MOST_CLASSES = 200  # for a support vector machine, which decides between every two classes
N_LANDMARKS = 2000
_FOLDS = 5  # of the calibration
_TUNING_FOLDS = 3
_GRID_C = (1.0, 3.0, 10.0)
_GRID_GAMMA = (0.25, 0.5, 1.0, 2.0)  # factors of the recipe's gamma
_MOST_CALIBRATED = 1 << 22  # decision values for the calibration: tracks times classes
_AT_ONCE = 4096  # tracks: the similarities of all to the landmarks would fill the memory

Views = Mapping[str, np.ndarray]


def fit(
    views: Views, targets: Sequence[int], groups: Sequence[str], *, c: float, gamma: float, seed: int = 0
) -> KernelMachine:
    """Fit a classifier, and calibrate its probabilities on tracks that are held out in turn.

    The classifier is a support vector machine. For more than MOST_TRACKS tracks or MOST_CLASSES classes it is instead
    linear in the similarities to N_LANDMARKS tracks.

    Parameters
    ----------
    views : mapping of str to np.ndarray
        View to the vectors of the training tracks [n_tracks, n_columns].
    targets : sequence of int
        Class of each track; every class from 0 to n_classes - 1 has at least one track.
    groups : sequence of str
        Group of each track; all tracks of a group are held out together.
    c, gamma : float
        Penalty of errors, and width of the kernel.
    seed : int
        Seed of the folds and of the landmarks.
    """
    y = np.asarray(targets)
    is_large = _is_large(y)
    machine = _fit(views, y, c, gamma, seed, is_large=is_large)
    decisions, truth = [np.empty((0, int(y.max()) + 1))], [y[:0]]
    n_most = max(1, _MOST_CALIBRATED // (_FOLDS * decisions[0].shape[1]))
    for trained, held_out in _folds(y, groups, _FOLDS, seed):
        present, part_targets = np.unique(y[trained], return_inverse=True)
        if len(present) > 1:
            held = np.random.default_rng(seed).permutation(held_out)[:n_most]
            part = _fit(_rows(views, trained), part_targets, c, gamma, seed, is_large=is_large)
            part_decisions = part.decisions(_rows(views, held))
            all_decisions = np.repeat(part_decisions.min(axis=1, keepdims=True) - 1, decisions[0].shape[1], axis=1)
            all_decisions[:, present] = part_decisions  # a class without tracks in this part is below all others
            decisions.append(all_decisions)
            truth.append(y[held])
    if len(truth) == 1:
        text = "there are too few groups or classes to hold out tracks: the probabilities are not calibrated"
        log.warning("%s", coded(text, code="training.not-calibrated"))
        return machine
    return dataclasses.replace(machine, temperature=temperature(np.concatenate(decisions), np.concatenate(truth)))


def tuned(
    views: Views, targets: Sequence[int], groups: Sequence[str], *, c: float, gamma: float, seed: int = 0
) -> tuple[float, float]:
    """Choose c and gamma from a grid of 12 pairs: the pair that classifies most held-out tracks correctly.

    Among equally good pairs, the one with the smaller c wins, then the one with the smaller gamma. If no pair
    classifies a held-out track correctly, the given pair stays. The arguments are those of `fit`.
    """
    y = np.asarray(targets)
    is_large = _is_large(y)
    folds = list(_folds(y, groups, _TUNING_FOLDS, seed))
    n_right = dict.fromkeys(itertools.product(_GRID_C, (gamma * factor for factor in _GRID_GAMMA)), 0)
    for penalty, width in n_right:
        for trained, held in folds:
            present, part_targets = np.unique(y[trained], return_inverse=True)
            if len(present) > 1:
                part = _fit(_rows(views, trained), part_targets, penalty, width, seed, is_large=is_large)
                decided = present[part.decisions(_rows(views, held)).argmax(axis=1)]
                n_right[penalty, width] += int((decided == y[held]).sum())
    if not any(n_right.values()):
        text = f"tuning: no held-out track was classified correctly, so C {c:g} and gamma {gamma:g} stay"
        log.warning("%s", coded(text, code="training.not-tuned"))
        return c, gamma
    for (penalty, width), n in n_right.items():
        log.info("tuning: C %g, gamma %g: %d of %d held-out tracks are correct", penalty, width, n, len(y))
    return max(n_right, key=n_right.__getitem__)  # the first of equal ones


def _rows(views: Views, chosen: np.ndarray) -> Views:
    return {name: vectors[chosen] for name, vectors in views.items()}


def _is_large(y: np.ndarray) -> bool:
    """Return whether a training uses landmarks; its parts must do the same, for decisions of the same scale."""
    return len(y) > MOST_TRACKS or y.max() >= MOST_CLASSES


def _fit(views: Views, y: np.ndarray, c: float, gamma: float, seed: int, *, is_large: bool) -> KernelMachine:
    projections = {name: Projection.fit(vectors) for name, vectors in views.items()}
    joined = join(projections, views)
    if is_large:
        return _fit_landmarks(projections, joined, y, c, gamma, seed)
    from sklearn.svm import SVC

    svc = SVC(C=c, gamma=gamma).fit(joined, y)
    sign = -1 if len(svc.classes_) == 2 else 1  # scikit-learn negates the decision between two classes
    return SupportVectorMachine(
        projections, svc.support_vectors_, gamma, 1.0, svc.n_support_.astype(np.int64), sign * svc.dual_coef_,
        sign * svc.intercept_,
    )  # fmt: skip


def _fit_landmarks(
    projections: dict[str, Projection], joined: np.ndarray, y: np.ndarray, c: float, gamma: float, seed: int
) -> LandmarkMachine:
    """Fit least squares in the space that the landmarks span; c is the penalty of errors, as in the exact classifier.

    All classes share one decomposition, so that ten thousand classes cost little more than ten. The result is as good
    as linear support vector machines on the same features (docs/recipes.md).
    """
    from scipy import sparse

    landmarks = joined[np.sort(np.random.default_rng(seed).permutation(len(joined))[:N_LANDMARKS])]
    similar = gaussian_kernel(landmarks, landmarks, gamma)
    counts = np.bincount(y)
    shares = counts / len(y)
    targets = sparse.csr_array((np.ones(len(y)), (np.arange(len(y)), y)))
    gram, sums = np.zeros(similar.shape), np.zeros((len(landmarks), len(counts)))
    column_sums = np.zeros(len(landmarks))
    for k in range(0, len(y), _AT_ONCE):
        kernel = gaussian_kernel(joined[k : k + _AT_ONCE], landmarks, gamma)
        gram += kernel.T @ kernel
        column_sums += kernel.sum(axis=0)
        sums += (targets[k : k + _AT_ONCE].T @ kernel).T
    mean = column_sums / len(y)
    # Centre the similarities, and the targets, which are 1 for a track's class and 0 for all others.
    gram -= len(y) * np.outer(mean, mean)
    sums -= np.outer(column_sums, shares)
    ridge = similar / c
    ridge[np.diag_indices_from(ridge)] += 1e-8 * len(y)
    coefficients = np.linalg.solve(gram + ridge, sums)
    return LandmarkMachine(projections, landmarks, gamma, 1.0, coefficients, shares - mean @ coefficients)


def _folds(y: np.ndarray, groups: Sequence[str], n_folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedGroupKFold

    n = min(n_folds, len(set(groups)), int(np.bincount(y).max()))
    if n > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of classes with fewer tracks than folds
            yield from StratifiedGroupKFold(n, shuffle=True, random_state=seed).split(y, y, groups)


def temperature(decisions: np.ndarray, y: np.ndarray) -> float:
    """Return the temperature that minimises the cross-entropy of decisions [n_tracks, n_classes] and true classes `y`.

    The targets are slightly below 1 and above 0, as Platt proposes, so that probabilities are not exactly 1 and 0 after
    a training without errors.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    n, n_classes = decisions.shape
    other_target = 1 / ((n + 2) * max(n_classes - 1, 1))

    def loss(log_temperature: float) -> float:
        logs = log_softmax(decisions / np.exp(log_temperature), axis=1)
        true_logs = logs[np.arange(n), y]
        return float(-((n + 1) / (n + 2) * true_logs + other_target * (logs.sum(axis=1) - true_logs)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-8.0, 4.0), method="bounded").x))
