"""Accuracy and confusion matrices as the organisers' evaluator (NEMA's `ClassificationEvaluator`) counts; intervals.

Conventions: labels are class numbers from 0; a track without a prediction has NO_PREDICTION. Confusion matrices are
integer arrays [shape=(n_classes, n_classes)] whose rows are predictions and whose columns are the truth: the transpose
of scikit-learn's. A track without a prediction is in no cell: it counts as wrong in its fold, and not at all overall.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirex_submission.protocol.outputs import NO_PREDICTION

CONFIDENCE = 0.95
N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Score:
    """The figures of one fold, or of all folds together.

    Parameters
    ----------
    confusion : np.ndarray [shape=(n_classes, n_classes), dtype=int64]
        Counts, predictions by truth.
    n_tracks : np.ndarray [shape=(n_classes,), dtype=int64]
        Number of tracks of each class, the denominator of its recall.
    """

    confusion: np.ndarray
    n_tracks: np.ndarray

    @property
    def accuracy(self) -> float:
        """Correct predictions over tracks; 0 without tracks, where the evaluator would divide by 0."""
        return float(np.trace(self.confusion)) / max(int(self.n_tracks.sum()), 1)

    @property
    def recalls(self) -> np.ndarray:
        """Recall of each class, float64 [shape=(n_classes,)]; 0 for a class without tracks."""
        return np.asarray(np.diagonal(self.confusion) / np.maximum(self.n_tracks, 1))

    @property
    def normalised_accuracy(self) -> float:
        """Mean of the recalls over all classes of the task, including classes that the fold lacks."""
        # Added one by one, as the evaluator does: another order of summation can change the last digit.
        return float(np.cumsum(self.recalls)[-1]) / len(self.recalls)


def fold_score(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> Score:
    """Score one fold, out of all tracks of its test list.

    Parameters
    ----------
    truth, predicted : np.ndarray [shape=(n_tracks,), dtype=int]
        Class numbers; NO_PREDICTION where the system gave none.
    n_classes : int
        Number of classes of the task.

    Returns
    -------
    Score
    """
    answered = predicted != NO_PREDICTION
    confusion = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(confusion, (predicted[answered], truth[answered]), 1)
    return Score(confusion, np.bincount(truth, minlength=n_classes))


def overall_score(folds: Sequence[Score]) -> Score:
    """Sum the confusion matrices of all folds, so that only tracks with a prediction count."""
    confusion = np.sum([fold.confusion for fold in folds], axis=0)
    return Score(confusion, confusion.sum(axis=0))


def most_confused(counts: np.ndarray, n_most: int) -> list[tuple[int, int, int]]:
    """Return the most frequent confusions of a matrix: number of tracks, predicted class and true class."""
    wrong = counts - np.diag(counts.diagonal())
    places = np.argsort(-wrong, axis=None, kind="stable")[:n_most]
    pairs = [divmod(int(place), len(wrong)) for place in places]
    return [(int(wrong[pair]), *pair) for pair in pairs if wrong[pair]]


def wilson_interval(n_right: float, n_tests: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's interval of the share of correct tests among independent tests; (0, 1) without tests.

    References
    ----------
    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not n_tests:
        return 0.0, 1.0
    share, z2 = n_right / n_tests, _quantile(confidence) ** 2 / n_tests
    middle, reach = share + z2 / 2, math.sqrt(max(share * (1 - share), 0.0) * z2 + z2**2 / 4)
    low, high = (middle - reach) / (1 + z2), (middle + reach) / (1 + z2)
    return (max(low, 0.0) if share > 0 else 0.0), (
        min(high, 1.0) if share < 1 else 1.0
    )  # rounding must not exclude the share itself


def _quantile(confidence: float) -> float:
    return statistics.NormalDist().inv_cdf((1 + confidence) / 2)


def widened(
    interval: tuple[float, float], value: float, n_clusters: int, bounds: tuple[float, float], *, confidence: float
) -> tuple[float, float]:
    """Widen a bootstrap interval around its value by the factor of Student's t for the number of clusters.

    A few clusters underestimate their spread. With a single cluster the interval is all possible values, from
    `bounds[0]` to `bounds[1]`.

    References
    ----------
    Cameron, Gelbach and Miller 2008, "Bootstrap-based improvements for inference with clustered errors".
    """
    if n_clusters < 2:
        return bounds
    factor = _student(n_clusters - 1, confidence) / _quantile(confidence) * math.sqrt(n_clusters / (n_clusters - 1))
    low, high = (value + factor * (end - value) for end in interval)
    return max(low, bounds[0]), min(high, bounds[1])


@functools.lru_cache
def _student(degrees: int, confidence: float) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, degrees))


def accuracy_interval(
    right: np.ndarray, clusters: np.ndarray, *, seed: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Estimate the interval of an accuracy: Wilson's interval, or a bootstrap if clusters have several tests.

    Clusters of equal size in which all tests have the same result count as single tests, with Wilson's interval. The
    same holds for clusters with equal shares of correct tests, as all resamples of the bootstrap would be equal.

    Parameters
    ----------
    right : np.ndarray [shape=(n_tests,), dtype=bool]
        Whether each prediction is correct.
    clusters : np.ndarray [shape=(n_tests,), dtype=int]
        Cluster of each test: its track, or the group of its track.
    seed : int
        Seed of the bootstrap.
    confidence : float
        Confidence of the interval.

    Returns
    -------
    (float, float)
        Lower and upper bound; (0, 1) without tests.
    """
    _, cluster, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    n_right = np.bincount(cluster, right, minlength=len(sizes))
    are_single = (sizes == sizes[:1]).all() and ((n_right == 0) | (n_right == sizes)).all()
    if are_single or np.ptp(n_right / sizes) == 0:
        share = float(right.mean()) if len(right) else 0.0
        return wilson_interval(share * len(sizes), len(sizes), confidence=confidence)
    return bootstrap_interval(right, clusters, seed=seed, confidence=confidence)


