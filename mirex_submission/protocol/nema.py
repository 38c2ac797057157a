"""How the organisers' evaluator (NEMA, Java) identifies tracks and compares labels, as pure functions.

Source: NEMA analytics, `PathAndTagCleaner` (`convertFileToMIREX_ID`, `cleanTag`) and its list reader
`ClassificationTextFile`, which splits a line at runs of ASCII white space and takes the first two words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from mirex_submission.errors import coded, examples

_WHITE_SPACE = re.compile(r"[ \t\n\x0b\f\r]")
_WINDOWS_PATH = re.compile(r"[A-Z]:\\")
MIN_NAME_LENGTH = 3  # the evaluator takes the first three characters of every file name, and fails on fewer


def file_name(path: str) -> str:
    """Return the part of a path after the last slash, as java.io.File.getName does."""
    return path.rstrip("/").rpartition("/")[2]


def track_id(path: str) -> str:
    """Return the identity of a track: its lower-case file name up to the FIRST dot (`blues.00001.wav` is `blues`)."""
    return _id_of(file_name(path))


def _id_of(name: str) -> str:
    if "\\" in name and _WINDOWS_PATH.match(name):
        name = name.rpartition("\\")[2]
    return name.lower().partition(".")[0]


def clean_label(label: str) -> str:
    """Return a label as the evaluator compares it: only its ASCII letters and digits, in lower case (`R&B` is `rb`)."""
    return re.sub(r"[^a-z0-9]", "", label.lower())


def split_line(line: str) -> tuple[str, str] | None:
    """Return the first two words of a line, the evaluator's path and label; None if there are fewer."""
    words = line.encode("utf-8", "surrogatepass").split(None, 2)  # bytes are split only at ASCII white space
    if len(words) < 2:
        return None
    return words[0].decode("utf-8", "surrogatepass"), words[1].decode("utf-8", "surrogatepass")


def breaks_line(text: str) -> bool:
    """Return whether a path or label has white space, at which the evaluator splits it."""
    return _WHITE_SPACE.search(text) is not None


def path_warnings(paths: Sequence[str]) -> list[str]:
    """Return a warning for each kind of path on which the evaluator fails, with a count and three examples."""
    first: dict[str, str] = {}
    collisions: dict[str, str] = {}
    short = []
    for path in paths:
        name = file_name(path)
        track = _id_of(name)
        if (same := first.setdefault(track, path)) != path:
            collisions.setdefault(track, f"{same} = {path}")
        if len(name) < MIN_NAME_LENGTH:
            short.append(path)
    broken = filter(_WHITE_SPACE.search, paths)
    return _present(
        _line(
            "path(s) with white space, at which the evaluator cuts the line",
            list(dict.fromkeys(broken)),
            code="output.cut-line",
        ),
        _line(
            "track name(s) that several files share up to the first dot: the evaluator sees one track",
            list(collisions.values()),
            code="output.same-name",
        ),
        _line(
            f"file name(s) shorter than {MIN_NAME_LENGTH} characters, on which the evaluator fails",
            list(dict.fromkeys(short)),
            code="output.short-name",
        ),
    )


def label_warnings(labels: Iterable[str]) -> list[str]:
    """Return a warning for each kind of label on which the evaluator fails, with a count and three examples."""
    labels = list(dict.fromkeys(labels))
    by_clean: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        by_clean[clean_label(label)].append(label)
    merged = [" = ".join(map(repr, same)) for clean, same in by_clean.items() if clean and len(same) > 1]
    return _present(
        _line(
            "label(s) with white space, at which the evaluator cuts the line",
            [label for label in labels if breaks_line(label)],
            code="output.cut-line",
        ),
        _line(
            "class(es) that the evaluator merges: labels equal in their ASCII letters and digits",
            merged,
            code="output.same-label",
        ),
        _line(
            "label(s) without an ASCII letter or digit, on which the evaluator fails",
            by_clean.get("", []),
            code="output.no-letters",
        ),
    )


def _present(*warnings: str) -> list[str]:
    return [warning for warning in warnings if warning]


def _line(text: str, entries: Sequence[str], *, code: str) -> str:
    """Return a warning with a count and examples; empty if there are no entries."""
    return coded(f"{len(entries)} {text}: {examples(entries)}", code=code) if entries else ""
