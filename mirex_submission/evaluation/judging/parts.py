"""Further figures, which MIREX does not publish, for all tracks, each fold and each stratum, with bootstrap intervals.

Figures of the predictions: accuracy and balanced accuracy (mean recall of the classes in the part). Figures of the
probabilities, over the tracks for which they are known: top-2 accuracy, log loss, Brier score (sum over the classes of
squared differences, 0 to 2), expected calibration error and one-vs-rest AUROC (mean over the classes in the part; a
class that all tracks of the part belong to is left out). The calibration error compares the largest probability of a
track with the correctness of that class, in N_BINS equally wide bins, closed on the right.

References
----------
Guo et al. 2017, "On calibration of modern neural networks". DeLong et al. 1988, "Comparing the areas under two or more
correlated receiver operating characteristic curves".
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mirex_submission.evaluation.judging.metrics import CONFIDENCE, accuracy_interval, widened, wilson_interval
from mirex_submission.protocol.outputs import NO_PREDICTION

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "top2_accuracy": "top-2 accuracy",
    "log_loss": "log loss",
    "brier_score": "Brier score",
    "calibration_error": "calibration error",
    "auroc": "AUROC",
}
_BOUNDS = {"log_loss": (0.0, -float(np.log(np.finfo(float).eps))), "brier_score": (0.0, 2.0)}  # all others: 0 to 1
SHARES = ("accuracy", "balanced_accuracy", "top2_accuracy", "calibration_error")  # from 0 to 1, shown in %
N_BINS = 15
# Bootstrap resamples: normally, at least, and the number of drawn clusters in all above which there are fewer.
N_DRAWS, _LEAST_DRAWS, _MOST_DRAWN = 1000, 200, 10_000_000
_DRAWS_AT_ONCE = 40
_Interval = tuple[float, float]
_Statistic = Callable[[np.ndarray], np.ndarray]  # weights [shape=(n_tests, n_draws)] to the figure of each draw


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % intervals from resampled tracks and from resampled groups (None without groups)."""

    value: float
    by_track: _Interval
    by_group: _Interval | None


@dataclass(frozen=True)
class Bin:
    """A bin of the reliability curve: tracks whose largest probability is above low and not above high."""

    low: float
    high: float
    n_tracks: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Part:
    """The figures of a system over a part of the tests.

    Parameters
    ----------
    kind, name : str
        Type of the part (all tests, a fold or a stratum), and its name.
    n_tracks : int
        Denominator of the accuracy: as at MIREX, all tests of a fold, and otherwise the tests with a prediction.
    n_known : int
        Number of tests whose probabilities are known.
    figures : dict of str to Figure
        The FIGURES that are defined.
    reliability : list of Bin
        The bins that are not empty.
    """

    kind: Literal["all", "fold", "stratum"]
    name: str
    n_tracks: int
    n_known: int
    figures: dict[str, Figure]
    reliability: list[Bin]


@dataclass(frozen=True)
class Answers:
    """The predictions of a system for its tests.

    Parameters
    ----------
    truth, predicted : np.ndarray [shape=(n_tests,), dtype=int64]
        Class numbers; NO_PREDICTION where there is none.
    probabilities : np.ndarray [shape=(n_tests, n_classes)] or None
        Rows of NaN where they are not known.
    tracks : np.ndarray [shape=(n_tests,), dtype=int64]
        Number of the track of each test.
    groups : np.ndarray [shape=(n_tests,), dtype=int64] or None
        Number of its group.
    """

    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None
    tracks: np.ndarray
    groups: np.ndarray | None

    def of(self, chosen: np.ndarray) -> Answers:
        """Select tests by a mask or by indices."""
        return Answers(*(None if values is None else values[chosen] for values in vars(self).values()))  # type: ignore[arg-type]

    def clusters(self) -> list[np.ndarray]:
        """Return the clusters of the bootstrap: tracks, and groups if they are known."""
        return [self.tracks] if self.groups is None else [self.tracks, self.groups]


