"""The output of a system: writing it, and reading it as the organisers' evaluator (NEMA) does.

`Kind` lists where NEMA fails or miscounts, according to its sources: `ClassificationTextFile` reads a file,
`EvaluatorImpl` and `ClassificationEvaluator` match it with the truth. For good track names, this module reads exactly
what NEMA reads. Labels are compared by `class_key`. Classes are numbered in the order of their keys, as in NEMA.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mirex_submission.errors import ListError
from mirex_submission.protocol import nema
from mirex_submission.protocol.findings import Finding, Kind
from mirex_submission.protocol.lists import Track, numbered_lines
from mirex_submission.system.atomic import write_output
from mirex_submission.system.progress import shortened
from mirex_submission.system.unicode_forms import nfc

if TYPE_CHECKING:
    import numpy as np

NO_PREDICTION = -1


def write_predictions(output_path: str | os.PathLike[str], predictions: Iterable[Track]) -> None:
    """Write the output of `path<TAB>label` lines that the evaluator reads, whole or not at all.

    Raises
    ------
    ListError
        A line cannot hold a path or a label.
    StorageError
        The file cannot be written.
    """
    write_output(output_path, prediction_lines(output_path, predictions))


def prediction_lines(output_path: str | os.PathLike[str], predictions: Iterable[Track]) -> bytes:
    """Encode `path<TAB>label` lines of a file. Raises ListError if a line cannot hold a path or a label."""
    lines = []
    for track in predictions:
        if re.search(r"[\t\r\n]", track.label) or re.search(r"[\r\n]", track.path) or not track.path or not track.label:
            problem = f"{output_path}: a line cannot hold {track.path!r} with label {track.label!r}"
            raise ListError(f"{problem}: rename the file or the class", code="output.unwritable")
        lines.append(f"{track.path}\t{track.label}\n")
    return "".join(lines).encode("utf-8")


def write_probabilities(
    csv_path: str | os.PathLike[str],
    classes: Sequence[str],
    rows: Iterable[tuple[str, str, Iterable[float]]],
) -> None:
    """Write a CSV file with the columns path, label, and one for the probability of each class.

    Parameters
    ----------
    csv_path : path-like
        File to write, whole or not at all.
    classes : sequence of str
        Labels that head the columns of probabilities.
    rows : iterable of (path, label, probabilities)
        One row per track, with one probability per class.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", *classes])
    for path, label, probabilities in rows:
        # Nine digits restore a float32 exactly.
        writer.writerow([path, label, *(f"{p:.9g}" for p in probabilities)])
    write_output(csv_path, text.getvalue().encode("utf-8"))


@lru_cache(maxsize=20_000)  # the lines of an output repeat few labels
def class_key(label: str) -> str:
    """Return the text that is compared for a label: cleaned as by the evaluator, or as spelled if nothing is left."""
    return nema.clean_label(label) or label


def class_names(tracks: Iterable[Track]) -> dict[str, str]:
    """Map the key of each class to its label as first spelled, in the order of the classes' numbers."""
    spelled: dict[str, str] = {}
    for track in tracks:
        spelled.setdefault(class_key(track.label), track.label)
    return dict(sorted(spelled.items()))


def class_numbers(names: Mapping[str, str]) -> dict[str, int]:
    """Map the key of each class, and its label in composed Unicode form, to the number of the class.

    names : the result of class_names().
    """
    numbers = {key: number for number, key in enumerate(names)}
    return {nfc(label): number for number, label in enumerate(names.values()) if not label.isascii()} | numbers


def is_marked(line: bytes) -> bool:
    """Return whether the first line of a file has a byte order mark on which the evaluator fails.

    A mark before a path with a folder does no harm.
    """
    words = line.split()
    return line.startswith(codecs.BOM_UTF8) and bool(words) and b"/" not in words[0]


