"""The lists of MIREX train/test tasks: read with every fault named.

All are UTF-8 text (with or without a byte order mark), one entry a line, no header; LF, CRLF and CR end a line; blank
lines count for nothing. A feature or test list has one path a line. A training list, a ground truth and our output
have `path<TAB>label`: the label is what follows the LAST tab. Paths and labels are kept exactly as spelled. A relative
path is relative to the folder that the command is called from.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mirex_submission.errors import ListError, coded
from mirex_submission.protocol import nema
from mirex_submission.system.paths import full_path

log = logging.getLogger(__name__)

MAX_FAULTS_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Track:
    """One entry of a list: the path as spelled, in a labelled list the label as spelled, and the line it stands in."""

    path: str
    label: str = ""
    line: int = field(default=0, compare=False, repr=False, kw_only=True)


class ListAtHand(os.PathLike[str]):
    """A list that a caller in Python has at hand: read, with the same checks, where a path of a list is expected.

    name : of the caller's argument, which messages call `<name>:entry`.
    entries : paths, or pairs (path, label).
    """

    def __init__(self, name: str, entries: Iterable[object]) -> None:
        self._name = f"<{name}>"
        self.lines: list[bytes] = []
        faults = Faults(self)
        for number, entry in enumerate(entries, start=1):
            path, *labels = entry if isinstance(entry, (tuple, list)) else (entry,)
            fields = [os.fspath(path) if isinstance(path, os.PathLike) else path, *map(str, labels)]
            if any(label is None or (isinstance(label, float) and math.isnan(label)) for label in labels):
                faults.add(number, f"no label in {entry!r}", "give each path its label", code="list.empty-label")
            elif not isinstance(fields[0], str) or len(fields) > 2:
                advice = "give a path, or in a labelled list a pair of path and label"
                faults.add(number, repr(entry), advice, code="list.bad-entry")
            elif re.search(r"[\r\n]", "".join(fields)) or "\t" in "".join(fields[1:]):
                advice = "rename it: no list or output can hold it"
                faults.add(number, f"a line end or a tab in {fields!r}", advice, code="list.line-end")
            else:
                # What no UTF-8 can hold is a fault where the line is decoded, as in a file.
                self.lines.append("\t".join(fields).encode("utf-8", "surrogatepass"))
        if faults.problems:
            faults.finish(n_entries=len(self.lines), expected="path")

    def __fspath__(self) -> str:
        return self._name

    __str__ = __fspath__


def read_paths(list_path: str | os.PathLike[str], *, for_evaluator: bool = True) -> list[str]:
    """Read a feature extraction or test list: its paths, in order, repeated ones too.

    for_evaluator : warn of names that the organisers' evaluator would trip over.
    Raises ListError with every fault of the list.
    """
    tracks = read_unlabelled(list_path)
    for warning in path_list_warnings(list_path, tracks, for_evaluator=for_evaluator):
        log.warning("%s", warning)
    return [track.path for track in tracks]


def path_list_warnings(
    list_path: str | os.PathLike[str], tracks: Sequence[Track], *, for_evaluator: bool = True
) -> list[str]:
    """What is odd about the entries of a feature extraction or test list."""
    first: dict[str, int] = {}
    duplicates = []
    for track in tracks:
        if first.setdefault(track.path, track.line) != track.line:
            duplicates.append((track.line, first[track.path], track.path))
    return _warnings(
        list_path, duplicates, nema.path_warnings([track.path for track in tracks]) if for_evaluator else []
    )


def read_unlabelled(list_path: str | os.PathLike[str]) -> list[Track]:
    """The entries of a feature extraction or test list, in order, repeated ones too, without a warning.

    Raises ListError with every fault of the list.
    """
    faults = Faults(list_path)
    tracks = []
    for number, line in faults.lines():
        path, tab, label = line.rpartition("\t")
        # A file name may hold a tab, so only the disk can tell such a name from a labelled line.
        if tab and path.strip() and not os.path.exists(line) and (os.path.exists(path) or not os.path.exists(label)):
            advice = "give one path a line here; labels belong in a training list"
            faults.add(number, f"a tab, then {label!r}", advice, code="list.unexpected-label")
            continue
        if usable_path(line, number, faults):
            tracks.append(Track(line, line=number))
    faults.finish(n_entries=len(tracks), expected="path")
    return tracks


def read_labelled(
    list_path: str | os.PathLike[str],
    *,
    min_classes: int = 2,
    for_evaluator: bool = True,
    warn: Callable[[str], object] = log.warning,
) -> list[Track]:
    """Read a training list or ground truth: its tracks, in order, each path once.

    for_evaluator : warn of names and labels that the organisers' evaluator would trip over.
    warn : takes each warning.
    Raises ListError with every fault of the list. A line that repeats an earlier one is left out with a warning.
    """
    faults = Faults(list_path)
    tracks: list[Track] = []
    first: dict[str, Track] = {}
    duplicates = []
    for number, line in faults.lines():
        path, tab, label = line.rpartition("\t")
        if not tab:
            faults.add(number, f"no tab in {line!r}", "write path<TAB>label", code="list.no-tab")
            continue
        if not label.strip():
            faults.add(number, "an empty label", "write path<TAB>label", code="list.empty-label")
            continue
        if not usable_path(path, number, faults):
            continue
        track = Track(path, sys.intern(label), line=number)  # one label for all its tracks
        file = full_path(path)
        earlier = first.setdefault(path if file == path else file, track)
        if earlier is track:
            tracks.append(track)
        elif label == earlier.label:
            duplicates.append((number, earlier.line, path))
        else:
            problem = f"{path!r} is {label!r} here and {earlier.label!r} in line {earlier.line}"
            faults.add(number, problem, "keep one of the two lines", code="list.two-labels")
    labels = list(dict.fromkeys(track.label for track in tracks))
    if tracks and len(labels) < min_classes and not faults.problems:
        problem = f"{len(labels)} class ({', '.join(map(repr, labels))})"
        faults.add(None, problem, f"a classifier needs tracks of at least {min_classes} classes", code="list.one-class")
    faults.finish(n_entries=len(tracks), expected="path<TAB>label")
    evaluator_warnings = nema.path_warnings([t.path for t in tracks]) + nema.label_warnings(labels)
    for warning in _warnings(list_path, duplicates, evaluator_warnings if for_evaluator else []):
        warn(warning)
    return tracks


def read_all(*reads: Callable[[], Any]) -> list[Any]:
    """What each of the calls returns. Raises ListError with the faults of all lists that they read."""
    results, faults = [], []
    for read in reads:
        try:
            results.append(read())
        except ListError as error:
            faults.append(str(error))
    if faults:
        raise ListError("\n".join(faults))
    return results


def numbered_lines(list_path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line without its end) for each line of a list that is not blank.

    Raises ListError if the list cannot be read.
    """
    if isinstance(list_path, ListAtHand):
        yield from enumerate(list_path.lines, start=1)
        return
    try:
        with open(list_path, "rb") as f:
            # Lines of bytes end at LF, CRLF and CR, and not at form feeds and whatever else a path may hold.
            for number, raw in enumerate(chain.from_iterable(map(bytes.splitlines, f)), start=1):
                if number == 1:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                if raw.strip(b" "):
                    yield number, raw
    except IsADirectoryError:
        raise ListError(f"{list_path}: a folder: give the list file itself", code="list.folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"{list_path}: cannot be read: {reason}: check the path of the list"
        raise ListError(problem, code="list.unreadable") from None


def faults_error(list_path: str | os.PathLike[str], problems: Sequence[str]) -> ListError:
    """Make one error of all problems, one a line; of very many it shows the first and counts the others."""
    more = len(problems) - MAX_FAULTS_SHOWN
    rest = [f"{list_path}: and {more:,} problems more"] if more > 0 else []
    return ListError("\n".join([*problems[:MAX_FAULTS_SHOWN], *rest]))


class Faults:
    """The lines of one list, and the problems in them so far.

    Parameters
    ----------
    list_path : path-like
        The list, which each problem names.
    """

    def __init__(self, list_path: str | os.PathLike[str]) -> None:
        self.list_path = list_path
        self.problems: list[tuple[int, str]] = []  # line number, message

    def add(self, number: int | None, problem: str, advice: str, *, code: str) -> None:
        """Add a problem of a line, or of the whole list."""
        where = f"{self.list_path}" if number is None else f"{self.list_path}:{number}"
        self.problems.append((number or 0, coded(f"{where}: {problem}: {advice}", code=code)))

    def lines(self) -> Iterable[tuple[int, str]]:
        """Yield (line number, line without its end) for each line that is not blank and can be decoded."""
        for number, raw in numbered_lines(self.list_path):
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError as error:
                problem = f"byte 0x{raw[error.start]:02x} at column {error.start + 1} is not UTF-8"
                self.add(number, problem, "save the list as UTF-8", code="list.not-utf8")

    def finish(self, *, n_entries: int, expected: str) -> None:
        """Raise ListError if there is any problem, or no entry."""
        if not self.problems and not n_entries:
            raise ListError(f"{self.list_path}: no entry: write one `{expected}` a line", code="list.empty")
        if self.problems:
            raise faults_error(self.list_path, [text for _, text in sorted(self.problems, key=lambda p: p[0])])


def usable_path(path: str, number: int, faults: Faults) -> bool:
    """Return whether a path can name a file; adds the problem if not."""
    if not path.strip():
        faults.add(number, "an empty path", "write the path of an audio file", code="list.empty-path")
    elif "\0" in path:
        faults.add(number, "a NUL character in the path", "save the list as plain UTF-8 text", code="list.nul")
    else:
        return True
    return False


def _warnings(
    list_path: str | os.PathLike[str], duplicates: Sequence[tuple[int, int, str]], evaluator_warnings: Iterable[str]
) -> list[str]:
    shown = ", ".join(f"line {a} repeats line {b} ({path})" for a, b, path in duplicates[: nema.N_EXAMPLES])
    repeated = coded(f"{len(duplicates)} duplicate line(s): {shown}", code="list.duplicate-line")
    return [f"{list_path}: {warning}" for warning in ([repeated] if duplicates else []) + list(evaluator_warnings)]
