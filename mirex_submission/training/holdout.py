"""Which training tracks are held out, to see when a training has learned what it can: whole groups of every class."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import numpy as np

from mirex_submission.errors import UsageError, coded

log = logging.getLogger(__name__)

SHARE = 10  # one track in so many is held out


def held_out(labels: Sequence[str], contents: Sequence[str], groups: Sequence[str], *, seed: int) -> np.ndarray:
    """Bool [shape=(n_tracks,)]: a share of as many classes as can be, no group and no audio on both sides.

    contents : each track's content hash. groups : such as its artist.

    The tracks' order decides nothing. Raises UsageError if no such part leaves every class some tracks to train on.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    whole = _joined(contents, groups)
    order = sorted(range(len(labels)), key=lambda k: (contents[k], labels[k]))
    y = [labels[k] for k in order]
    n_parts = min(SHARE, max(labels.count(label) for label in set(labels)), len(set(whole)))
    parts = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed) if n_parts > 1 else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer tracks than parts: what matters of it is said below
        splits = list(parts.split(y, y, [whole[k] for k in order])) if parts else []
    possible = [out for trained, out in splits if {y[k] for k in trained} == set(labels) and len(out)]
    if not possible:
        raise UsageError(
            "--patience: no tracks can be held out such that no group is on both sides and every class keeps some to "
            "train on: give more groups, or leave out --patience",
            code="training.hold-out",
        )
    found = np.zeros(len(labels), bool)
    found[[order[k] for k in max(possible, key=lambda out: len({y[k] for k in out}))]] = True
    absent = sorted(set(labels) - {label for label, held in zip(labels, found, strict=True) if held})
    if absent:
        text = f"no held-out track of class {', '.join(map(repr, absent))}"
        log.warning("%s", coded(text, code="training.no-held-out-class"))
    return found


def _joined(contents: Sequence[str], groups: Sequence[str]) -> list[str]:
    """For each track a name that it shares with all that it must stay with, by group or by content."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [np.unique(values, return_inverse=True)[1] for values in (contents, groups)]
    n = [int(pair.max()) + 1 for pair in pairs]
    graph = coo_array((np.ones(len(contents)), (pairs[0], n[0] + pairs[1])), shape=(sum(n), sum(n)))
    component = connected_components(graph, directed=False)[1][pairs[0]]
    # Named by what it holds, not by the order of the list.
    smallest: dict[int, str] = {}
    for k, content in zip(component.tolist(), contents, strict=True):
        smallest[k] = min(smallest.get(k, content), content)
    return [smallest[k] for k in component.tolist()]
