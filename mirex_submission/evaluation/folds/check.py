"""Check the lists of folds: no group in training and test, each track tested once; warn of missing classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from mirex_submission.errors import ListError, coded
from mirex_submission.evaluation.folds.lists import PARTS, KnownPaths, find_lists, fold_names, warn_of_other_forms
from mirex_submission.evaluation.folds.split import Fold
from mirex_submission.protocol.groups import GroupedTrack
from mirex_submission.protocol.lists import Problems, list_error
from mirex_submission.system.paths import full_path
from mirex_submission.system.progress import printable
from mirex_submission.system.unicode_forms import nfc

_Entries = list[tuple[int, GroupedTrack]]  # line number, track


def read(folder: str | os.PathLike[str], tracks: Iterable[GroupedTrack]) -> list[Fold]:
    """Read the folds in a folder, from `folds` or any other source, and check them against the labelled tracks.

    Parameters
    ----------
    folder : path-like
        Folder of the lists.
    tracks : iterable of GroupedTrack
        All labelled tracks.

    Returns
    -------
    list of Fold

    Raises
    ------
    ListError
        With every problem of every list: a group (or track) in both training and test; a label that differs from that
        of the labelled tracks; an unknown track; a test track without truth; a track that is not tested exactly once.
    """
    folder = Path(folder).absolute()
    by_path = {track.path: track for track in tracks}
    known = KnownPaths(by_path)
    problems: list[str] = []
    folds = []
    for name in fold_names(folder):
        lists = {part: Problems(folder / f"{name}.{part}.txt") for part in PARTS}
        entries = {part: _entries(of_list, by_path, known, labelled=part != "test") for part, of_list in lists.items()}
        _check_fold(name, entries, lists["test"])
        for part, of_list in lists.items():
            try:
                of_list.finish(n_entries=len(entries[part]), expected="path" if part == "test" else "path<TAB>label")
            except ListError as error:
                problems += str(error).splitlines()
        folds.append(Fold(name, *([track for _, track in entries[part]] for part in ("train", "test"))))
    problems = problems or _untested(folder, folds, by_path)
    if problems:
        raise list_error(folder, problems)
    find_lists(folder)  # checks the lists against each other
    return folds


def _entries(problems: Problems, by_path: dict[str, GroupedTrack], known: KnownPaths, *, labelled: bool) -> _Entries:
    """Return the lines of a list whose track is known and has the right label; add the problems of the others."""
    entries = []
    other_forms = []
    for number, line in problems.read_lines():
        path, _, label = line.rpartition("\t") if labelled else (line, "", "")
        track = by_path.get(known.find(path))
        if not track:
            problem = f"{path!r} is not among the labelled tracks"
            problems.add(number, problem, "correct it, or add it to the labelled tracks", code="folds.unknown-track")
        elif labelled and nfc(label) != nfc(track.label):
            problem = f"{path!r} has the label {label!r} here, but {track.label!r} among the labelled tracks"
            problems.add(number, problem, "correct one of the two", code="folds.two-labels")
        else:
            entries.append((number, track))
            if track.path != full_path(path) or (labelled and label != track.label):
                other_forms.append(line)
    warn_of_other_forms(problems.list_path, other_forms)
    return entries


def _check_fold(name: str, entries: dict[str, _Entries], problems: Problems) -> None:
    """Add the problems of a fold's test list: a group that is also in training, a track without truth."""
    trained = {track.group: (number, track) for number, track in reversed(entries["train"])}
    truth = {track.path for _, track in entries["truth"]}
    for number, track in entries["test"]:
        if track.group in trained:
            line, same = trained[track.group]
            group = "is the same track" if same == track else f"has the same group {track.group!r}: {same.path}"
            problem = f"{track.path}: line {line} of {name}.train.txt {group}"
            advice = "no group may be in both training and test: make the folds again"
            problems.add(number, problem, advice, code="folds.crossing-group")
        if track.path not in truth:
            problem = f"{track.path}: not in {name}.truth.txt"
            problems.add(number, problem, "add it there with its label", code="folds.no-truth-of-track")


def _untested(folder: Path, folds: Sequence[Fold], by_path: Iterable[str]) -> list[str]:
    """Return a message for each labelled track that the folds of a repeat do not test exactly once."""
    advice = "each track must be tested exactly once: make the folds again"
    repeats: dict[str, Counter[str]] = {}
    for fold in folds:
        repeats.setdefault(fold.repeat, Counter()).update({track.path for track in fold.test})
    return [
        coded(f"{folder}: {path}: is tested by {tested[path]} folds of {repeat}: {advice}", code="folds.tested-once")
        for repeat, tested in repeats.items()
        for path in by_path
        if tested[path] != 1
    ]


def table(folds: Sequence[Fold]) -> str:
    """Tabulate the numbers of tracks of each class and of groups, one line for each training and test list."""
    classes = _groups_of_classes(folds)
    rows = [["", "", *map(printable, classes), "all", "groups"]]
    for fold in folds:
        for side, tracks in (("train", fold.train), ("test", fold.test)):
            counts = Counter(track.label for track in tracks)
            numbers = [*(counts[label] for label in classes), len(tracks), len({track.group for track in tracks})]
            rows.append([printable(fold.name), side, *map(str, numbers)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = [f"{row[0]:{widths[0]}} {row[1]:{widths[1]}}" for row in rows]
    return "\n".join(
        start + "".join(f"  {cell:>{width}}" for cell, width in zip(row[2:], widths[2:], strict=True))
        for start, row in zip(left, rows, strict=True)
    )


def warnings(folds: Sequence[Fold]) -> list[str]:
    """Return warnings of repeats with equal folds, and of classes that a training or test list lacks."""
    messages = []
    first: dict[frozenset[frozenset[str]], str] = {}
    for repeat, same in groupby(folds, key=lambda fold: fold.repeat):
        drawn = frozenset(frozenset(track.path for track in fold.test) for fold in same)
        if first.setdefault(drawn, repeat) != repeat:
            problem = f"{repeat} has the same folds as {first[drawn]}: there are too few groups for different folds"
            messages.append(coded(problem, code="folds.equal-repeats"))
    labels = {side: [{track.label for track in getattr(fold, side)} for fold in folds] for side in ("test", "train")}
    for label, groups in _groups_of_classes(folds).items():
        for side, then in (
            ("test", "its recall counts as 0 there in MIREX's normalised accuracy"),
            ("train", "no system can predict it for the test tracks there"),
        ):
            without = [fold.name for fold, known in zip(folds, labels[side], strict=True) if label not in known]
            if without:
                where = f"in no {side} list of {', '.join(without)}"
                problem = f"class {label!r} ({len(groups)} group(s)) is {where}: {then}"
                messages.append(coded(problem, code="folds.missing-class"))
    return messages


def _groups_of_classes(folds: Sequence[Fold]) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for track in sorted([*folds[0].train, *folds[0].test], key=lambda track: track.label):
        groups.setdefault(track.label, set()).add(track.group)
    return groups