class TestList:
    """The tracks of one fold, which can be searched by path, by file name and by the evaluator's track name.

    The first of the three that fits exactly one track decides. If no two tracks share an evaluator's name, this gives
    the same tracks as the evaluator's rule; otherwise it can still distinguish them.

    Parameters
    ----------
    paths : sequence of str
        Paths of the test list, each once.
    marked : bool
        Whether the truth `is_marked`.
    """

    __test__ = False  # pytest would take this class for a test
    _NAMINGS = (os.path.normpath, nema.file_name, nema.track_id)

    def __init__(self, paths: Sequence[str], *, marked: bool = False) -> None:
        self.paths = paths
        self.marked = marked
        self._tracks_of = self._name(paths)
        tracks_of = self._tracks_of[0]
        self._as_spelled = {path: k for k, path in enumerate(paths) if len(tracks_of[os.path.normpath(path)]) == 1}

    @cached_property
    def _composed(self) -> list[dict[str, list[int]]]:
        return self._name([nfc(path) for path in self.paths])

    def _name(self, paths: Sequence[str]) -> list[dict[str, list[int]]]:
        tracks: list[dict[str, list[int]]] = []
        for naming in self._NAMINGS:
            tracks_of = defaultdict(list)
            for track, path in enumerate(paths):
                tracks_of[naming(path)].append(track)
            tracks.append(tracks_of)
        return tracks

    def find(self, path: str, *, composed: bool = False) -> int | None:
        """Return the number of the track that `path` names; None if it names none or several.

        composed : compare in composed Unicode form.
        """
        if not composed and path in self._as_spelled:
            return self._as_spelled[path]
        path, tracks_of_namings = (nfc(path), self._composed) if composed else (path, self._tracks_of)
        for naming, tracks_of in zip(self._NAMINGS, tracks_of_namings, strict=True):
            tracks = tracks_of.get(naming(path), ())
            if len(tracks) == 1:
                return tracks[0]
        return None


class _Reading(NamedTuple):
    """One way to read a line: its path and label, and the numbers of their track and class.

    other_form : whether the path or the label fits only in another Unicode form.
    """

    path: str
    label: str
    track: int | None
    class_number: int | None
    other_form: bool

    @property
    def meaning(self) -> tuple[int | None, int | None]:
        return self.track, self.class_number


def read_output(
    output: str | os.PathLike[str], test_list: TestList, classes: Mapping[str, int]
) -> tuple[np.ndarray, list[Finding]]:
    """Read the predicted class of each track of a test list from an output, and find all problems of the output.

    Parameters
    ----------
    output : path-like
        The system's file. A line is split at its last tab, or at white space as the evaluator does: the first of the
        two that gives a track and a class of the task is used.
    test_list : TestList
        The tracks of the fold.
    classes : mapping
        Number of each class by its `class_key`.

    Returns
    -------
    predicted : np.ndarray [shape=(n_tracks,), dtype=int64]
        Class numbers, NO_PREDICTION where there is none.
    findings : list of Finding
        The problems, in the order of lines, then the tracks without a line.

    Raises
    ------
    ListError
        The file cannot be read at all.
    """
    import numpy as np

    name = os.fspath(output)
    predicted = np.full(len(test_list.paths), NO_PREDICTION)
    line_of: dict[int, int] = {}
    findings = []
    marked, empty = False, True
    for number, raw in numbered_lines(output, of_output=True):
        where = f"{name}:{number}"
        if number == 1:
            marked = is_marked(raw)
        line = raw.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode("utf-8", errors="replace")  # as in Java
        if not line.strip():
            continue
        empty = False
        readings = _readings(line, test_list, classes)
        if not readings:
            findings.append(Finding(where, f"no label in {shortened(line)!r}", Kind.NO_LABEL))
            continue
        best, *others = readings
        if others:
            best = min(readings, key=lambda reading: reading.meaning.count(None))
        if best.track is None:
            problem = f"{shortened(best.path)!r} names no track of the test list, or several"
            findings.append(Finding(where, problem, Kind.UNKNOWN_TRACK))
            continue
        if best.track in line_of:
            problem = f"{shortened(best.path)!r} is also the track of line {line_of[best.track]}"
            findings.append(Finding(where, problem, Kind.REPEATED_TRACK))
        if best.class_number is None:
            findings.append(
                Finding(where, f"label {shortened(best.label)!r} is no class of the task", Kind.UNKNOWN_LABEL)
            )
        elif best.other_form:
            problem = f"{shortened(best.path)!r} or {shortened(best.label)!r} has another Unicode form in the lists"
            findings.append(Finding(where, problem, Kind.UNICODE_FORM))
        # The last reading is the evaluator's. It may agree by chance, if a word of the path names a class.
        elif (others and readings[-1].meaning != best.meaning) or (
            "\t" in line and nema.breaks_line(line.partition("\t")[0].strip())
        ):
            findings.append(
                Finding(where, f"white space in {shortened(best.path)!r} or {shortened(best.label)!r}", Kind.CUT_LINE)
            )
        line_of[best.track] = number
        predicted[best.track] = NO_PREDICTION if best.class_number is None else best.class_number
    if empty:
        return predicted, [Finding(name, "no line", Kind.EMPTY)]
    if marked != test_list.marked:
        owner = "this output" if marked else "the truth"
        problem = f"only {owner} has a byte order mark before the first file name"
        findings.insert(0, Finding(f"{name}:1", problem, Kind.BYTE_ORDER_MARK))
    missing = (path for track, path in enumerate(test_list.paths) if track not in line_of)
    return predicted, findings + [Finding(name, f"no line for {path!r}", Kind.MISSING_TRACK) for path in missing]


