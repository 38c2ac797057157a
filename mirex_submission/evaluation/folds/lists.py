"""Find the lists of a cross-validation in a folder by their names, and check them against each other.

`features.txt` has all paths; a fold has `NAME.train.txt`, `NAME.test.txt` and `NAME.truth.txt`, as `folds` writes them.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirex_submission.errors import ListError, coded
from mirex_submission.protocol import lists
from mirex_submission.system.atomic import sha256
from mirex_submission.system.paths import full_path
from mirex_submission.system.unicode_forms import nfc

log = logging.getLogger(__name__)

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
    """The lists of a whole task: the feature extraction list, and the lists of each fold."""

    folder: Path
    features: Path
    folds: list[FoldLists]

    def hashes(self) -> dict[str, str]:
        """Return {path: SHA-256} of every list."""
        paths = [self.features, *(path for fold in self.folds for path in (fold.train, fold.test, fold.truth))]
        return {str(path): sha256(path) for path in paths}


def find_lists(folder: str | os.PathLike[str]) -> TaskLists:
    """Find the lists in a folder and check them against each other.

    Raises
    ------
    ListError
        With every problem of all lists, with `file:line`.
    """
    folder = Path(folder).absolute()
    folds = [FoldLists(name, *(folder / f"{name}.{part}.txt" for part in PARTS)) for name in fold_names(folder)]
    task = TaskLists(folder, folder / "features.txt", folds)
    problems = _TaskReader(task).problems()
    if problems:
        raise lists.list_error(folder, problems)
    return task


def fold_names(folder: Path) -> list[str]:
    """Return the names of the folds in `folder`, in natural order (fold10 after fold9).

    Raises
    ------
    ListError
        If there are no folds.
    """
    names = [path.name.removesuffix(".test.txt") for path in folder.glob("*.test.txt")]
    if not names:
        raise ListError(f"{folder}: no *.test.txt: give the folder with the lists of the folds", code="folds.no-lists")
    return sorted(names, key=natural_order)


def natural_order(name: str) -> list[str | int]:
    """Return a sort key of a name for natural order: fold10 after fold9."""
    return [int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", name)]


class KnownPaths:
    """Paths that are also recognised in another Unicode form, if it fits only one of them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = set(paths)
        self._of_form: dict[str, list[str]] = defaultdict(list)
        for path in self._paths:
            self._of_form[nfc(path)].append(path)

    def find(self, path: str) -> str:
        """Return the known path that `path` stands for, or otherwise its own full path."""
        path = full_path(path)
        same = [] if path in self._paths else self._of_form.get(nfc(path), [])
        return same[0] if len(same) == 1 else path


def warn_of_other_forms(list_path: str | os.PathLike[str], texts: Sequence[str]) -> None:
    """Warn of paths and labels of a list that other lists spell in another Unicode form."""
    if texts:
        text = f"{list_path}: {len(texts)} path(s) or label(s) have another Unicode form in other lists: {texts[0]!r}"
        advice = "equal here, but different for the organisers' evaluator: spell them the same way in all lists"
        log.warning("%s", coded(f"{text}: {advice}", code="folds.unicode-forms"))


class _TaskReader:
    """State of the check of a task: the problems so far, and the first label of each track."""

    def __init__(self, task: TaskLists) -> None:
        self._task = task
        self._problems: list[str] = []
        self._first_label: dict[str, tuple[str, str]] = {}  # {full path: (label, file:line)}
        self._known = KnownPaths(())

    def problems(self) -> list[str]:
        """Check all lists and return one message per problem."""
        features = self._read(self._task.features, labelled=False)
        self._known = KnownPaths(features)
        for fold in self._task.folds:
            train, truth = self._read(fold.train, labelled=True), self._read(fold.truth, labelled=True)
            test = self._read(fold.test, labelled=False)
            if features and train and truth and test:
                self._problems += _contradictions(fold, self._task.features.name, features, train, test, truth)
        return self._problems

    def _read(self, path: Path, *, labelled: bool) -> dict[str, str]:
        """Return {track: `file:line: path`} of a list; empty if the list itself is wrong."""
        try:
            if labelled:
                tracks = lists.read_labelled(path, min_classes=1, for_evaluator=False)
            else:
                tracks = lists.read_unlabelled(path)
        except ListError as error:
            self._problems += str(error).splitlines()
            return {}
        places = {}
        other_forms = []
        for track in tracks:
            file, where = self._known.find(track.path), f"{path}:{track.line}"
            places[file] = f"{where}: {track.path!r}"
            label, first = self._first_label.setdefault(file, (track.label, where)) if labelled else ("", "")
            if nfc(label) != nfc(track.label):
                problem = f"{where}: {track.path!r} has the label {track.label!r} here and {label!r} in {first}"
                problem += ": correct one of the two"
                self._problems.append(coded(problem, code="folds.two-labels"))
            elif label != track.label:
                other_forms.append(track.label)
            elif file != full_path(track.path):
                other_forms.append(track.path)
        warn_of_other_forms(path, other_forms)
        return places


def _contradictions(
    fold: FoldLists,
    features_name: str,
    features: dict[str, str],
    train: dict[str, str],
    test: dict[str, str],
    truth: dict[str, str],
) -> Iterator[str]:
    """Compare the lists of one fold, {track: `file:line: path`}, with each other and with the extraction list."""
    for listed in (train, test):
        for track in (track for track in listed if track not in features):
            problem = f"{listed[track]} is not in {features_name}: add it there"
            yield coded(problem, code="folds.not-in-features")
    for track in (track for track in test if track in train):
        problem = f"{test[track]} is also in {fold.train.name}: remove it from one of the two"
        yield coded(problem, code="folds.train-and-test")
    for track in (track for track in test if track not in truth):
        problem = f"{test[track]} is not in {fold.truth.name}: add it there with its label"
        yield coded(problem, code="folds.no-truth-of-track")
    for track in (track for track in truth if track not in test):
        yield coded(f"{truth[track]} is not in {fold.test.name}: add it there", code="folds.not-tested")
