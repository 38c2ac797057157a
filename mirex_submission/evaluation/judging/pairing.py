"""Which `.txt` file of a folder belongs to which fold, by its name: the truth's and the systems' folders.

A name is a row of words and numbers: `results.fold01.txt` is (results, fold, 1). In the truth's folder those with the
word `truth` or `gt` are the truth, or else all files. A fold is what tells its truth from the others once the words
that all begin and end with are dropped: 1 in `fold1.truth.txt`, b in `b.txt`. An output belongs to the fold whose
words stand in its name; where that is not plain for all outputs of a folder, their own common words are dropped too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirex_submission.errors import ListError

SUFFIX = ".txt"
_Words = tuple[str, ...]
_TRUTH = re.compile(r"(^|[._-])(truth|gt)(?=$|[._-])", re.IGNORECASE)


@dataclass(frozen=True)
class FoldTruth:
    """The truth of one fold: its name (`fold1` of `fold1.truth.txt`), its file, and the words that outputs share."""

    name: str
    path: Path
    words: _Words


def fold_truths(folder: str | os.PathLike[str]) -> list[FoldTruth]:
    """The truth list of each fold, in the order of the folds' numbers or names.

    Raises ListError for a folder that cannot be read or has no list.
    """
    paths = _lists(folder)
    paths = [path for path in paths if _TRUTH.search(path.stem)] or paths
    if not paths:
        raise ListError(f"{folder}: no {SUFFIX} file: give the folder with one truth list a fold")
    folds = [
        FoldTruth(_TRUTH.sub("", path.stem).strip("._-") or path.stem, path, words)
        for path, words in zip(paths, _distinct([_words(path) for path in paths]), strict=True)
    ]
    return sorted(folds, key=lambda fold: [(not word.isdecimal(), word.zfill(20)) for word in fold.words])


def outputs_of(folder: str | os.PathLike[str], folds: Sequence[FoldTruth]) -> list[Path | None]:
    """A system's output for each fold, None where its folder has none.

    Raises ListError for a folder that cannot be read, and where the names leave a doubt.
    """
    paths = _lists(folder)
    names = [_words(path) for path in paths]
    for candidates in (names, _distinct(names)):
        owners = [[k for k, fold in enumerate(folds) if _stands_in(fold.words, words)] for words in candidates]
        if all(len(owner) == 1 for owner in owners) and len({k for [k] in owners}) == len(owners):
            path_of = {k: path for [k], path in zip(owners, paths, strict=True)}
            return [path_of.get(k) for k in range(len(folds))]
    raise ListError(
        f"{folder}: which file is the output of which fold? Its files are {_names(paths)}; the truth is in "
        f"{_names([fold.path for fold in folds])}: name the outputs {_names([Path(f.name + SUFFIX) for f in folds])}"
    )


def _lists(folder: str | os.PathLike[str]) -> list[Path]:
    try:
        paths = sorted(Path(folder).iterdir())
    except OSError as error:
        raise ListError(f"{folder}: cannot be read: {error.strerror}: give the folder of the lists") from error
    return [path for path in paths if path.suffix == SUFFIX and path.is_file() and not path.name.startswith(".")]


def _words(path: Path) -> _Words:
    words = re.findall(r"[^\W\d_]+|\d+", path.stem.lower())
    return tuple(str(int(word)) if word.isdecimal() else word for word in words)


def _distinct(names: Sequence[_Words]) -> list[_Words]:
    """The names without the words that all of them begin with, and then those that all end with."""
    for _ in range(2):
        n_common = len(os.path.commonprefix(names))  # noqa: RUF071 - of rows of words, not of paths
        names = [name[n_common:][::-1] for name in names]
    return list(names)


def _stands_in(part: _Words, whole: _Words) -> bool:
    return any(whole[k : k + len(part)] == part for k in range(len(whole) - len(part) + 1))


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)
