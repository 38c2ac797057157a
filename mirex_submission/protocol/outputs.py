"""The output of a system: writing it, and reading it as the organisers' evaluator (NEMA) does.

`Kind` says where NEMA fails or miscounts, from its sources: `ClassificationTextFile` reads a file, `EvaluatorImpl` and
`ClassificationEvaluator` match it with the truth. Where the names of the tracks are sound, this module reads what NEMA
reads. Labels are compared by `class_key`. A class is a number, in the order of the keys, as NEMA orders classes.
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
    """Write `path<TAB>label` lines, the file that the evaluator reads, whole or not at all.

    Raises
    ------
    ListError
        If a path or label cannot stand in a line.
    StorageError
        If the disk does not take the file.
    """
    write_output(output_path, prediction_lines(output_path, predictions))


def prediction_lines(output_path: str | os.PathLike[str], predictions: Iterable[Track]) -> bytes:
    """Encode `path<TAB>label` lines of a file. Raises ListError if a path or label cannot stand in a line."""
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
    """Write a CSV file with the columns path, label, and one probability a class.

    Parameters
    ----------
    csv_path : path-like
        File to write, whole or not at all.
    classes : sequence of str
        Labels that head the columns of probabilities.
    rows : iterable of (path, label, probabilities)
        One row a track; as many probabilities as classes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", *classes])
    for path, label, probabilities in rows:
        # Nine digits give a float32 back exactly.
        writer.writerow([path, label, *(f"{p:.9g}" for p in probabilities)])
    write_output(csv_path, text.getvalue().encode("utf-8"))


@lru_cache(maxsize=20_000)  # the lines of an output repeat few labels
def class_key(label: str) -> str:
    """Return the text by which a label is compared: cleaned as the evaluator does, or as spelled if nothing is left."""
    return nema.clean_label(label) or label


def class_names(tracks: Iterable[Track]) -> dict[str, str]:
    """Map the key of each class to its label as first spelled, in the order of the classes' numbers."""
    spelled: dict[str, str] = {}
    for track in tracks:
        spelled.setdefault(class_key(track.label), track.label)
    return dict(sorted(spelled.items()))


def class_numbers(names: Mapping[str, str]) -> dict[str, int]:
    """Map the key of each class to its number, and its label in composed form too, for one of another Unicode form.

    names : as class_names() has them.
    """
    numbers = {key: number for number, key in enumerate(names)}
    return {nfc(label): number for number, label in enumerate(names.values()) if not label.isascii()} | numbers


def is_marked(line: bytes) -> bool:
    """Return whether the first line of a file has a byte order mark that the evaluator stumbles over.

    Before a path with a folder it does no harm.
    """
    words = line.split()
    return line.startswith(codecs.BOM_UTF8) and bool(words) and b"/" not in words[0]


class TestList:
    """The tracks of one fold, which a line of an output names by path, by file name or as the evaluator does.

    The first of the three that fits exactly one track decides. Where no two tracks share the evaluator's name, that is
    the evaluator's own rule; where some do, it still tells them apart.

    Parameters
    ----------
    paths : sequence of str
        Paths of the test list, each once.
    marked : bool
        Whether the truth `is_marked`.
    """

    __test__ = False  # pytest takes the name for a test's
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
        """Return the number of the track that `path` names, None if that is not exactly one.

        composed : compare in the composed Unicode form.
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
    """One way to read a line: the words taken for path and label, and the numbers of their track and class.

    other_form : whether only another Unicode form of the path or the label names them.
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
    """Read the class that an output gives each track of the test list, and everything that is wrong with the output.

    Parameters
    ----------
    output : path-like
        The system's file. A line is read up to its last tab, or else at white space as the evaluator does, whichever
        names a track and a class of the task.
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
        Only if the file cannot be read at all.
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
            problem = f"{shortened(best.path)!r} is the track of line {line_of[best.track]} too"
            findings.append(Finding(where, problem, Kind.REPEATED_TRACK))
        if best.class_number is None:
            findings.append(
                Finding(where, f"label {shortened(best.label)!r} is no class of the task", Kind.UNKNOWN_LABEL)
            )
        elif best.other_form:
            problem = f"{shortened(best.path)!r} or {shortened(best.label)!r} has another Unicode form in the lists"
            findings.append(Finding(where, problem, Kind.UNICODE_FORM))
        # The last reading is the evaluator's. It may agree by chance, with a class that the path names.
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
        problem = f"a byte order mark before {'the first file name' if marked else 'that of the truth alone'}"
        findings.insert(0, Finding(f"{name}:1", problem, Kind.BYTE_ORDER_MARK))
    missing = (path for track, path in enumerate(test_list.paths) if track not in line_of)
    return predicted, findings + [Finding(name, f"no line for {path!r}", Kind.MISSING_TRACK) for path in missing]


def _readings(line: str, test_list: TestList, classes: Mapping[str, int]) -> list[_Reading]:
    """Read a line at its last tab and then as the evaluator does; without what has no path or no label."""
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
    """Find the paths and labels of lists on which the evaluator fails; each kind once a path or label.

    Parameters
    ----------
    entries : iterable of (list, Track)
        The tracks of one list or several; a track without a label is one of a test list.
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
    """Check one path; `namesake` is the first path that the evaluator takes for the same track."""
    findings = []
    if nema.breaks_line(path):
        findings.append(Finding(where, f"white space in {path!r}", Kind.CUT_LINE))
    if len(nema.file_name(path)) < nema.MIN_NAME_LENGTH:
        problem = f"a file name of fewer than {nema.MIN_NAME_LENGTH} characters in {path!r}"
        findings.append(Finding(where, problem, Kind.SHORT_NAME))
    if namesake != path:
        findings.append(Finding(where, f"{path!r} is named like {namesake!r} up to the first dot", Kind.SAME_NAME))
    return findings


def _label_findings(where: str, label: str, namesake: str) -> list[Finding]:
    """Check one label; `namesake` is the first label that the evaluator takes for the same class."""
    findings = []
    if nema.breaks_line(label):
        findings.append(Finding(where, f"white space in label {label!r}", Kind.CUT_LINE))
    if not nema.clean_label(label):
        findings.append(Finding(where, f"label {label!r} has no ASCII letter or digit", Kind.NO_LETTERS))
    elif namesake != label:
        problem = f"label {label!r} has the letters and digits of {namesake!r}"
        findings.append(Finding(where, problem, Kind.SAME_LABEL))
    return findings
