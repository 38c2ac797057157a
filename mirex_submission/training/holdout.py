"""Choice of the held-out tracks for --patience and --calibrate: whole groups, of every class if possible."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import numpy as np

from mirex_submission.errors import UsageError, coded

log = logging.getLogger(__name__)

SHARE = 10  # --patience holds out one track in ten
CALIBRATION_SHARE = 5  # --calibrate holds out one track in five


def held_out(
    labels: Sequence[str],
    contents: Sequence[str],
    groups: Sequence[str],
    *,
    seed: int,
    share: int = SHARE,
    option: str = "--patience",
) -> np.ndarray:
    """Hold out a share of the tracks, of as many classes as possible; no group and no audio is on both sides.

    Parameters
    ----------
    labels, contents, groups : sequences of str
        Label, content hash, and group, such as the artist, of each track. The order of the tracks has no influence.
    seed : int
        Random seed.
    share : int
        One track in `share` is held out.
    option : str
        Option that needs held-out tracks, for the message.

    Returns
    -------
    np.ndarray
        Whether each track is held out, bool [n_tracks].

    Raises
    ------
    UsageError
        No choice leaves every class some tracks to train on.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    whole = joined(contents, groups)
    order = sorted(range(len(labels)), key=lambda k: (contents[k], labels[k]))
    y = [labels[k] for k in order]
    n_parts = min(share, max(labels.count(label) for label in set(labels)), len(set(whole)))
    parts = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed) if n_parts > 1 else None
    with warnings.catch_warnings():
        # scikit-learn warns of classes with fewer tracks than parts; classes without a held-out track are logged below.
        warnings.simplefilter("ignore")
        splits = list(parts.split(y, y, [whole[k] for k in order])) if parts else []
    possible = [part for trained, part in splits if {y[k] for k in trained} == set(labels) and len(part)]
    if not possible:
        raise UsageError(
            f"{option}: no tracks can be held out: any choice would split a group or leave a class without training "
            f"tracks: give more groups, or leave out {option}",
            code="training.hold-out",
        )
    out = np.zeros(len(labels), bool)
    out[[order[k] for k in max(possible, key=lambda part: len({y[k] for k in part}))]] = True
    absent = sorted(set(labels) - {label for label, held in zip(labels, out, strict=True) if held})
    if absent:
        text = f"no held-out track of class {', '.join(map(repr, absent))}"
        log.warning("%s", coded(text, code="training.no-held-out-class"))
    return out


def joined(contents: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return a group name for each track; tracks of the same group or of the same content share a name."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [np.unique(values, return_inverse=True)[1] for values in (contents, groups)]
    n = [int(pair.max()) + 1 for pair in pairs]
    graph = coo_array((np.ones(len(contents)), (pairs[0], n[0] + pairs[1])), shape=(sum(n), sum(n)))
    component = connected_components(graph, directed=False)[1][pairs[0]]
    # A name comes from the contents of the group, so that the order of the list has no influence.
    smallest: dict[int, str] = {}
    for k, content in zip(component.tolist(), contents, strict=True):
        smallest[k] = min(smallest.get(k, content), content)
    return [smallest[k] for k in component.tolist()]
