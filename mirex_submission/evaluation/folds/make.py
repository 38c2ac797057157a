"""Make folds of labelled tracks, or check folds that are there."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mirex_submission.errors import UsageError
from mirex_submission.evaluation.folds import check, sources, split
from mirex_submission.evaluation.folds.sources import GroupedTrack
from mirex_submission.evaluation.folds.split import Fold
from mirex_submission.protocol import nema

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldsOptions:
    """What `folds` takes: exactly one source, and `out` or `check`.

    Parameters
    ----------
    labelled : str, optional
        Source: a table with columns path and label.
    from_folders : str, optional
        Source: a folder that holds a folder for each class.
    from_mirdata : (str, str), optional
        Source: name of a loader of mirdata, and folder of its data.
    root : str, optional
        Folder of the table's relative paths; by default its own.
    group : str, optional
        Column, or attribute of mirdata's tracks, whose equal values stay on one side.
    out : str, optional
        Folder for the lists.
    check : str, optional
        Folder of lists to check instead of making any.
    folds, repeat : int
        Folds of a repeat, and repeats.
    seed : int
        Random seed.
    """

    labelled: str | None = None
    from_folders: str | None = None
    from_mirdata: tuple[str, str] | None = None
    root: str | None = None
    group: str | None = None
    out: str | None = None
    check: str | None = None
    folds: int = 3
    repeat: int = 1
    seed: int = 0


def make_folds(options: FoldsOptions) -> list[Fold]:
    """Write folds, or only check those that are there, and return them as they were read.

    Raises
    ------
    UsageError
        For a wrong combination of options.
    ListError
        With every problem of the labelled tracks, or of the lists.
    """
    if bool(options.out) == bool(options.check):
        raise UsageError("give --out or --check", code="folds.out-or-check")
    tracks = _labelled_tracks(options)
    for warning in nema.path_warnings([t.path for t in tracks]) + nema.label_warnings(t.label for t in tracks):
        log.warning("%s", warning)
    if options.out:
        split.write(split.split(tracks, options.folds, repeats=options.repeat, seed=options.seed), options.out)
    folds = check.read(options.out or options.check or "", tracks)  # what was written is what is checked
    for warning in check.warnings(folds):
        log.warning("%s", warning)
    if options.out:
        log.info("%d fold(s) are in %s", len(folds), options.out)
    return folds


def _labelled_tracks(options: FoldsOptions) -> list[GroupedTrack]:
    if sum(map(bool, (options.labelled, options.from_folders, options.from_mirdata))) != 1:
        raise UsageError("give one of LABELLED, --from-folders and --from-mirdata", code="folds.one-source")
    if options.labelled:
        return sources.read_table(options.labelled, group=options.group, root=options.root)
    if options.from_mirdata:
        return sources.from_mirdata(*options.from_mirdata, group=options.group)
    if options.group:
        problem = "--group: folders have no groups: write a table with that column"
        raise UsageError(problem, code="folds.group-of-folders")
    return sources.from_folders(options.from_folders or "")
