"""Folds: stratified, with each group (artist, album) on one side, written as MIREX lists.

`features.txt` holds all paths; a fold K has `foldK.train.txt`, `foldK.test.txt` and `foldK.truth.txt`, with several
repeats `repeatR.foldK.train.txt` and so on. Where there are groups, `groups.txt` has path<TAB>group, for systems that
hold out some of the training tracks too; it is no list of MIREX's. What is written depends on the tracks and the seed
alone, not on the order in which the tracks came.
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

MOST_CLASSES = 10_000  # a confusion matrix of as many takes 0.8 GB


@dataclass(frozen=True)
class Fold:
    """The tracks of one fold, by path; its name begins the names of its lists."""

    name: str
    train: list[GroupedTrack]
    test: list[GroupedTrack]

    @property
    def repeat(self) -> str:
        """`repeat2` of `repeat2.fold1`; `all` for folds without such a name."""
        return self.name.rpartition(".fold")[0] or "all"


def check_number_of_classes(n: int) -> None:
    """Raise ListError if there are more classes than a matrix of all pairs of them can hold."""
    if n > MOST_CLASSES:
        problem = f"{n:,} classes, and folds and figures are made for {MOST_CLASSES:,} at most"
        raise ListError(f"{problem}: is the column of labels one of titles or paths?", code="list.many-classes")


def split(tracks: Iterable[GroupedTrack], n_folds: int, *, repeats: int = 1, seed: int = 0) -> list[Fold]:
    """Draw folds, several times if asked for.

    Parameters
    ----------
    tracks : iterable of GroupedTrack
        The labelled tracks, in any order.
    n_folds : int
        Folds of a repeat: 2 or more, and no more than groups.
    repeats : int
        How often to draw other folds.
    seed : int
        Random seed.

    Returns
    -------
    list of Fold

    Raises
    ------
    UsageError
        If there are fewer groups than folds, or a number has no meaning.
    ListError
        If there is a single class, or too many.
    """
    tracks = sorted(tracks, key=lambda track: track.path)
    classes, class_of = np.unique([track.label for track in tracks], return_inverse=True)
    groups, group_of = np.unique([track.group for track in tracks], return_inverse=True)
    if len(classes) < 2:
        problem = f"all {len(tracks)} tracks are {str(classes[0])!r}: a classifier needs at least 2 classes"
        raise ListError(problem, code="list.one-class")
    check_number_of_classes(len(classes))
    if not 2 <= n_folds <= len(groups):
        problem = f"{n_folds} folds of {len(groups)} groups: give 2 folds or more, and no more than groups"
        raise UsageError(problem, code="folds.number")
    if seed < 0 or repeats < 1:
        problem = f"--seed {seed}, --repeat {repeats}: a seed is 0 or more, a repeat 1 or more"
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
        If the disk does not take them.
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
        remove(folder / "groups.txt")  # of folds that were written here before
    for fold in folds:
        write_predictions(folder / f"{fold.name}.train.txt", fold.train)
        write_predictions(folder / f"{fold.name}.truth.txt", fold.test)
        _write_paths(folder / f"{fold.name}.test.txt", fold.test)


def _write_paths(path: Path, tracks: Iterable[GroupedTrack]) -> None:
    write_file(path, "".join(f"{track.path}\n" for track in tracks).encode("utf-8"))
