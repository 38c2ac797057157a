"""Split tracks into stratified folds, keep each group (artist, album) in one fold, and write the lists of MIREX.

`features.txt` holds all paths; a fold K has `foldK.train.txt`, `foldK.test.txt` and `foldK.truth.txt`, or with several
repeats `repeatR.foldK.train.txt` and so on. If there are groups, `groups.txt` has path<TAB>group, for systems that
hold out some of their training tracks; MIREX has no such list. The lists depend only on the tracks and the seed, not on
the order of the tracks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.errors import ListError, UsageError
from mirex_submission.evaluation.folds.deal import deal
from mirex_submission.evaluation.folds.lists import PARTS
from mirex_submission.protocol.groups import GroupedTrack
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.outputs import write_predictions
from mirex_submission.system.atomic import remove, write_file

MOST_CLASSES = 10_000  # their confusion matrix takes 0.8 GB


@dataclass(frozen=True)
class Fold:
    """The tracks of one fold, sorted by path; the file names of its lists begin with its name."""

    name: str
    train: list[GroupedTrack]
    test: list[GroupedTrack]

    @property
    def repeat(self) -> str:
        """Name of the repeat: `repeat2` for `repeat2.fold1`, `all` if the name has no repeat."""
        return self.name.rpartition(".fold")[0] or "all"


def check_number_of_classes(n: int) -> None:
    """Raise ListError if there are too many classes for a confusion matrix."""
    if n > MOST_CLASSES:
        problem = f"{n:,} classes, but the most for folds and figures is {MOST_CLASSES:,}"
        advice = "check that the label column does not hold titles or paths"
        raise ListError(f"{problem}: {advice}", code="list.many-classes")


def split(tracks: Iterable[GroupedTrack], n_folds: int, *, repeats: int = 1, seed: int = 0) -> list[Fold]:
    """Draw folds, once or several times.

    Parameters
    ----------
    tracks : iterable of GroupedTrack
        The labelled tracks, in any order.
    n_folds : int
        Number of folds of a repeat: at least 2, and at most the number of groups.
    repeats : int
        Number of times to draw folds.
    seed : int
        Random seed.

    Returns
    -------
    list of Fold

    Raises
    ------
    UsageError
        If there are fewer groups than folds, or a number is out of range.
    ListError
        If there is a single class, or there are too many classes.
    """
    tracks = sorted(tracks, key=lambda track: track.path)
    classes, class_of = np.unique([track.label for track in tracks], return_inverse=True)
    groups, group_of = np.unique([track.group for track in tracks], return_inverse=True)
    if len(classes) < 2:
        problem = f"all {len(tracks)} tracks have the label {str(classes[0])!r}: a classifier needs at least 2 classes"
        raise ListError(problem, code="list.one-class")
    check_number_of_classes(len(classes))
    if not 2 <= n_folds <= len(groups):
        problem = f"{n_folds} folds of {len(groups)} groups: give at least 2 folds, and at most one per group"
        raise UsageError(problem, code="folds.number")
    if seed < 0 or repeats < 1:
        problem = f"--seed {seed}, --repeat {repeats}: the seed must be at least 0, the repeats at least 1"
        raise UsageError(problem, code="folds.number")
    sizes = np.zeros((len(groups), len(classes)))
    np.add.at(sizes, (group_of, class_of), 1)
    folds = []
    for repeat in range(repeats):
        fold_of = deal(sizes, n_folds, seed=[seed, repeat])[group_of]
        for k in range(n_folds):
            name = f"repeat{repeat + 1}.fold{k + 1}" if repeats > 1 else f"fold{k + 1}"
            train, test = ([tracks[i] for i in np.flatnonzero(side)] for side in (fold_of != k, fold_of == k))
            folds.append(Fold(name, train, test))
    return folds


def write(folds: Sequence[Fold], folder: str | os.PathLike[str]) -> None:
    """Write the lists of all folds.

    Raises
    ------
    UsageError
        If `folder` has lists of other folds.
    StorageError
        If the lists cannot be written.
    """
    folder = Path(folder).absolute()
    names = {f"{fold.name}.{part}.txt" for fold in folds for part in PARTS}
    others = sorted(path.name for part in PARTS for path in folder.glob(f"*.{part}.txt") if path.name not in names)
    if others:
        problem = f"{folder}: has lists of other folds ({', '.join(others[:3])}): give an empty folder"
        raise UsageError(problem, code="folds.other-lists")
    tracks = sorted([*folds[0].train, *folds[0].test], key=lambda track: track.path)
    _write_paths(folder / "features.txt", tracks)
    if any(track.group != track.path for track in tracks):
        write_predictions(folder / "groups.txt", [Track(track.path, track.group) for track in tracks])
    else:
        remove(folder / "groups.txt")  # it may be from earlier folds
    for fold in folds:
        write_predictions(folder / f"{fold.name}.train.txt", fold.train)
        write_predictions(folder / f"{fold.name}.truth.txt", fold.test)
        _write_paths(folder / f"{fold.name}.test.txt", fold.test)


def _write_paths(path: Path, tracks: Iterable[GroupedTrack]) -> None:
    write_file(path, "".join(f"{track.path}\n" for track in tracks).encode("utf-8"))