def judge_parts(
    tests: Answers, folds: Sequence[tuple[str, int]], strata: Sequence[tuple[str, np.ndarray]], *, seed: int
) -> list[Part]:
    """Compute the figures of all tests, of each fold and of each stratum.

    Parameters
    ----------
    tests : Answers
        All tests of a system, fold after fold.
    folds : sequence of (str, int)
        Name of each fold and number of its tests.
    strata : sequence of (str, np.ndarray [shape=(n_tests,), dtype=bool])
        Name of each stratum, and a mask of its tests.
    seed : int
        Seed of the draws.

    Returns
    -------
    list of Part
    """
    parts = [judge_part(tests, "all", "", seed=seed)]
    start = 0
    for name, n_tests in folds if len(folds) > 1 else ():
        parts.append(judge_part(tests.of(np.arange(start, start + n_tests)), "fold", name, seed=seed))
        start += n_tests
    return parts + [judge_part(tests.of(mask), "stratum", name, seed=seed) for name, mask in strata]


def judge_part(tests: Answers, kind: Literal["all", "fold", "stratum"], name: str, *, seed: int) -> Part:
    """Compute the figures of a part.

    Parameters
    ----------
    tests : Answers
        The tests of the part.
    kind, name : str
        Type and name of the part.
    seed : int
        Seed of the draws.

    Returns
    -------
    Part
    """
    counted = tests if kind == "fold" else tests.of(tests.predicted != NO_PREDICTION)
    right = counted.predicted == counted.truth
    figures = _interval_of_share("accuracy", right, counted, seed) if len(right) else {}
    figures |= _resampled(dict(_of_predictions(counted)), counted, seed)
    part = Part(kind, name, len(right), 0, figures, [])
    if tests.probabilities is None:
        return part
    known = tests.of(~np.isnan(tests.probabilities[:, 0]))
    if not len(known.truth):
        return part
    likeliest = np.argsort(np.asarray(known.probabilities), axis=1, kind="stable")[:, -2:]
    is_second = (likeliest == known.truth[:, None]).any(axis=1)
    figures |= _interval_of_share("top2_accuracy", is_second, known, seed)
    figures |= _resampled(dict(_of_probabilities(known)), known, seed)
    figures = {figure: figures[figure] for figure in FIGURES if figure in figures}
    return replace(part, n_known=len(known.truth), figures=figures, reliability=_reliability(known))


def _interval_of_share(name: str, right: np.ndarray, tests: Answers, seed: int) -> dict[str, Figure]:
    intervals = [accuracy_interval(right, clusters, seed=seed) for clusters in tests.clusters()]
    return {name: Figure(float(right.mean()), intervals[0], intervals[1] if len(intervals) > 1 else None)}


def _of_predictions(tests: Answers) -> Iterator[tuple[str, tuple[float, _Statistic]]]:
    """Yield the figures of the predictions, each with its value and the function that computes it for resamples."""
    from scipy.sparse import csr_array
    from sklearn.metrics import recall_score

    n = len(tests.truth)
    if not n:
        return
    classes, column = np.unique(tests.truth, return_inverse=True)
    right = (tests.predicted == tests.truth).astype(float)
    value = recall_score(tests.truth, tests.predicted, labels=classes, average="macro", zero_division=0)
    of_class = csr_array((np.ones(n), (column, np.arange(n))))
    right_of_class = csr_array((right, (column, np.arange(n))))

    def balanced(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nanmean((right_of_class @ weights) / (of_class @ weights), axis=0))

    yield "balanced_accuracy", (float(value), balanced)


def _of_probabilities(tests: Answers) -> Iterator[tuple[str, tuple[float, _Statistic]]]:
    """Yield the figures of the probabilities, each with its value and the function that computes it for resamples."""
    from scipy.sparse import csr_array
    from sklearn.metrics import log_loss, roc_auc_score

    p, truth, n = tests.probabilities, tests.truth, len(tests.truth)
    assert p is not None
    rows, smallest = np.arange(n), np.finfo(p.dtype).eps  # the same clipping as in scikit-learn
    losses = -np.log(np.clip(p[rows, truth], smallest, 1 - smallest))
    squares = (p**2).sum(axis=1) - 2 * p[rows, truth] + 1
    yield "log_loss", (log_loss(truth, p, labels=range(p.shape[1])), lambda w: losses @ w / w.sum(axis=0))
    yield "brier_score", (float(squares.mean()), lambda w: squares @ w / w.sum(axis=0))
    place, confidence, right = _calibration(tests)
    gaps = csr_array((confidence - right, (place, rows)), shape=(N_BINS, n))

    def calibration_error(weights: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(gaps @ weights).sum(axis=0) / weights.sum(axis=0))

    yield "calibration_error", (float(calibration_error(np.ones((n, 1)))[0]), calibration_error)
    classes = [k for k in np.unique(truth).tolist() if not (truth == k).all()]
    if classes:
        value = float(np.mean([roc_auc_score(truth == k, p[:, k]) for k in classes]))
        yield "auroc", (value, _auroc(truth, p, classes, value))


