"""Groups of the tracks, such as artists, and strata, such as codecs or years."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mirex_submission.errors import UsageError, coded, examples
from mirex_submission.protocol.lists import Problems, is_path, read_labelled
from mirex_submission.protocol.tables import read_frame
from mirex_submission.system.paths import full_path
from mirex_submission.system.unicode_forms import nfc

log = logging.getLogger(__name__)

_MOST_STRATA = 200  # per column


def read_groups(path: str | os.PathLike[str], tracks: Sequence[str]) -> np.ndarray:
    """Number the groups of tracks; a track that is missing in the list becomes a group of its own, with a warning.

    Parameters
    ----------
    path : path-like
        List of `path<TAB>group`, as `folds` writes it and `train --groups` reads it.
    tracks : sequence of str
        Paths of the tracks.

    Returns
    -------
    np.ndarray [shape=(n_tracks,), dtype=int64]

    Raises
    ------
    ListError
        With every problem of the list.
    UsageError
        The list has none of the tracks.
    """
    listed = read_labelled(path, min_classes=1, for_evaluator=False)
    group_of = {full_path(track.path): (nfc(track.label),) for track in listed}
    full = [full_path(track) for track in tracks]
    _warn_of_missing(
        f"--groups {path}", [track for track in full if track not in group_of], len(full), "groups of their own"
    )
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(group_of.get(track, track), len(numbers)) for track in full])


def read_strata(path: str | os.PathLike[str], tracks: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Read a table with the column `path` and any other columns; each value of a column is a stratum.

    Parameters
    ----------
    path : path-like
        Table as `folds` reads it: TSV, CSV (.csv), Excel or Parquet. A track with an empty cell is in no stratum.
    tracks : sequence of str
        Paths of the tracks; a warning names those without a stratum.

    Returns
    -------
    list of (str, np.ndarray [shape=(n_tracks,), dtype=bool])
        `column=value` and a mask of its tracks, sorted by column, then by value.

    Raises
    ------
    ListError
        With every problem of the table.
    UsageError
        The table has none of the tracks.
    """
    problems = Problems(path)
    frame = read_frame(Path(path), problems)
    names = list(frame.columns)
    if names.count("path") != 1 or len(names) < 2 or len(set(names)) < len(names):
        problem = f"the columns {', '.join(map(repr, names))}"
        advice = "the first line must name each column once: `path` and one or more others"
        problems.add(1, problem, advice, code="strata.columns")
        problems.finish(n_entries=0, expected="path<TAB>value")
    place = {full_path(track): k for k, track in enumerate(tracks)}
    line_of: dict[str, int] = {}
    others = [name for name in names if name != "path"]
    values_of: list[dict[int, str]] = [{} for _ in others]  # for each column {number of a track: its value}
    for number, track, *values in frame[["path", *others]].itertuples(name=None):
        if not is_path(track, number, problems):
            continue
        full = full_path(track)
        if line_of.setdefault(full, number) != number:
            problem = f"the track {track!r} is also in line {line_of[full]}"
            problems.add(number, problem, "keep one of the two lines", code="strata.repeated-track")
        elif full in place:
            for of_column, value in zip(values_of, values, strict=True):
                if value.strip():
                    of_column[place[full]] = nfc(value.strip())
    for name, of_column in zip(others, values_of, strict=True):
        n_values = len(set(of_column.values()))
        if n_values > _MOST_STRATA:
            problem = f"the column {name!r} has {n_values:,} values, more than {_MOST_STRATA}"
            problems.add(1, problem, "group the values, for example years into decades", code="strata.many")
    problems.finish(n_entries=len(frame), expected="path<TAB>value")
    strata = []
    for name, of_column in zip(others, values_of, strict=True):
        missing = [track for k, track in enumerate(tracks) if k not in of_column]
        _warn_of_missing(f"--strata {path}: {name}", missing, len(tracks), "in no stratum")
        of_track = np.array([of_column.get(k, "") for k in range(len(tracks))])
        strata += [(f"{name}={value}", of_track == value) for value in sorted(set(of_column.values()))]
    return strata


def _warn_of_missing(source: str, missing: Sequence[str], n_tracks: int, counted_as: str) -> None:
    if missing and len(missing) == n_tracks:
        problem = f"{source}: none of the tracks is in this file: write the paths as in the truth lists"
        raise UsageError(problem, code="usage.tags")
    if missing:
        problem = f"{source}: {len(missing):,} of {n_tracks:,} tracks are missing and count as {counted_as}"
        log.warning("%s", coded(f"{problem}: {examples(missing)}", code="strata.missing-track"))
