"""Significance tests for the differences between systems.

MIREX publishes Friedman's ANOVA with the Tukey-Kramer HSD (NEMA runs Matlab's `friedman` and `multcompare`) on a table
with one row per class or fold and one column per system. McNemar's test compares two systems track by track.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """Mean rank of the first system minus that of the second, with its simultaneous 95 % interval."""

    first: str
    second: str
    low: float
    mean: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """True if the interval does not contain 0, which is the evaluator's rule."""
        return self.low * self.high > 0


@dataclass(frozen=True)
class Comparison:
    """Friedman's test over a table, and the Tukey-Kramer HSD of each pair of systems.

    mean_ranks : {system: mean rank}, best mean score first; rank 1 is the lowest score of a row.
    critical_difference : two systems differ significantly if their mean ranks differ by more. The interval of a system
        is its mean rank plus and minus half of it, so that two systems differ if their intervals do not overlap.
    """

    n_rows: int
    mean_ranks: dict[str, float]
    chi_square: float
    p: float
    critical_difference: float
    differences: list[Difference]

    @property
    def warning(self) -> str | None:
        """Warning that the table has too few rows to detect differences, or None."""
        largest = len(self.mean_ranks) - 1
        if self.critical_difference < largest / 2:
            return None
        text = (
            f"with {self.n_rows} rows and {len(self.mean_ranks)} systems, two systems differ significantly only if "
            f"their mean ranks differ by more than {self.critical_difference:.2f} (the largest possible difference is "
            f"{largest})"
        )
        if self.critical_difference >= largest:
            return f"{text}: no difference can be significant"
        return f"{text}: real differences may not be significant"


def friedman_tkhsd(scores: np.ndarray, systems: Sequence[str]) -> Comparison:
    """Compute Friedman's ANOVA, corrected for ties, with the Tukey-Kramer HSD at ALPHA between all pairs.

    Ranks of tied scores are averaged. sigma^2 is the mean over rows of the variance of the ranks (ddof 1). Without ties
    it is k (k + 1) / 12, and the HSD is Nemenyi's test. q = |difference of mean ranks| / (sigma / sqrt(n_rows)) follows
    the studentised range distribution of k groups with infinite degrees of freedom. Hollander, Wolfe and Chicken 2014,
    "Nonparametric Statistical Methods", 7.1 and 7.3; Matlab's `multcompare` of a `friedman` result.

    scores : float [shape=(n_rows, n_systems)], at least two systems; higher is better.
    """
    from scipy import stats

    order = np.argsort(-scores.mean(axis=0), kind="stable")
    scores, systems = scores[:, order], [systems[k] for k in order]
    n_rows, k = scores.shape
    ranks = stats.rankdata(scores, axis=1)
    means = ranks.mean(axis=0)
    variance = float(ranks.var(axis=1, ddof=1).mean())
    error = np.sqrt(variance / n_rows)
    # If all scores of every row are equal, the variance is 0 and no difference is significant.
    chi_square = n_rows * float(((means - means.mean()) ** 2).sum()) / variance if variance else 0.0
    critical = float(stats.studentized_range.ppf(1 - ALPHA, k, np.inf) * error)
    pairs = list(combinations(range(k), 2))
    gaps = np.array([means[i] - means[j] for i, j in pairs])
    p_values = stats.studentized_range.sf(np.abs(gaps) / error, k, np.inf) if variance else np.ones(len(pairs))
    return Comparison(
        n_rows=n_rows,
        mean_ranks=dict(zip(systems, means.tolist(), strict=True)),
        chi_square=chi_square,
        p=float(stats.chi2.sf(chi_square, k - 1)),
        critical_difference=critical,
        differences=[
            Difference(systems[i], systems[j], float(gap - critical), float(gap), float(gap + critical), float(p))
            for (i, j), gap, p in zip(pairs, gaps, p_values, strict=True)
        ],
    )


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two systems.

    n_only_first, n_only_second : numbers of tracks on which only the first, or only the second, system is correct.
    p : two-sided p-value. p_holm : p after Holm's correction for the number of compared pairs.
    """

    first: str
    second: str
    n_only_first: int
    n_only_second: int
    p: float
    p_holm: float


def mcnemar(right: np.ndarray, systems: Sequence[str]) -> list[McNemar]:
    """Compute McNemar's test for each pair of systems, always with the exact binomial distribution.

    right : bool [shape=(n_tracks, n_systems)], each track once, because the test needs independent tracks.
    """
    from scipy import stats

    pairs = list(combinations(range(len(systems)), 2))
    only = [(int((right[:, i] & ~right[:, j]).sum()), int((right[:, j] & ~right[:, i]).sum())) for i, j in pairs]
    p_values = [float(stats.binomtest(a, a + b).pvalue) if a + b else 1.0 for a, b in only]
    return [
        McNemar(systems[i], systems[j], a, b, p, p_holm)
        for (i, j), (a, b), p, p_holm in zip(pairs, only, p_values, _holm(p_values), strict=True)
    ]


def _holm(p_values: Sequence[float]) -> list[float]:
    """Adjust by Holm's step-down method: p times the number of remaining hypotheses, made monotonic, at most 1."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(order), 0, -1))
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in adjusted]