def _auroc(truth: np.ndarray, p: np.ndarray, classes: list[int], value: float) -> _Statistic:
    """Return the mean AUROC of resamples, to first order: its value plus DeLong's component of each test.

    From 60 tests on, the intervals differ by at most 0.001 from those of an exact AUROC for each resample, which would
    take a thousand times longer.
    """
    from scipy.stats import rankdata

    adds = np.zeros(len(truth))
    for k in classes:
        own = truth == k
        ranks = rankdata(p[:, k])
        n_own, n_others = int(own.sum()), int((~own).sum())
        below = (ranks[own] - rankdata(p[own, k])) / n_others
        above = 1 - (ranks[~own] - rankdata(p[~own, k])) / n_own
        adds[own] += (below - below.mean()) / n_own
        adds[~own] += (above - above.mean()) / n_others
    adds /= len(classes)
    return lambda weights: np.minimum(value + adds @ weights, 1.0)


def _resampled(figures: dict[str, tuple[float, _Statistic]], tests: Answers, seed: int) -> dict[str, Figure]:
    """Resample whole tracks, and whole groups if they are known, and compute the intervals of all figures."""
    intervals: dict[str, list[_Interval]] = {name: [] for name in figures}
    for clusters in tests.clusters() if figures else []:
        draws: dict[str, list[np.ndarray]] = {name: [] for name in figures}
        for weights in _weights(clusters, seed):
            for name, (_, statistic) in figures.items():
                draws[name].append(statistic(weights))
        for name, of_figure in draws.items():
            ends = np.nanquantile(np.concatenate(of_figure), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
            intervals[name].append(_interval(name, figures[name][0], ends, len(np.unique(clusters))))
    return {
        name: Figure(value, intervals[name][0], intervals[name][1] if len(intervals[name]) > 1 else None)
        for name, (value, _) in figures.items()
    }


def _interval(name: str, value: float, ends: Sequence[float], n_clusters: int) -> _Interval:
    if name not in _BOUNDS and ends[0] == ends[1]:  # a share without spread: few and equal clusters
        return wilson_interval(value * n_clusters, n_clusters)
    return widened((ends[0], ends[1]), value, n_clusters, _BOUNDS.get(name, (0.0, 1.0)), confidence=CONFIDENCE)


def _weights(clusters: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks of weights, float64 [shape=(n_tests, n_draws)]: how often each test is in each resample."""
    _, cluster = np.unique(clusters, return_inverse=True)
    counts = _counts(int(cluster.max()) + 1, seed)
    for start in range(0, counts.shape[1], _DRAWS_AT_ONCE):
        yield counts[:, start : start + _DRAWS_AT_ONCE].astype(float)[cluster]


@functools.lru_cache(maxsize=4)  # all systems have the same tests
def _counts(n: int, seed: int) -> np.ndarray:
    """Draw n of n clusters many times and return how often each is drawn, uint8 [shape=(n, n_draws)]."""
    rng = np.random.default_rng(seed)
    n_draws = max(min(N_DRAWS, _MOST_DRAWN // n), _LEAST_DRAWS)
    counts = np.empty((n, n_draws), np.uint8)
    for k in range(n_draws):
        counts[:, k] = np.bincount(rng.integers(n, size=n, dtype=np.int32), minlength=n)
    return counts


def _calibration(tests: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each test its bin, its largest probability, and whether that class is correct."""
    assert tests.probabilities is not None
    confidence = tests.probabilities.max(axis=1)
    right = tests.probabilities.argmax(axis=1) == tests.truth
    return np.searchsorted(np.linspace(0, 1, N_BINS + 1)[1:-1], confidence, side="left"), confidence, right


def _reliability(tests: Answers) -> list[Bin]:
    place, confidence, right = _calibration(tests)
    counts = np.bincount(place, minlength=N_BINS)
    sums = np.bincount(place, confidence, minlength=N_BINS), np.bincount(place, right, minlength=N_BINS)
    return [
        Bin(k / N_BINS, (k + 1) / N_BINS, int(counts[k]), float(sums[0][k] / counts[k]), float(sums[1][k] / counts[k]))
        for k in np.flatnonzero(counts).tolist()
    ]