def difference_interval(right: np.ndarray, clusters: np.ndarray, *, seed: int) -> tuple[float, float]:
    """Estimate the 95 % interval of the first accuracy minus the second, for two systems on the same tests.

    The interval is a bootstrap over whole clusters. If the systems agree on every test, the bootstrap has no width: the
    interval then extends to both sides by the upper end of Wilson's interval for 0 successes in as many tests as there
    are clusters (in this case Tango's score interval). The same holds if all clusters show the same difference.

    Parameters
    ----------
    right : np.ndarray [shape=(n_tests, 2), dtype=bool]
        Whether the prediction of each of the two systems is correct.
    clusters : np.ndarray [shape=(n_tests,), dtype=int]
        Cluster of each test: its track, or the group of its track.
    seed : int
        Seed of the bootstrap.

    References
    ----------
    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design".
    """
    differences = right[:, 0].astype(int) - right[:, 1]
    low, high = bootstrap_interval(differences, clusters, seed=seed, bounds=(-1.0, 1.0))
    if low == high:
        reach = wilson_interval(0, len(np.unique(clusters)))[1]
        return max(low - reach, -1.0), min(high + reach, 1.0)
    return low, high


def bootstrap_interval(
    right: np.ndarray,
    tracks: np.ndarray,
    *,
    seed: int,
    confidence: float = CONFIDENCE,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tuple[float, float]:
    """Estimate the interval of a mean of integers by the percentile bootstrap over whole tracks, then widen it.

    A track that several folds or repeats test is one cluster and is drawn as a whole: a repeated test is no new
    evidence. See `widened`.

    Parameters
    ----------
    right : np.ndarray [shape=(n_tests,), dtype=bool or int]
        Whether each prediction is correct, or the difference of this between two systems.
    tracks : np.ndarray [shape=(n_tests,), dtype=int]
        Track, or group of tracks, of each test.
    seed : int
        Seed of the bootstrap.
    confidence : float
        Confidence of the interval.
    bounds : (float, float)
        Smallest and largest possible value of the mean.

    Returns
    -------
    (float, float)
        Lower and upper bound; `bounds` without tests.

    References
    ----------
    Field and Welsh 2007, "Bootstrapping clustered data": the randomised cluster bootstrap.
    """
    if not len(right):
        return bounds
    _, cluster = np.unique(tracks, return_inverse=True)
    tallies = np.stack([np.bincount(cluster, right), np.bincount(cluster)], axis=1)
    # Tracks with equal tallies are interchangeable: it is enough to draw how often each tally occurs.
    _, first, n_alike = np.unique(tallies @ [2 * len(right) + 1, 1], return_index=True, return_counts=True)
    distinct = tallies[first]
    drawn = np.random.default_rng(seed).multinomial(len(tallies), n_alike / len(tallies), size=N_RESAMPLES)
    n_right, n_tests = (drawn @ distinct).T
    low, high = np.quantile(n_right / n_tests, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return widened((low, high), float(np.mean(right)), len(tallies), bounds, confidence=confidence)
