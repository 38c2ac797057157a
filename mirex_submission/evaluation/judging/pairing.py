"""Assignment of files to folds: by equal stems, or by a pattern if the names differ.

The name of a fold is the stem of its truth list without the word `truth` or `gt`: `fold1.truth.txt` is the truth of
fold1, and `fold1.txt` an output for it. If files have other names, a pattern marks the part that is the name of the
fold: `outputs/results.{fold}.txt`. A single file is a single fold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirex_submission.errors import ListError, reason_of
from mirex_submission.evaluation.folds.lists import natural_order

FOLD = "{fold}"
_TRUTH = re.compile(r"(^|[._-])(truth|gt)(?=$|[._-])", re.IGNORECASE)


@dataclass(frozen=True)
class FoldTruth:
    """The truth of one fold: the fold's name and the file."""

    name: str
    path: Path


def fold_truths(source: str | os.PathLike[str]) -> list[FoldTruth]:
    """Find the truth list of each fold.

    Parameters
    ----------
    source : path-like
        A folder, a pattern with `{fold}` in its last part, or one file. If some names contain the word `truth` or `gt`,
        only these files are the truth, so that training and test lists may be in the same folder.

    Returns
    -------
    list of FoldTruth
        In natural order of the names of the folds.

    Raises
    ------
    ListError
        If the source cannot be read or has no list.
    """
    files = _files(source)
    truths = {name: path for name, path in files.items() if _TRUTH.search(name)} or files
    if not truths:
        raise ListError(
            f"{source}: no truth list: give a folder with one .txt file a fold, or a pattern like DIR/{FOLD}.gt.txt",
            code="folds.no-truth",
        )
    folds = [FoldTruth(_TRUTH.sub("", name).strip("._-") or name, path) for name, path in truths.items()]
    return sorted(folds, key=lambda fold: natural_order(fold.name))


def outputs_of(source: str | os.PathLike[str], folds: Sequence[FoldTruth]) -> list[Path | None]:
    """Find a system's output for each fold.

    Parameters
    ----------
    source : path-like
        A folder, a pattern with `{fold}` in its last part, or one file for a single fold.
    folds : sequence of FoldTruth
        The folds.

    Returns
    -------
    list of Path or None
        None for a fold that has no output.

    Raises
    ------
    ListError
        If the source cannot be read, or a file matches no fold while a fold has no output.
    """
    if len(folds) == 1 and os.path.isfile(source):
        return [Path(source)]
    files = _files(source)
    names = [fold.name for fold in folds]
    others = [path.name for name, path in files.items() if name not in names]
    if others and not files.keys() >= set(names):
        raise ListError(
            f"{source}: {', '.join(others)}: belongs to no fold; the folds are {', '.join(names)}: name the outputs "
            f"{names[0]}.txt and so on, or give a pattern such as DIR/results.{FOLD}.txt instead of DIR",
            code="folds.unpaired-output",
        )
    return [files.get(name) for name in names]


def _files(source: str | os.PathLike[str]) -> dict[str, Path]:
    """Return {name of a fold: file}; the name is the part `{fold}` of a pattern, or the stem of a `.txt` file."""
    path = Path(source)
    if path.is_file():
        return {path.stem: path}
    folder, pattern = (path.parent, path.name) if FOLD in path.name else (path, f"{FOLD}.txt")
    before, _, after = pattern.partition(FOLD)
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        text = f"{folder}: cannot be read: {reason_of(error)}: give the folder of the lists"
        raise ListError(text, code="folds.unreadable-folder") from error
    return {
        path.name[len(before) : len(path.name) - len(after)]: path
        for path in paths
        if path.name.startswith(before) and path.name.endswith(after) and len(path.name) > len(before + after)
        if path.is_file() and not path.name.startswith(".")
    }