def _readings(line: str, test_list: TestList, classes: Mapping[str, int]) -> list[_Reading]:
    """Read a line split at its last tab, and as the evaluator does; leave out readings without path or label."""
    path, _, label = line.rpartition("\t")
    pairs = [(path, label)] if path and label.strip() else []
    words = nema.split_line(line)
    pairs += [words] if words and words not in pairs else []
    return [_reading(path, label, test_list, classes) for path, label in pairs]


def _reading(path: str, label: str, test_list: TestList, classes: Mapping[str, int]) -> _Reading:
    track, number = test_list.find(path), classes.get(class_key(label))
    if (track is not None and number is not None) or (path + label).isascii():
        return _Reading(path, label, track, number, other_form=False)
    same_track = test_list.find(path, composed=True) if track is None else track
    same_number = classes.get(nfc(label)) if number is None else number
    return _Reading(path, label, same_track, same_number, (same_track, same_number) != (track, number))


def check_names(entries: Iterable[tuple[str | os.PathLike[str], Track]]) -> list[Finding]:
    """Find the paths and labels of lists on which the evaluator fails, once for each path or label.

    Parameters
    ----------
    entries : iterable of (list, Track)
        The tracks of one or several lists; tracks of a test list have no label.
    """
    findings = []
    first_path: dict[str, str] = {}
    first_label: dict[str, str] = {}
    first_form: dict[str, str] = {}
    paths: set[str] = set()
    labels: set[str] = set()
    for list_path, track in entries:
        where, path, label = f"{os.fspath(list_path)}:{track.line}", os.path.normpath(track.path), track.label
        if path not in paths:
            paths.add(path)
            findings += _path_findings(where, path, first_path.setdefault(nema.track_id(path), path))
        if label and label not in labels:
            labels.add(label)
            findings += _label_findings(where, label, first_label.setdefault(nema.clean_label(label), label))
            other = first_form.setdefault(nfc(label), label)
            if class_key(other) != class_key(label):
                findings.append(Finding(where, f"label {label!r} is {other!r} in another Unicode form", Kind.TWO_FORMS))
    return findings


def _path_findings(where: str, path: str, namesake: str) -> list[Finding]:
    """Find the problems of one path; `namesake` is the first path that the evaluator takes for the same track."""
    findings = []
    if nema.breaks_line(path):
        findings.append(Finding(where, f"white space in {path!r}", Kind.CUT_LINE))
    if len(nema.file_name(path)) < nema.MIN_NAME_LENGTH:
        problem = f"a file name of fewer than {nema.MIN_NAME_LENGTH} characters in {path!r}"
        findings.append(Finding(where, problem, Kind.SHORT_NAME))
    if namesake != path:
        problem = f"{path!r} and {namesake!r} have the same file name up to the first dot"
        findings.append(Finding(where, problem, Kind.SAME_NAME))
    return findings


def _label_findings(where: str, label: str, namesake: str) -> list[Finding]:
    """Find the problems of one label; `namesake` is the first label that the evaluator takes for the same class."""
    findings = []
    if nema.breaks_line(label):
        findings.append(Finding(where, f"white space in label {label!r}", Kind.CUT_LINE))
    if not nema.clean_label(label):
        findings.append(Finding(where, f"label {label!r} has no ASCII letter or digit", Kind.NO_LETTERS))
    elif namesake != label:
        problem = f"label {label!r} has the same letters and digits as {namesake!r}"
        findings.append(Finding(where, problem, Kind.SAME_LABEL))
    return findings
