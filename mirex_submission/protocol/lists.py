"""The lists of MIREX train/test tasks: read with every problem named.

All are UTF-8 text (with or without a byte order mark), one entry a line, no header; LF, CRLF and CR end a line; blank
lines count for nothing. A feature or test list has one path a line. A training list, a ground truth and our output
have `path<TAB>label`: the label is what follows the LAST tab. Paths and labels are kept exactly as spelled. A relative
path is relative to the folder that the command is called from.
"""

from __future__ import annotations

import codecs
import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mirex_submission.errors import ListError, coded, reason_of
from mirex_submission.protocol import nema
from mirex_submission.protocol.in_memory import InMemoryList
from mirex_submission.protocol.misread import misreadings
from mirex_submission.system.file_types import HEAD, TEXT, file_type
from mirex_submission.system.paths import full_path
from mirex_submission.system.progress import shortened
from mirex_submission.system.unicode_forms import nfc

log = logging.getLogger(__name__)

MAX_PROBLEMS_SHOWN = 1000
# A file of so many faulty lines, or with so long a line, is no list, and may have no end, as a device.
_MAX_PROBLEMS, _MAX_LINE_BYTES = 100_000, 1 << 16
_NO_PATH = re.compile(rb"\s*[\[{<]|%PDF-")  # only asked where a whole pattern of such a type fits
_MAX_PATH_BYTES = 4095  # what Linux opens
AUDIO = (b"RIFF", b"RF64", b"FORM", b"OggS", b"fLaC", b"ID3", b".snd", b"caff", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1")


@dataclass(frozen=True, slots=True)
class Track:
    """One entry of a list: the path as spelled, in a labelled list the label as spelled, and the line it stands in."""

    path: str
    label: str = ""
    line: int = field(default=0, compare=False, repr=False, kw_only=True)


def read_paths(list_path: str | os.PathLike[str], *, for_evaluator: bool = True) -> list[str]:
    """Read a feature extraction or test list: its paths, in order, repeated ones too.

    for_evaluator : warn of names that the organisers' evaluator would trip over.
    Raises ListError with every problem of the list.
    """
    tracks = read_unlabelled(list_path)
    check_paths(list_path, tracks)
    for warning in path_list_warnings(list_path, tracks, for_evaluator=for_evaluator):
        log.warning("%s", warning)
    return [track.path for track in tracks]


def check_paths(list_path: str | os.PathLike[str], tracks: Sequence[Track]) -> None:
    """Raise ListError if paths of a list lead nowhere for a reason that can be seen, such as quotes."""
    problems = Problems(list_path)
    for misread in misreadings(list_path, [(track.line, track.path) for track in tracks]):
        problems.add(misread.line, misread.problem, misread.advice, code=misread.code)
    problems.finish(n_entries=len(tracks), expected="path")


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

    Raises ListError with every problem of the list.
    """
    problems = Problems(list_path)
    tracks = []
    for number, line in problems.read_lines():
        path, tab, label = line.rpartition("\t")
        # A file name may hold a tab, so only the disk can tell such a name from a labelled line.
        if tab and path.strip() and not os.path.exists(line) and (os.path.exists(path) or not os.path.exists(label)):
            problems.add(
                number,
                f"a tab, then {shortened(label)!r}",
                "give one path a line here; labels belong in a training list",
                code="list.label",
            )
            continue
        if is_path(line, number, problems):
            tracks.append(Track(line, line=number))
    problems.finish(n_entries=len(tracks), expected="path")
    return tracks


def read_labelled(
    list_path: str | os.PathLike[str],
    *,
    min_classes: int = 2,
    for_evaluator: bool = True,
    warn: Callable[[str], object] = log.warning,
) -> list[Track]:
    """Read a training list or ground truth: its tracks, in order, each path once.

    for_evaluator : the list of a run: check its paths, and warn of names and labels that the organisers' evaluator
    would trip over.
    warn : takes each warning.
    Raises ListError with every problem of the list. A line that repeats an earlier one is left out with a warning.
    """
    problems = Problems(list_path)
    tracks: list[Track] = []
    first: dict[str, Track] = {}
    duplicates = []
    spellings: dict[str, str] = {}
    respelled: list[str] = []
    swapped: list[tuple[int, str]] = []
    is_file = functools.cache(os.path.isfile)  # of labels, which are few where the columns are right
    for number, line in problems.read_lines():
        path, tab, label = line.rpartition("\t")
        if not tab:
            problems.add(number, f"no tab in {shortened(line)!r}", "write path<TAB>label", code="list.no-tab")
            continue
        if is_file(label) and not os.path.isfile(path):
            swapped.append((number, path))
            continue
        if not label.strip():
            problems.add(number, "an empty label", "write path<TAB>label", code="list.no-label")
            continue
        if not is_path(path, number, problems):
            continue
        # One object for all tracks of a label; in a run it is spelled as in its first line.
        key = nfc(label) if for_evaluator else label
        track = Track(path, spellings.setdefault(key, sys.intern(label)), line=number)
        if track.label != label:
            respelled.append(f"line {number} ({label!r})")
        file = full_path(path)
        earlier = first.setdefault(path if file == path else file, track)
        if earlier is track:
            tracks.append(track)
        elif track.label == earlier.label:
            duplicates.append((number, earlier.line, path))
        else:
            other = f"{shortened(earlier.label)!r} in line {earlier.line}"
            conflict = f"{shortened(path)!r} is {shortened(label)!r} here and {other}"
            problems.add(number, conflict, "keep one of the two lines", code="list.two-labels")
    _add_swapped(problems, swapped)
    labels = list(dict.fromkeys(track.label for track in tracks))
    if tracks and len(labels) < min_classes and not problems.lines:
        classes = f"{len(labels)} class ({', '.join(map(repr, labels))})"
        problems.add(
            None, classes, f"a classifier needs tracks of at least {min_classes} classes", code="list.one-class"
        )
    problems.finish(n_entries=len(tracks), expected="path<TAB>label")
    if for_evaluator:
        check_paths(list_path, tracks)
    if respelled:
        shown_lines = ", ".join(respelled[: nema.N_EXAMPLES])
        text = f"{list_path}: {len(respelled)} label(s) in another Unicode form than in an earlier line, which decides"
        warn(coded(f"{text}: {shown_lines}", code="list.unicode-label"))
    evaluator_warnings = nema.path_warnings([t.path for t in tracks]) + nema.label_warnings(labels)
    for warning in _warnings(list_path, duplicates, evaluator_warnings if for_evaluator else []):
        warn(warning)
    return tracks


def _add_swapped(problems: Problems, swapped: Sequence[tuple[int, str]]) -> None:
    """Add one problem for all lines (number and supposed path) that have the label before the path."""
    if swapped:
        (number, path), *others = swapped
        lines = ", ".join(str(line) for line, _ in others[: nema.N_EXAMPLES])
        more = ", ..." if len(others) > nema.N_EXAMPLES else ""
        so_in = f", and so in {len(others):,} more (line {lines}{more})" if others else ""
        text = f"{shortened(path)!r} is no file, but what follows the tab is one: the columns are swapped{so_in}"
        problems.add(number, text, "write path<TAB>label", code="list.swapped")


def read_all(*reads: Callable[[], Any]) -> list[Any]:
    """What each of the calls returns. Raises ListError with the problems of all lists that they read."""
    results, problems = [], []
    for read in reads:
        try:
            results.append(read())
        except ListError as error:
            problems.append(str(error))
    if problems:
        raise ListError("\n".join(problems))
    return results


def numbered_lines(list_path: str | os.PathLike[str], *, of_output: bool = False) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line without its end) for each line of a list that has more than blanks and tabs.

    of_output : it is what a system wrote: a byte order mark before the first line stays, and any line is taken.
    Raises ListError if the list cannot be read.
    """
    if isinstance(list_path, InMemoryList):
        yield from zip(list_path.numbers, list_path.lines, strict=True)
        return
    try:
        with open(list_path, "rb") as f:
            longest = -1 if of_output else _MAX_LINE_BYTES
            if not of_output:
                _check_start(list_path, f.peek(HEAD)[:HEAD])
            # Lines of bytes end at LF, CRLF and CR, and not at form feeds and whatever else a path may hold.
            lines = chain.from_iterable(map(bytes.splitlines, iter(lambda: f.readline(longest), b"")))
            for number, raw in enumerate(lines, start=1):
                if number == 1 and not of_output:
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                if len(raw) >= longest - 1 > 0:
                    text = f"{list_path}:{number}: a line of more than {_MAX_LINE_BYTES:,} bytes: give a list of paths"
                    raise ListError(text, code="list.long-line")
                if raw.strip():
                    yield number, raw
    except IsADirectoryError:
        raise ListError(f"{list_path}: a folder: give the list file itself", code="list.folder") from None
    except (OSError, ValueError) as error:
        raise ListError(
            f"{list_path}: cannot be read: {reason_of(error)}: check the path of the list", code="list.unreadable"
        ) from None


def _check_start(list_path: str | os.PathLike[str], head: bytes) -> None:
    """Raise ListError if a file with these first bytes is of another kind."""
    if head.startswith(AUDIO):
        text = f"{list_path}: an audio file, not a list: write its path into a list, and give that"
        raise ListError(text, code="list.audio")
    head = head.removeprefix(codecs.BOM_UTF8)
    of_type = file_type(head)
    # A path may begin like any type but the structured ones.
    if of_type and of_type != TEXT and (_NO_PATH.match(head) or not _is_text(head.splitlines()[0])):
        text = f"{list_path}:1: not a list, but {of_type.name}"
        raise ListError(f"{text}: give UTF-8 text with one `path` or `path<TAB>label` a line", code="list.file-type")


def _is_text(line: bytes) -> bool:
    try:
        codecs.utf_8_decode(line)  # takes a line whose last character is cut
    except UnicodeDecodeError:
        return False
    return not re.search(rb"[\x00-\x08\x0e-\x1f]", line)


def list_error(list_path: str | os.PathLike[str], problems: Sequence[str]) -> ListError:
    """Make the error that names every problem, one a line; of very many the first ones and the number of the rest."""
    more = len(problems) - MAX_PROBLEMS_SHOWN
    rest = [coded(f"{list_path}: and {more:,} more problems", code="list.many")] if more > 0 else []
    return ListError("\n".join([*problems[:MAX_PROBLEMS_SHOWN], *rest]))


class Problems:
    """Everything that is wrong with the lines of one list."""

    def __init__(self, list_path: str | os.PathLike[str]) -> None:
        self.list_path = list_path
        self.lines: list[tuple[int, str]] = []

    def add(self, number: int | None, problem: str, advice: str, *, code: str) -> None:
        """Add the problem of a line, or of the whole list where `number` is None."""
        where = f"{self.list_path}" if number is None else f"{self.list_path}:{number}"
        self.lines.append((number or 0, coded(f"{where}: {problem}: {advice}", code=code)))
        if len(self.lines) == _MAX_PROBLEMS:
            self.finish(n_entries=0, expected="path")

    def read_lines(self) -> Iterable[tuple[int, str]]:
        """Yield (line number, line without its end) for each line that is not blank and is UTF-8."""
        for number, raw in numbered_lines(self.list_path):
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError as error:
                problem = f"byte 0x{raw[error.start]:02x} at column {error.start + 1} is not UTF-8"
                self.add(number, problem, "save the list as UTF-8", code="list.not-utf8")

    def finish(self, *, n_entries: int, expected: str) -> None:
        """Raise ListError if there is any problem, or no entry."""
        if not self.lines and not n_entries:
            raise ListError(f"{self.list_path}: no entry: write one `{expected}` a line", code="list.no-entry")
        if self.lines:
            raise list_error(self.list_path, [text for _, text in sorted(self.lines, key=lambda line: line[0])])


def is_path(path: str, number: int, problems: Problems) -> bool:
    """Return whether a text can be a path; the reason why not is added to the problems."""
    if not path.strip():
        problems.add(number, "an empty path", "write the path of an audio file", code="list.no-path")
    elif len(path) > _MAX_PATH_BYTES // 4 and len(path.encode("utf-8", "surrogatepass")) > _MAX_PATH_BYTES:
        text = f"a path of more than {_MAX_PATH_BYTES:,} bytes"
        problems.add(number, text, "no file can have it: correct the list", code="list.long-path")
    elif "\0" in path:
        problems.add(number, "a NUL character in the path", "save the list as plain UTF-8 text", code="list.nul")
    else:
        return True
    return False


def _warnings(
    list_path: str | os.PathLike[str], duplicates: Sequence[tuple[int, int, str]], evaluator_warnings: Iterable[str]
) -> list[str]:
    examples = ", ".join(f"line {a} repeats line {b} ({path})" for a, b, path in duplicates[: nema.N_EXAMPLES])
    repeated = [coded(f"{len(duplicates)} duplicate line(s): {examples}", code="list.duplicate")] if duplicates else []
    return [f"{list_path}: {warning}" for warning in (*repeated, *evaluator_warnings)]
