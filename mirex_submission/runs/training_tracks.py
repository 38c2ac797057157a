"""Prepare the tracks of a training: extract features, leave out unreadable tracks, and find groups."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from mirex_submission.errors import UsageError, coded
from mirex_submission.features import extraction
from mirex_submission.features.extraction import Stores
from mirex_submission.models.bundle import TrainedTrack
from mirex_submission.preflight.limits import check_readable, check_trainable
from mirex_submission.preflight.task_lists import copy_warnings
from mirex_submission.protocol.lists import Track
from mirex_submission.runs.options import RunOptions, TrainingOptions
from mirex_submission.system.paths import full_path
from mirex_submission.system.workers import Workers

log = logging.getLogger(__name__)


def readable_tracks(
    tracks: Sequence[Track],
    feature_paths: Sequence[str],
    stores: Stores,
    training: TrainingOptions,
    run: RunOptions,
) -> tuple[TrainedTrack, ...]:
    """Extract missing features and return the readable tracks. Raises AudioError if they are too few."""
    records = extraction.extract(
        [*feature_paths, *(track.path for track in tracks)], stores, Workers(run.threads, limit_s=run.track_limit)
    )
    readable = [track for track in tracks if records[track.path].content]
    if run.strict:
        check_readable([path for path, record in records.items() if record.content], records, strict=True)
    check_trainable(tracks, readable, training.max_bad / 100)
    contents = {track.path: records[track.path].content for track in readable}
    for text in copy_warnings("", contents, {track.path: track.label for track in readable}):
        log.warning("%s", text)
    return tuple(TrainedTrack(full_path(track.path), track.label, records[track.path].content) for track in readable)


def groups_of(tracks: Sequence[TrainedTrack], groups: Mapping[str, str]) -> list[str]:
    """Return the group of each track; a track without one shares its group only with its copies.

    Raises
    ------
    UsageError
        There are groups, but none has any of the tracks.
    """
    n_alone = sum(track.path not in groups for track in tracks)
    if groups and n_alone == len(tracks):
        raise UsageError(
            "--groups: the list has none of the training tracks: write paths as in the training list",
            code="usage.groups",
        )
    if groups and n_alone:
        text = f"{n_alone} of {len(tracks)} tracks have no group: each is its own group"
        log.warning("%s", coded(text, code="training.no-group"))
    return [groups.get(track.path, track.content) for track in tracks]
