"""The command `folds`: make folds of labelled tracks, or check existing folds."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Sequence

from mirex_submission.errors import UsageError, coded, examples
from mirex_submission.evaluation.folds import check, sources, split
from mirex_submission.evaluation.folds.split import Fold
from mirex_submission.evaluation.options import FoldsOptions
from mirex_submission.features.folders import from_folders
from mirex_submission.protocol import nema
from mirex_submission.protocol.groups import GroupedTrack, grouped, one_form, warn_of_ungrouped
from mirex_submission.protocol.tables import LABEL, PATH, read_table

log = logging.getLogger(__name__)


def make_folds(options: FoldsOptions) -> list[Fold]:
    """Write folds, or only check existing ones, and return the folds as read from their lists.

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
    """Write or check folds of tracks that are already read; as `make_folds`."""
    for warning in nema.path_warnings([t.path for t in tracks]) + nema.label_warnings(t.label for t in tracks):
        log.warning("%s", warning)
    if options.out:
        split.write(split.split(tracks, options.folds, repeats=options.repeat, seed=options.seed), options.out)
    folds = check.read(options.out or options.check or "", tracks)  # checks the written files
    for warning in check.warnings(folds):
        log.warning("%s", warning)
    if options.out:
        log.info("wrote %d fold(s) to %s", len(folds), options.out)
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
        problem = "--groups needs a folder as the source: give --group COLUMN for a table"
        raise UsageError(problem, code="folds.group-of-folders")
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
        problem = "--group: a folder has no columns: give --groups folder, or a table with that column"
        raise UsageError(problem, code="folds.group-of-folders")
    tracks = from_folders(folder or "", groups=options.groups is not None)
    if options.groups == "folder":
        warn_of_ungrouped(str(folder), tracks, "a folder below its class")
    return (
        tracks
        if options.groups != "auto" or _has_enough_groups(tracks, options.folds)
        else list(map(_without_group, tracks))
    )


def _has_enough_groups(tracks: Sequence[GroupedTrack], n_folds: int) -> bool:
    """Return True if some tracks share a group, there is a group for each fold, and each class has two groups."""
    groups: dict[str, set[str]] = defaultdict(set)
    for track in tracks:
        groups[track.label].add(track.group)
    n_groups = len({track.group for track in tracks})
    if n_groups == len(tracks):
        log.info("groups: none: the folders of the classes hold no folder, such as an artist's, with several tracks")
        return False
    single = [label for label, of_class in groups.items() if len(of_class) < 2]
    if single or n_groups < n_folds:
        reason = (
            f"all tracks of {examples(single)} are in one folder"
            if single
            else f"{n_groups} folders are too few for {n_folds} folds"
        )
        text = f"the folders below the folders of the classes are not used as groups (artists): {reason}"
        log.warning("%s", coded(f"{text}: each track is its own group", code="folds.few-groups"))
        return False
    log.info("groups: %d, the folders below the folders of the classes", n_groups)
    return True


def _without_group(track: GroupedTrack) -> GroupedTrack:
    return grouped(track.path, track.label)
