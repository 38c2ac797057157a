"""Sets of labels that hold the truth with a given probability: split conformal prediction by groups.

The held-out tracks come in groups, such as artists, whose tracks are alike. So groups, not tracks, are the independent
samples: each of n groups has the weight 1 / (n + 1), which its tracks share. The same weight remains for the group of a
new track.

References
----------
M. Sadinle, J. Lei and L. Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", Journal of the
American Statistical Association 114, 2019: a label belongs to the set if its probability is high enough.
R. Dunn, L. Wasserman and A. Ramdas, "Distribution-free prediction sets for two-layer hierarchical models", Journal of
the American Statistical Association 118, 2023; Y. Lee, R. F. Barber and R. Willett, "Distribution-free inference with
hierarchical data", arXiv:2306.06342, 2023: the weights of groups.
T. Cordier and others, "Flexible and systematic uncertainty estimation with conformal prediction via the MAPIE library",
Conformal and Probabilistic Prediction with Applications, 2023: the same sets without groups, there named "lac".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

UNLIKE_SHARE = 0.1  # share of the permitted errors for tracks like the training that are taken for unlike
_ROUNDING = 1e-9  # rounding error of sums of weights


@dataclass(frozen=True)
class SetRule:
    """A rule for the labels in the set of a track.

    Parameters
    ----------
    highest_score : float
        Highest score of a label in the set, where the score is 1 - its probability; infinite: the set has all labels.
    farthest : float
        Greatest distance to the nearest training track; the set of a track beyond it is empty.
    """

    highest_score: float
    farthest: float

    @classmethod
    def fit(
        cls,
        scores: Sequence[float],
        score_groups: Sequence[int],
        distances: Sequence[float],
        distance_groups: Sequence[int],
        confidence: float,
    ) -> SetRule:
        """Choose the rule whose set lacks the true label of a new track with probability 1 - confidence at most.

        The new track is of a new group. A tenth of the permitted errors is for tracks that are taken for unlike the
        training. If there are too few groups for a tenth, the share of one group is used instead. If too few errors
        then remain for the labels, no track is taken for unlike.

        Parameters
        ----------
        scores : sequence of float
            1 - the probability of the true label, for each held-out track.
        distances : sequence of float
            Distance from each training and held-out track to the nearest training track of another group.
        score_groups, distance_groups : sequences of int
            Group of each score and of each distance.
        confidence : float
            Between 0 and 1.
        """
        errors = 1 - confidence
        group_weight = 1 / (len(set(score_groups)) + 1)
        unlike = max(UNLIKE_SHARE * errors, 1 / (len(set(distance_groups)) + 1))
        # With too few held-out groups a set has all labels, which is never wrong.
        left = errors if errors < group_weight - _ROUNDING else errors - group_weight
        if unlike > left + _ROUNDING:
            unlike = 0.0
        return cls(
            grouped_quantile(scores, score_groups, confidence + unlike),
            grouped_quantile(distances, distance_groups, 1 - unlike) if unlike else math.inf,
        )

    def choose(self, probabilities: np.ndarray, predicted: int, distance: float) -> np.ndarray:
        """Return which labels are in the set of a track, bool [n_classes].

        Parameters
        ----------
        probabilities : np.ndarray [shape=(n_classes,)]
        predicted : int
            The predicted class, which is in every set that is not empty.
        distance : float
            Distance to the nearest training track.
        """
        if distance > self.farthest:
            return np.zeros(len(probabilities), bool)
        chosen = 1 - probabilities <= self.highest_score
        chosen[predicted] = True
        return chosen


def grouped_quantile(values: Sequence[float], groups: Sequence[int], level: float) -> float:
    """Return the smallest value that a new value of a new group exceeds with probability 1 - level at most.

    The result is infinite if there are too few groups for this level: n groups allow levels up to n / (n + 1).
    """
    _, group_of, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / (counts[group_of] * (len(counts) + 1))
    order = np.argsort(values, kind="stable")
    k = int(np.searchsorted(np.cumsum(weights[order]), level - _ROUNDING))
    return float(np.asarray(values)[order[k]]) if k < len(order) else math.inf
