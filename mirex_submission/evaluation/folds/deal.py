"""Deal groups to folds so that each fold has an equal share of each class.

Groups are moved and swapped until nothing brings the classes' shares nearer to equal, from several starts.
scikit-learn's StratifiedGroupKFold, one greedy pass over the groups in the order of the deviation of their class
counts, does as well where there are many groups or each is of one class. Of 199 random collections of 5 to 8 groups of
several classes (an artist's moods) it left a class out of a fold that could have had it in 15 %, this in 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_STARTS = 10


def deal(sizes: np.ndarray, n_folds: int, *, seed: Sequence[int]) -> np.ndarray:
    """Deal groups to folds: the best of several deals.

    The best has the fewest classes missing from a fold, then the smallest sum over folds and classes of the squared
    deviation of the fold's share of the class from an equal one. All tracks together count as one class more, which
    keeps the folds' sizes alike.

    Parameters
    ----------
    sizes : np.ndarray [shape=(n_groups, n_classes)]
        Tracks of each class in each group.
    n_folds : int
        At most as many as groups.
    seed : sequence of int
        Seed of the starts.

    Returns
    -------
    np.ndarray [shape=(n_groups,), dtype=int]
        The fold of each group.
    """
    sizes = np.column_stack([sizes, sizes.sum(axis=1)])
    weights = 1 / sizes.sum(axis=0) ** 2
    deals: list[tuple[int, float, int, np.ndarray]] = []
    for start in range(N_STARTS):
        rng = np.random.default_rng([*seed, start])
        # Like groups follow each other, so that already this deal gives every fold as many of them.
        order = np.lexsort((rng.random(len(sizes)), *sizes.T))
        fold_of = np.empty(len(sizes), np.intp)
        fold_of[order] = (np.arange(len(sizes)) + rng.integers(n_folds)) % n_folds
        totals = _improve(sizes, fold_of, n_folds, weights)
        cost = round(float((totals**2 @ weights).sum()), 9)
        deals.append((int(np.count_nonzero(totals == 0)), cost, start, fold_of))
    return min(deals, key=lambda deal: deal[:3])[3]


def _improve(sizes: np.ndarray, fold_of: np.ndarray, n_folds: int, weights: np.ndarray) -> np.ndarray:
    """Move groups to other folds, or swap two, in `fold_of`, while that lowers the sum of weighted squared totals.

    Returns the totals, [shape=(n_folds, n_classes)].
    """
    weighted = sizes * weights
    own = (weighted * sizes).sum(axis=1)
    totals = np.stack([sizes[fold_of == k].sum(axis=0) for k in range(n_folds)])
    improved = True
    while improved:
        improved = False
        pull = _pulls(weighted, totals, fold_of)
        for i in range(len(sizes)):
            here = fold_of[i]
            # Rounded, so that what is equal on paper is a tie on any machine.
            move = np.where(np.arange(n_folds) == here, 0, pull[i] + own[i]).round(12)
            swap = pull[i, fold_of] + pull[:, here] + own[i] + own - 2 * (sizes @ weighted[i])
            swap = np.where(fold_of == here, 0, swap).round(12)
            to, other = int(move.argmin()), int(swap.argmin())
            if min(move[to], swap[other]) >= 0:
                continue
            improved = True
            moved = sizes[i]
            if swap[other] < move[to]:
                to, moved = fold_of[other], sizes[i] - sizes[other]
                fold_of[other] = here
            fold_of[i] = to
            totals[here] -= moved
            totals[to] += moved
            pull = _pulls(weighted, totals, fold_of)
    return totals


def _pulls(weighted: np.ndarray, totals: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Compute half of what each group adds to each fold's cost, less that of its own [shape=(n_groups, n_folds)]."""
    cost: np.ndarray = weighted @ totals.T
    cost -= cost[np.arange(len(fold_of)), fold_of][:, None]
    return cost
