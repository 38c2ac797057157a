"""Read the lists of one task and compare them with each other."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mirex_submission.errors import ListError, UsageError, coded, examples
from mirex_submission.features.copies import contents_of_copies, copies
from mirex_submission.features.list_sources import groups_of_folders, open_list
from mirex_submission.preflight.checks import ERROR, NOTE, WARNING, Problem
from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.tables import TableOptions
from mirex_submission.system.paths import full_path


@dataclass(frozen=True, eq=False)
class TaskList:
    """One list without problems.

    Parameters
    ----------
    path : str
        The list file.
    tracks : sequence of Track
        Entries of the list.
    warnings : sequence of str
        Warnings about the list.
    """

    path: str
    tracks: Sequence[Track]
    warnings: Sequence[str] = ()

    @cached_property
    def by_full_path(self) -> Mapping[str, Track]:
        """The entries by full path."""
        return {full_path(track.path): track for track in self.tracks}


@dataclass(frozen=True, eq=False)
class Task:
    """The readable lists of a task; the k-th test list belongs to the k-th training list."""

    features: list[TaskList] = field(default_factory=list)
    training: list[TaskList] = field(default_factory=list)
    test: list[TaskList] = field(default_factory=list)

    @property
    def all(self) -> list[TaskList]:
        """All lists."""
        return [*self.features, *self.training, *self.test]


def read_task(
    features: Sequence[str],
    training: Sequence[str],
    test: Sequence[str],
    groups: str | None = None,
    tables: TableOptions = TableOptions(),
) -> tuple[Task, list[Problem]]:
    """Read all lists of a task.

    Parameters
    ----------
    features, training, test : sequences of str
        List files, folders, tables or audio files; the k-th test list belongs to the k-th training list.
    groups : str, optional
        A list of path and group, in which only problems are looked for; or "folder": the subfolders of the classes.
    tables : TableOptions
        Columns of the tables.

    Raises
    ------
    UsageError
        The number of test lists differs from that of training lists.
    """
    if training and test and len(training) != len(test):
        raise UsageError(
            f"{len(training)} training list(s) and {len(test)} test list(s): give one of each for each fold, in the "
            "same order",
            code="usage.folds",
        )
    task, problems = Task(), []
    of_folders = groups_of_folders(groups, tables)
    of_training = functools.partial(_read_training, tables=tables, groups=of_folders)
    for kind, paths, read, into in (
        ("feature", features, functools.partial(_read_paths, tables=tables, for_evaluator=False), task.features),
        ("training", training, of_training, task.training),
        ("test", test, functools.partial(_read_paths, tables=tables, for_evaluator=True), task.test),
        ("group", [groups] if groups and not of_folders else [], _read_groups, []),
    ):
        for path in paths:
            try:
                task_list = read(path)
            except ListError as error:
                problems += [Problem(ERROR, line, ListError) for line in str(error).splitlines()]
            else:
                into.append(task_list)
                problems += _notes(kind, task_list)
    if not any(problem.severity == ERROR for problem in problems):
        problems += [Problem(WARNING, text, ListError) for text in compare(task)]
    return task, problems


def _read_paths(path: str, tables: TableOptions, *, for_evaluator: bool) -> TaskList:
    source = open_list("list", path, labelled=False, tables=tables)
    tracks = lists.read_unlabelled(source)
    lists.check_paths(source, tracks)
    return TaskList(path, tracks, lists.path_list_warnings(source, tracks, for_evaluator=for_evaluator))


def _read_training(path: str, tables: TableOptions, *, groups: bool) -> TaskList:
    warnings: list[str] = []
    source = open_list("training list", path, labelled=True, tables=tables, groups=groups)
    return TaskList(path, lists.read_labelled(source, warn=warnings.append), warnings)


def _read_groups(path: str) -> TaskList:
    return TaskList(path, lists.read_labelled(path, min_classes=1, for_evaluator=False))


def _notes(kind: str, task_list: TaskList) -> Iterator[Problem]:
    for text in task_list.warnings:
        yield Problem(WARNING, text, ListError)
    n_labels = len({track.label for track in task_list.tracks if track.label})
    labels = f" of {n_labels} {'groups' if kind == 'group' else 'classes'}" if n_labels else ""
    yield Problem(NOTE, f"{task_list.path}: a {kind} list, {len(task_list.by_full_path)} tracks{labels}")


def compare(task: Task) -> list[str]:
    """Return warnings of test tracks in the training list, and of tracks that no feature list has."""
    warnings = []
    for training, test in zip(task.training, task.test, strict=False):
        shared = [path for path in test.by_full_path if path in training.by_full_path]
        text = f"also in {training.path}: remove them from one of the two lists"
        warnings += _warning(test, shared, text, code="list.leak")
    known = {path for task_list in task.features for path in task_list.by_full_path}
    for task_list in (*task.training, *task.test) if task.features else ():
        absent = [path for path in task_list.by_full_path if path not in known]
        names = ", ".join(features.path for features in task.features)
        warnings += _warning(task_list, absent, f"not in {names}: add them there", code="list.not-in-features")
    return warnings


def compare_contents(task: Task) -> list[str]:
    """Return warnings of tracks with the same audio under several names, in a training list or in it and its test list.

    Files of equal size are compared by some of their bytes, and completely if these are equal.
    """
    contents = contents_of_copies(path for task_list in task.all for path in task_list.by_full_path)
    warnings = []
    for training in task.training:
        labels = {path: track.label for path, track in training.by_full_path.items()}
        warnings += copy_warnings(f"{training.path}: ", {p: contents[p] for p in labels if p in contents}, labels)
    for training, test in zip(task.training, task.test, strict=False):
        trained = {contents[path] for path in training.by_full_path if path in contents}
        shared = [p for p in test.by_full_path if contents.get(p) in trained and p not in training.by_full_path]
        text = f"the same audio as tracks of {training.path}, under other names: remove them from one of the two lists"
        warnings += _warning(test, shared, text, code="list.same-audio")
    return warnings


def copy_warnings(where: str, contents: Mapping[str, str], labels: Mapping[str, str]) -> list[str]:
    """Return warnings of copies among training tracks, one for copies with different labels and one for the others.

    contents, labels : content hash and label of each path.
    """
    pairs = copies(contents)
    conflicts = [f"{a} ({labels[a]}) = {b} ({labels[b]})" for a, b in pairs if labels[a] != labels[b]]
    others = [f"{a} = {b}" for a, b in pairs if labels[a] == labels[b]]
    warnings = []
    if conflicts:
        text = f"{where}{len(conflicts)} tracks hold the same audio as one of another class: {examples(conflicts)}"
        warnings.append(coded(text, code="list.same-audio-two-labels"))
    if others:
        text = f"{where}{len(others)} track(s) hold the same audio as another track of their class: {examples(others)}"
        warnings.append(coded(text, code="list.same-audio"))
    return warnings


def _warning(task_list: TaskList, paths: Collection[str], text: str, *, code: str) -> list[str]:
    if not paths:
        return []
    entries = [task_list.by_full_path[path] for path in paths]
    shown = examples([f"line {entry.line} ({entry.path})" for entry in entries])
    return [coded(f"{task_list.path}: {len(entries)} track(s) are {text}: {shown}", code=code)]
