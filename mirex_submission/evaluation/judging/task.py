"""The truth of all folds, prepared for scoring: classes and tracks by number, groups and strata."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.evaluation.judging.pairing import FoldTruth
from mirex_submission.evaluation.judging.tags import read_groups, read_strata
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.outputs import TestList, class_key, class_numbers, is_marked


@dataclass(frozen=True)
class Fold:
    """The truth of one fold.

    Parameters
    ----------
    file : FoldTruth
        Name and file of the fold.
    tracks : list of Track
        Tracks in the order of the file.
    truth : np.ndarray [shape=(n_tracks,), dtype=int64]
        Class numbers of the tracks.
    """

    file: FoldTruth
    tracks: list[Track]
    truth: np.ndarray


@dataclass(frozen=True)
class Task:
    """The truth of all folds, prepared for scoring.

    Parameters
    ----------
    folds, test_lists : list of Fold, list of TestList
        The truth of each fold, and the names of its tracks in an output.
    n_classes : int
        Number of classes of the task.
    number_of : dict
        Class numbers, from `class_numbers`.
    tested : list of np.ndarray [shape=(n_tracks,), dtype=int64]
        Track number of each line of a fold's truth; a track may be in several folds.
    groups : np.ndarray [shape=(n_tests,), dtype=int64] or None
        Group of each test, fold after fold.
    strata : list of (str, np.ndarray [shape=(n_tests,), dtype=bool])
        Name of each stratum, and a mask of its tests.
    seed : int
        Seed of the bootstrap.
    """

    folds: list[Fold]
    test_lists: list[TestList]
    n_classes: int
    number_of: dict[str, int]
    tested: list[np.ndarray]
    groups: np.ndarray | None
    strata: list[tuple[str, np.ndarray]]
    seed: int

    def right(self, predicted: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Compare class numbers with the truth; returns for each fold bool [shape=(n_tracks,)]."""
        return [fold.truth == classes for fold, classes in zip(self.folds, predicted, strict=True)]


def make_task(
    files: Sequence[FoldTruth],
    lists: Sequence[list[Track]],
    classes: Mapping[str, str],
    *,
    groups: str | os.PathLike[str] | None,
    strata: str | os.PathLike[str] | None,
    seed: int,
) -> Task:
    """Number the classes and tracks of all folds, and read the groups and strata of the tracks.

    Parameters
    ----------
    files : sequence of FoldTruth
        The truth of each fold.
    lists : sequence of list of Track
        The tracks of each file.
    classes : mapping
        Key and label of each class, from `class_names`.
    groups, strata : path-like or None
        List of groups, and table of strata.
    seed : int
        Seed of the bootstrap.

    Raises
    ------
    ListError, UsageError
        For wrong groups or strata.
    """
    number_of = class_numbers(classes)
    folds = [
        Fold(file, tracks, np.array([number_of[class_key(track.label)] for track in tracks]))
        for file, tracks in zip(files, lists, strict=True)
    ]
    track_numbers: dict[str, int] = {}
    tested = [
        np.array([track_numbers.setdefault(os.path.normpath(track.path), len(track_numbers)) for track in fold.tracks])
        for fold in folds
    ]
    paths, of_test = list(track_numbers), np.concatenate(tested)
    return Task(
        folds,
        [TestList([track.path for track in fold.tracks], marked=_is_marked(fold.file.path)) for fold in folds],
        len(classes),
        number_of,
        tested,
        read_groups(groups, paths)[of_test] if groups else None,
        [(name, mask[of_test]) for name, mask in read_strata(strata, paths)] if strata else [],
        seed,
    )


def _is_marked(path: Path) -> bool:
    with open(path, "rb") as f:
        return is_marked(f.readline())
