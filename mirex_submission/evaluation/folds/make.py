"""Make folds of labelled tracks, or check folds that are there."""

from __future__ import annotations

import logging

from mirex_submission.errors import UsageError
from mirex_submission.evaluation.folds import check, folders, sources, split
from mirex_submission.evaluation.folds.sources import GroupedTrack
from mirex_submission.evaluation.folds.split import Fold
from mirex_submission.evaluation.options import FoldsOptions
from mirex_submission.protocol import nema

log = logging.getLogger(__name__)


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
    tracks = sources.one_form(_labelled_tracks(options))
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
    return folders.from_folders(options.from_folders or "")
