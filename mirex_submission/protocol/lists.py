"""The lists of MIREX train/test tasks: read them, and report every problem.

A list is UTF-8 text (with or without a byte order mark) with one entry per line and no header. LF, CRLF and CR end a
line; blank lines are skipped. A feature or test list has one path per line. A training list, a ground truth and our
output have `path<TAB>label` per line: the label follows the LAST tab. Paths and labels are kept exactly as spelled. A
relative path starts at the folder in which the command was called.
"""

from __future__ import annotations

import codecs
import functools
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mirex_submission.errors import ListError, coded, examples, reason_of
from mirex_submission.protocol import nema
from mirex_submission.protocol.in_memory import InMemoryList
from mirex_submission.protocol.misread import misreadings, separator
from mirex_submission.system.file_types import HEAD, TEXT, file_type
from mirex_submission.system.paths import full_path
from mirex_submission.system.progress import shortened
from mirex_submission.system.unicode_forms import nfc

log = logging.getLogger(__name__)

MAX_PROBLEMS_SHOWN = 1000
# A file with more wrong lines or a longer line is not a list. It may be a device without an end.
_MAX_PROBLEMS, _MAX_LINE_BYTES = 100_000, 1 << 16
_NO_PATH = re.compile(rb"\s*[\[{<]|%PDF-")  # used only if the file has the signature of another type
_MAX_PATH_BYTES = 4095  # what Linux opens
AUDIO = (b"RIFF", b"RF64", b"FORM", b"OggS", b"fLaC", b"ID3", b".snd", b"caff", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1")


@dataclass(frozen=True, slots=True)
class Track:
    """One entry of a list: path and label as spelled there, and its line number."""

    path: str
    label: str = ""
    line: int = field(default=0, compare=False, repr=False, kw_only=True)


def read_paths(list_path: str | os.PathLike[str], *, for_evaluator: bool = True) -> list[str]:
    """Read the paths of a feature extraction or test list, in order and with repeated ones.

    for_evaluator : warn of names on which the organisers' evaluator fails.
    Raises ListError with every problem of the list.
    """
    tracks = read_unlabelled(list_path)
    check_paths(list_path, tracks)
    for warning in path_list_warnings(list_path, tracks, for_evaluator=for_evaluator):
        log.warning("%s", warning)
    return [track.path for track in tracks]


def check_paths(list_path: str | os.PathLike[str], tracks: Sequence[Track]) -> None:
    """Raise ListError if paths of a list name no file for a visible reason, such as quotes."""
    problems = Problems(list_path)
    for misread in misreadings(list_path, [(track.line, track.path) for track in tracks]):
        problems.add(misread.line, misread.problem, misread.advice, code=misread.code)
    problems.finish(n_entries=len(tracks), expected="path")


def path_list_warnings(
    list_path: str | os.PathLike[str], tracks: Sequence[Track], *, for_evaluator: bool = True
) -> list[str]:
    """Return the warnings for a feature extraction or test list: repeated paths and names that break the evaluator."""
    first: dict[str, int] = {}
    duplicates = []
    for track in tracks:
        if first.setdefault(track.path, track.line) != track.line:
            duplicates.append((track.line, first[track.path], track.path))
    return _warnings(
        list_path, duplicates, nema.path_warnings([track.path for track in tracks]) if for_evaluator else []
    )


def read_unlabelled(list_path: str | os.PathLike[str]) -> list[Track]:
    """Read the entries of a feature extraction or test list, in order and with repeated ones, without warnings.

    Raises ListError with every problem of the list.
    """
    problems = Problems(list_path)
    tracks = []
    for number, line in problems.read_lines():
        path, tab, label = line.rpartition("\t")
        # A file name may hold a tab: only the disk can distinguish such a name from a labelled line.
        if tab and path.strip() and not os.path.exists(line) and (os.path.exists(path) or not os.path.exists(label)):
            problems.add(
                number,
                f"{shortened(label)!r} after a tab",
                "give only one path per line; labels belong in a training list",
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
    """Read the tracks of a training list or ground truth, in order and each path once.

    for_evaluator : the list is for a run: check its paths, and warn of names and labels on which the organisers'
    evaluator fails.
    warn : called with each warning.
    Raises ListError with every problem of the list. A line that repeats an earlier one is left out with a warning.
    """
    problems = Problems(list_path)
    tracks: list[Track] = []
    first: dict[str, Track] = {}
    duplicates = []
    spellings: dict[str, str] = {}
    respelled: list[str] = []
    without_tab: list[tuple[int, str]] = []
    swapped: list[tuple[int, str]] = []
    is_file = functools.cache(os.path.isfile)  # of labels, which are few where the columns are right
    for number, line in problems.read_lines():
        path, tab, label = line.rpartition("\t")
        if not tab:
            # The first lines show what separates the columns; of many long ones, whole lines would fill the memory.
            without_tab.append((number, line if len(without_tab) < 2 else shortened(line)))
            if len(without_tab) == _MAX_PROBLEMS:
                break
            continue
        if is_file(label) and not os.path.isfile(path):
            swapped.append((number, path))
            continue
        if not label.strip():
            problems.add(number, "an empty label", "write path<TAB>label", code="list.no-label")
            continue
        if not is_path(path, number, problems):
            continue
        # All tracks of a label share one string. In a run, the first spelling of a label is used.
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
    _add_without_tab(problems, without_tab, are_all=not (tracks or swapped or problems.lines))
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
    of_labels = _label_warnings(list_path, tracks, respelled, for_evaluator=for_evaluator)
    for_nema = nema.path_warnings([t.path for t in tracks]) + nema.label_warnings(labels) if for_evaluator else []
    for warning in (*of_labels, *_warnings(list_path, duplicates, for_nema)):
        warn(warning)
    return tracks


def _add_without_tab(problems: Problems, lines: Sequence[tuple[int, str]], *, are_all: bool) -> None:
    """Add the lines (number and text) without a tab, as one problem if they are several and the whole list."""
    more, advice = "", "write path<TAB>label"
    if are_all and len(lines) > 1:
        signs = separator([line for _, line in lines[:2]])  # the first one may be a header
        more = f", also in {len(lines) - 1:,} more lines"
        more += f": the columns are separated by {signs}" if signs else ""
        advice += ", or give a table NAME.csv whose first line names the columns path and label"
        lines = lines[:1]
    for number, line in lines:
        problems.add(number, f"no tab in {shortened(line)!r}{more}", advice, code="list.no-tab")


def _add_swapped(problems: Problems, swapped: Sequence[tuple[int, str]]) -> None:
    """Add one problem for all lines (number and supposed path) that have the label before the path."""
    if swapped:
        (number, path), *others = swapped
        lines = examples([str(line) for line, _ in others])
        more = f", and in {len(others):,} more lines ({lines})" if others else ""
        text = f"{shortened(path)!r} is not a file, but the text after the tab is: the columns are swapped{more}"
        problems.add(number, text, "write path<TAB>label", code="list.swapped")


def read_all(*reads: Callable[[], Any]) -> list[Any]:
    """Call several readers and return their results. Raises ListError with the problems of all lists."""
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
    """Yield (line number from 1, line without its end) for each line of a list that is not blank.

    of_output : the file is the output of a system: keep its byte order mark, and take lines of any length and content.
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
            # Bytes are split only at LF, CRLF and CR. Text would also be split at form feeds, which a path may hold.
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
        raise ListError(f"{list_path}: is a folder: give the list file itself", code="list.folder") from None
    except (OSError, ValueError) as error:
        advice = (
            "check its path, and whether the run that writes it has ended"
            if of_output
            else "check the path of the list"
        )
        text = f"{list_path}: cannot be read: {reason_of(error)}: {advice}"
        raise ListError(text, code="list.unreadable") from None


def _check_start(list_path: str | os.PathLike[str], head: bytes) -> None:
    """Raise ListError if the first bytes of a file show that it is not a list."""
    if head.startswith(AUDIO):
        text = f"{list_path}: an audio file, not a list: write its path into a list, and give that list"
        raise ListError(text, code="list.audio")
    head = head.removeprefix(codecs.BOM_UTF8)
    of_type = file_type(head)
    # A path may begin with the letters of a signature, such as `MZ`; only JSON, XML and PDF are not taken for a path.
    if of_type and of_type != TEXT and (_NO_PATH.match(head) or not _is_text(head.splitlines()[0])):
        text = f"{list_path}:1: not a list, but {of_type.name}"
        raise ListError(f"{text}: give UTF-8 text with one `path` or `path<TAB>label` per line", code="list.file-type")


def _is_text(line: bytes) -> bool:
    try:
        codecs.utf_8_decode(line)  # takes a line whose last character is cut
    except UnicodeDecodeError:
        return False
    return not re.search(rb"[\x00-\x08\x0e-\x1f]", line)


def list_error(list_path: str | os.PathLike[str], problems: Sequence[str]) -> ListError:
    """Make an error with one problem per line; of more than MAX_PROBLEMS_SHOWN, count the rest."""
    more = len(problems) - MAX_PROBLEMS_SHOWN
    rest = [coded(f"{list_path}: and {more:,} more problems", code="list.many")] if more > 0 else []
    return ListError("\n".join([*problems[:MAX_PROBLEMS_SHOWN], *rest]))


class Problems:
    """The problems of one list."""

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
            raise ListError(f"{self.list_path}: no entry: write one `{expected}` per line", code="list.no-entry")
        if self.lines:
            raise list_error(self.list_path, [text for _, text in sorted(self.lines, key=lambda line: line[0])])


def is_path(path: str, number: int, problems: Problems) -> bool:
    """Return whether a text can be a path; if it cannot, add the reason to the problems."""
    if not path.strip():
        problems.add(number, "an empty path", "write the path of an audio file", code="list.no-path")
    elif len(path) > _MAX_PATH_BYTES // 4 and len(path.encode("utf-8", "surrogatepass")) > _MAX_PATH_BYTES:
        text = f"a path of more than {_MAX_PATH_BYTES:,} bytes"
        problems.add(number, text, "no file can have such a path: correct the list", code="list.long-path")
    elif "\0" in path:
        problems.add(number, "a NUL character in the path", "save the list as plain UTF-8 text", code="list.nul")
    else:
        return True
    return False


def _label_warnings(
    list_path: str | os.PathLike[str], tracks: Sequence[Track], respelled: Sequence[str], *, for_evaluator: bool
) -> list[str]:
    """Return the warnings for labels in several Unicode forms and, in a run, for classes of a single track."""
    warnings = []
    if respelled:
        text = f"{list_path}: {len(respelled)} label(s) in another Unicode form than in an earlier line, which is used"
        warnings.append(coded(f"{text}: {examples(respelled)}", code="list.unicode-label"))
    counts = Counter(track.label for track in tracks) if for_evaluator else Counter()
    single = [label for label, n in counts.items() if n == 1]
    if 2 * len(single) > len(counts):  # more often wrong labels than a task
        text = f"{list_path}: {len(single):,} of {len(counts):,} classes have a single track"
        text = f"{text} ({examples(single)}): a model can learn little about them: check the labels, or add tracks"
        warnings.append(coded(text, code="list.single-track"))
    return warnings


def _warnings(
    list_path: str | os.PathLike[str], duplicates: Sequence[tuple[int, int, str]], evaluator_warnings: Iterable[str]
) -> list[str]:
    lines = [f"line {a} repeats line {b} ({path})" for a, b, path in duplicates]
    repeated = [coded(f"{len(lines)} duplicate line(s): {examples(lines)}", code="list.duplicate")] if lines else []
    return [f"{list_path}: {warning}" for warning in (*repeated, *evaluator_warnings)]
