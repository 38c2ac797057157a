"""Lists told apart by what they hold, and what the lists of one task should not have in common.

`path<TAB>label` is a training list. One path a line is a feature list if it has more than half of all labelled
tracks, else a test list: a fold's test list has at most half of what is trained on in all folds.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mirex_submission.errors import ListError
from mirex_submission.protocol import lists, nema
from mirex_submission.protocol.lists import Track
from mirex_submission.system.paths import full_path


@dataclass(frozen=True, eq=False)
class TaskList:
    """A list that has no fault. labelled : whether it is a training list; warnings : what is odd about that."""

    path: str
    tracks: Sequence[Track]
    labelled: bool
    warnings: Sequence[str] = ()

    @cached_property
    def where(self) -> Mapping[str, Track]:
        """Full path -> the entry."""
        return {full_path(track.path): track for track in self.tracks}


def is_labelled(list_path: str | os.PathLike[str]) -> bool:
    """Whether most of its lines have a tab, beside those that are names of files as they stand.

    Raises ListError if the list cannot be read.
    """
    lines = [raw for _, raw in lists.numbered_lines(list_path)]
    n_labelled = sum(b"\t" in raw and b"\0" not in raw and not os.path.exists(raw) for raw in lines)
    return 2 * n_labelled > len(lines)


def read(list_path: str) -> TaskList:
    """Read a list of any kind. Raises ListError with every fault of it."""
    if os.path.exists(list_path) and not os.path.isfile(list_path) and not os.path.isdir(list_path):
        raise ListError(f"{list_path}: not a regular file: give a file, which can be read twice")
    warnings: list[str] = []
    if is_labelled(list_path):
        return TaskList(list_path, lists.read_labelled(list_path, warn=warnings.append), True, warnings)
    return TaskList(list_path, lists.read_unlabelled(list_path), False)


def sort_out(task: Sequence[TaskList]) -> tuple[list[TaskList], list[TaskList], list[TaskList]]:
    """The feature lists, the training lists and the test lists among them."""
    training = [each for each in task if each.labelled]
    labelled = {path for each in training for path in each.where}
    features: list[TaskList] = []
    test: list[TaskList] = []
    for each in task:
        if not each.labelled:
            (features if 2 * len(each.where.keys() & labelled) > len(labelled) else test).append(each)
    return features, training, test


def warnings_of(task: Sequence[TaskList]) -> list[str]:
    """What is odd about each list, and what two lists of a task should not share, or lack.

    A test list is a fold with one training list, that with which it has the fewest tracks in common.
    """
    features, training, test = sort_out(task)
    warnings = [warning for each in training for warning in each.warnings]
    for each in (*features, *test):
        warnings += lists.path_list_warnings(each.path, each.tracks, for_evaluator=each in test)
    for each in test:
        if training:
            fold = min(training, key=lambda other: len(each.where.keys() & other.where.keys()))
            shared = [path for path in each.where if path in fold.where]
            warnings += _line(each, shared, f"in {fold.path} too: take them out of one of the two")
    known = {path for each in features for path in each.where}
    for each in (*training, *test) if features else ():
        absent = [path for path in each.where if path not in known]
        warnings += _line(each, absent, f"not in {', '.join(f.path for f in features)}: add them there")
    return warnings


def _line(where: TaskList, paths: Collection[str], what: str) -> list[str]:
    entries = [where.where[path] for path in paths]
    shown = ", ".join(f"line {entry.line} ({entry.path})" for entry in entries[: nema.N_EXAMPLES])
    more = ", ..." if len(entries) > nema.N_EXAMPLES else ""
    return [f"{where.path}: {len(entries)} track(s) are {what}: {shown}{more}"] if entries else []
