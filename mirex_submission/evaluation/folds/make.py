"""Make folds of labelled tracks, or check folds that are there."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Sequence

from mirex_submission.errors import UsageError, coded
from mirex_submission.evaluation.folds import check, sources, split
from mirex_submission.evaluation.folds.split import Fold
from mirex_submission.evaluation.options import FoldsOptions
from mirex_submission.features.folders import from_folders
from mirex_submission.protocol import nema
from mirex_submission.protocol.groups import GroupedTrack, examples, grouped, one_form, warn_of_ungrouped
from mirex_submission.protocol.tables import LABEL, PATH, read_table

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
    return write_folds(labelled_tracks(options), options)


def write_folds(tracks: Sequence[GroupedTrack], options: FoldsOptions) -> list[Fold]:
    """Do as `make_folds`, with tracks that are read."""
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


def labelled_tracks(options: FoldsOptions) -> list[GroupedTrack]:
    """Read the tracks of the source. Raises UsageError and ListError."""
    return one_form(_tracks(options))


def _tracks(options: FoldsOptions) -> list[GroupedTrack]:
    folder, table = options.from_folders, options.labelled
    if sum(map(bool, (table, folder, options.from_mirdata))) != 1:
        raise UsageError("give one of LABELLED, --from-folders and --from-mirdata", code="folds.one-source")
    if table and os.path.isdir(table):
        folder, table = table, None
    if options.groups and not folder:
        raise UsageError("--groups folder: is for a folder: give --group COLUMN", code="folds.group-of-folders")
    if table:
        return read_table(
            table,
            path=options.path_column or PATH,
            label=options.label_column or LABEL,
            group=options.group_column,
            root=options.root,
        )
    if options.from_mirdata:
        return sources.from_mirdata(*options.from_mirdata, group=options.group_column)
    if options.group_column:
        problem = "--group: folders have no columns: give --groups folder, or a table with that column"
        raise UsageError(problem, code="folds.group-of-folders")
    tracks = from_folders(folder or "", groups=options.groups is not None)
    if options.groups == "folder":
        warn_of_ungrouped(str(folder), tracks, "a folder below its class")
    return tracks if options.groups != "auto" or _suffice(tracks, options.folds) else list(map(_alone, tracks))


def _suffice(tracks: Sequence[GroupedTrack], n_folds: int) -> bool:
    """Tell whether some tracks share a group, each fold can have one, and each class some to train and to test."""
    groups: dict[str, set[str]] = defaultdict(set)
    for track in tracks:
        groups[track.label].add(track.group)
    n_groups = len({track.group for track in tracks})
    if n_groups == len(tracks):
        log.info("groups: none, for no folder below those of the classes has several tracks")
        return False
    single = [label for label, of_class in groups.items() if len(of_class) < 2]
    if single or n_groups < n_folds:
        reason = f"all of {examples(single)} are in one" if single else f"{n_groups} are too few for {n_folds} folds"
        text = f"the folders below those of the classes are not taken as groups (artists): {reason}"
        log.warning("%s", coded(f"{text}: each track is its own group", code="folds.few-groups"))
        return False
    log.info("groups: %d, the folders below those of the classes", n_groups)
    return True


def _alone(track: GroupedTrack) -> GroupedTrack:
    return grouped(track.path, track.label)
