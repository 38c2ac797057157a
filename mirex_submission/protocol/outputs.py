"""A system's output as the organisers' evaluator (NEMA) takes it, and all in it on which NEMA fails or miscounts.

What NEMA does is in `Kind`, from its sources: `ClassificationTextFile` reads a file, `EvaluatorImpl` and
`ClassificationEvaluator` match it with the truth. Where the names of the tracks are sound, what is read here is what
NEMA reads. Labels are compared by `class_key`; a class is a number, in the order of the keys, as NEMA orders classes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np

from mirex_submission.evaluation.judging.metrics import NO_PREDICTION
from mirex_submission.protocol import nema
from mirex_submission.protocol.lists import Track, numbered_lines


class Kind(Enum):
    """What can be wrong: what the evaluator does, how it is counted here, what to do about it."""

    NO_OUTPUT = (
        "refuses the system, whose folds are not the task's",
        "its tracks have no prediction",
        "write one output a fold",
    )
    EMPTY = (
        "counts the fold as 0 %, and divides 0 by 0 if all outputs are empty",
        "its tracks have no prediction",
        "write a line for each track of the test list",
    )
    NO_LABEL = ("stops with an error", "left out", "write path<TAB>label")
    CUT_LINE = ("cuts the line there", "read as a whole", "use paths and labels without white space")
    UNKNOWN_LABEL = ("stops with an error", "as no prediction", "write the label as the training list spells it")
    UNKNOWN_TRACK = (
        "counts the track too if another fold has it, and else stops with an error",
        "left out",
        "write the path as the test list spells it",
    )
    REPEATED_TRACK = (
        "takes the last line of a path, but counts each path of a name",
        "the last line counts",
        "write each track once",
    )
    MISSING_TRACK = (
        "counts it as wrong in its fold and leaves it out of the overall figure",
        "the same",
        "write a line for each track of the test list",
    )
    SAME_NAME = ("takes both for one track", "told apart by file name or path", "rename the files")
    SHORT_NAME = ("stops with an error", "counted like any other", "rename the file")
    NO_LETTERS = ("stops with an error", "a class like any other", "give the class a name with ASCII letters or digits")
    SAME_LABEL = ("takes both for one class", "the same", "give the classes names that differ in letters or digits")

    def __init__(self, evaluator: str, counted: str, advice: str) -> None:
        self.evaluator, self.counted, self.advice = evaluator, counted, advice


@dataclass(frozen=True)
class Finding:
    """One thing on which the evaluator fails or miscounts; where: a file, or file:line."""

    where: str
    found: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.where}: {self.found}: the evaluator {self.kind.evaluator}: {self.kind.advice}"


def class_key(label: str) -> str:
    """By what a label is compared: as the evaluator cleans it, or as spelled where that would leave nothing."""
    return nema.clean_label(label) or label


def class_names(tracks: Iterable[Track]) -> dict[str, str]:
    """{key: label as first spelled} of all classes, in the order of their numbers."""
    spelled: dict[str, str] = {}
    for track in tracks:
        spelled.setdefault(class_key(track.label), track.label)
    return dict(sorted(spelled.items()))


class TestList:
    """The tracks of one fold, which a line of an output names by path, by file name or as the evaluator does.

    The first of the three that fits exactly one track decides. Where no two tracks share the evaluator's name, that is
    the evaluator's own rule; where some do, it still tells them apart.
    """

    __test__ = False  # pytest takes the name for a test's

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._found: list[dict[str, list[int]]] = []
        for naming in self._NAMINGS:
            found = defaultdict(list)
            for number, path in enumerate(paths):
                found[naming(path)].append(number)
            self._found.append(found)

    _NAMINGS = (os.path.normpath, nema.file_name, nema.track_id)

    def find(self, path: str) -> int | None:
        """The number of the track that `path` names, if there is exactly one."""
        for naming, found in zip(self._NAMINGS, self._found, strict=True):
            numbers = found.get(naming(path), ())
            if len(numbers) == 1:
                return numbers[0]
        return None


class _Reading(NamedTuple):
    """One way to read a line: the words taken for path and label, and which track and class they are."""

    path: str
    label: str
    track: int | None
    class_number: int | None

    @property
    def meaning(self) -> tuple[int | None, int | None]:
        return self.track, self.class_number


def read_output(
    output: str | os.PathLike[str], test_list: TestList, classes: Mapping[str, int]
) -> tuple[np.ndarray, list[Finding]]:
    """The class that an output gives each track of the test list, int64 [shape=(n_tracks,)], and what is wrong with it.

    classes : {class_key: number}; a line is read up to its last tab, or else at white space as the evaluator does,
        whichever names a track and a class of the task.

    Raises ListError only if the file cannot be read at all.
    """
    name = os.fspath(output)
    predicted = np.full(len(test_list.paths), NO_PREDICTION)
    line_of: dict[int, int] = {}
    findings = []
    number = 0

    def reading(path: str, label: str) -> _Reading:
        return _Reading(path, label, test_list.find(path), classes.get(class_key(label)))

    for number, raw in numbered_lines(output):
        where = f"{name}:{number}"
        line = raw.decode("utf-8", errors="replace")  # as Java reads it
        path, _, label = line.rpartition("\t")
        words = nema.split_line(line)
        by_tab = [reading(path, label)] if path and label.strip() else []
        by_words = [reading(*words)] if words else []
        if not by_tab and not by_words:
            findings.append(Finding(where, f"no label in {line!r}", Kind.NO_LABEL))
            continue
        best = min(by_tab + by_words, key=lambda read: read.meaning.count(None))
        if best.track is None:
            found = f"{best.path!r} names no track of the test list, or several"
            findings.append(Finding(where, found, Kind.UNKNOWN_TRACK))
            continue
        if best.track in line_of:
            found = f"{best.path!r} is the track of line {line_of[best.track]} too"
            findings.append(Finding(where, found, Kind.REPEATED_TRACK))
        if best.class_number is None:
            findings.append(Finding(where, f"label {best.label!r} is no class of the task", Kind.UNKNOWN_LABEL))
        elif any(read.meaning != best.meaning for read in by_words):
            findings.append(Finding(where, f"white space in {best.path!r} or {best.label!r}", Kind.CUT_LINE))
        line_of[best.track] = number
        predicted[best.track] = NO_PREDICTION if best.class_number is None else best.class_number
    if not number:
        findings.append(Finding(name, "no line", Kind.EMPTY))
    else:
        missing = (path for track, path in enumerate(test_list.paths) if track not in line_of)
        findings += [Finding(name, f"no line for {path!r}", Kind.MISSING_TRACK) for path in missing]
    return predicted, findings


def check_names(entries: Iterable[tuple[str | os.PathLike[str], Track]]) -> list[Finding]:
    """What the evaluator trips over in the paths and labels of (list, track) entries; each kind once a path or label.

    A track without a label is one of a test list.
    """
    findings = []
    paths: set[str] = set()
    labels: set[str] = set()
    first_path: dict[str, str] = {}
    first_label: dict[str, str] = {}
    for list_path, track in entries:
        where, path, label = f"{os.fspath(list_path)}:{track.line}", os.path.normpath(track.path), track.label
        if path not in paths:
            paths.add(path)
            if nema.breaks_line(path):
                findings.append(Finding(where, f"white space in {path!r}", Kind.CUT_LINE))
            if len(nema.file_name(path)) < nema.MIN_NAME_LENGTH:
                found = f"a file name of fewer than {nema.MIN_NAME_LENGTH} characters in {path!r}"
                findings.append(Finding(where, found, Kind.SHORT_NAME))
            if (same := first_path.setdefault(nema.track_id(path), path)) != path:
                findings.append(Finding(where, f"{path!r} is named like {same!r} up to the first dot", Kind.SAME_NAME))
        if label and label not in labels:
            labels.add(label)
            if nema.breaks_line(label):
                findings.append(Finding(where, f"white space in label {label!r}", Kind.CUT_LINE))
            if not nema.clean_label(label):
                findings.append(Finding(where, f"label {label!r} has no ASCII letter or digit", Kind.NO_LETTERS))
            elif (same := first_label.setdefault(nema.clean_label(label), label)) != label:
                found = f"label {label!r} has the letters and digits of {same!r}"
                findings.append(Finding(where, found, Kind.SAME_LABEL))
    return findings
