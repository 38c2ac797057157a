"""The lists of a cross-validation in one folder: found by their names, and checked against each other.

`features.txt` has all paths; a fold has `NAME.train.txt`, `NAME.test.txt` and `NAME.truth.txt`, as `folds` writes them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from mirex_submission.errors import ListError
from mirex_submission.protocol import lists
from mirex_submission.system.atomic import sha256
from mirex_submission.system.paths import full_path

PARTS = ("train", "test", "truth")


@dataclass(frozen=True)
class FoldLists:
    """The lists of one fold."""

    name: str
    train: Path
    test: Path
    truth: Path


@dataclass(frozen=True)
class TaskLists:
    """The lists of a whole task."""

    folder: Path
    features: Path
    folds: list[FoldLists]

    def hashes(self) -> dict[str, str]:
        """{path: SHA-256} of every list."""
        paths = [self.features, *(path for fold in self.folds for path in (fold.train, fold.test, fold.truth))]
        return {str(path): sha256(path) for path in paths}


def find_lists(folder: str | os.PathLike[str]) -> TaskLists:
    """The lists in `folder`, checked. Raises ListError with every fault of all of them."""
    folder = Path(folder).absolute()
    folds = [FoldLists(name, *(folder / f"{name}.{part}.txt" for part in PARTS)) for name in fold_names(folder)]
    task = TaskLists(folder, folder / "features.txt", folds)
    faults = _faults(task)
    if faults:
        raise lists.list_error(folder, faults)
    return task


def fold_names(folder: Path) -> list[str]:
    """The folds that have lists in `folder`, fold10 after fold9. Raises ListError if there are none."""
    names = [path.name.removesuffix(".test.txt") for path in folder.glob("*.test.txt")]
    if not names:
        raise ListError(f"{folder}: no *.test.txt: give the folder with the lists of the folds")
    return sorted(
        names, key=lambda name: [int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", name)]
    )


def _faults(task: TaskLists) -> list[str]:
    found: list[str] = []
    labels: dict[str, tuple[str, str]] = {}

    def read(path: Path, *, labelled: bool) -> dict[str, str]:
        """{track: where it stands}; empty if the list itself is wrong."""
        try:
            if labelled:
                tracks = lists.read_labelled(path, min_classes=1, for_evaluator=False)
            else:
                tracks = lists.read_unlabelled(path)
        except ListError as error:
            found.extend(str(error).splitlines())
            return {}
        for track in tracks if labelled else ():
            where = f"{path}:{track.line}"
            label, first = labels.setdefault(full_path(track.path), (track.label, where))
            if label != track.label:
                found.append(f"{where}: {track.path!r} is {track.label!r} here and {label!r} in {first}: correct one")
        return {full_path(track.path): f"{path}:{track.line}: {track.path!r}" for track in tracks}

    features = read(task.features, labelled=False)
    for fold in task.folds:
        train, truth = read(fold.train, labelled=True), read(fold.truth, labelled=True)
        test = read(fold.test, labelled=False)
        if not (features and train and truth and test):
            continue
        for tracks, wrong, what in (
            (train, train.keys() - features.keys(), f"not in {task.features.name}: add it there"),
            (test, test.keys() - features.keys(), f"not in {task.features.name}: add it there"),
            (test, test.keys() & train.keys(), f"in {fold.train.name} too: take it out of one of the two"),
            (test, test.keys() - truth.keys(), f"not in {fold.truth.name}: add it there with its label"),
            (truth, truth.keys() - test.keys(), f"not in {fold.test.name}: add it there"),
        ):
            found += [f"{where} is {what}" for track, where in tracks.items() if track in wrong]
    return found
