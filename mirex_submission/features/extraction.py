"""Extraction of the features of many tracks, in parallel; features that are already stored are skipped.

A run may need several kinds of features, each in its store: a file is decoded once for all of them. Each track is one
idempotent unit of work. A worker writes its own files and returns a record. It does not raise errors for unreadable
audio, because one exception would end the work of all. Workers with the compiled kernel load NumPy and the decoder, but
neither librosa nor TensorFlow.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import joblib
import numpy as np

from mirex_submission.errors import StorageError, coded
from mirex_submission.features import audio
from mirex_submission.features.logmel import log_mel_of_blocks, method
from mirex_submission.features.opening import open_file, unreadable
from mirex_submission.features.scan import Scanned, measured, scan, without_output
from mirex_submission.features.spec import FeatureSpec, Spec, ViewSpec
from mirex_submission.features.store import AudioState, FeatureStore, Header, content_hash
from mirex_submission.features.views import vectors_of_blocks
from mirex_submission.system.paths import full_path, in_other_form
from mirex_submission.system.progress import Progress, duration
from mirex_submission.system.workers import Workers

Stores: TypeAlias = Sequence[FeatureStore[Spec]]

log = logging.getLogger(__name__)

_TRACKS_A_PROCESS = 8  # with fewer, starting another process (half a second) takes longer than it saves


@dataclass(frozen=True, slots=True)
class Extracted:
    """Result of the extraction of one track.

    Parameters
    ----------
    path : str
    content : str
        Hash of its audio, or "" if there are no features.
    reason : str
        Reason why there are no features, with its code.
    note : str
        Problems of audio that is used nevertheless, with their codes.
    duration_s : float
        Duration of the audio, if it was extracted now.
    seconds : float
        Time that the extraction took, if it was extracted now.
    """

    path: str
    content: str = ""
    reason: str = ""
    note: str = ""
    duration_s: float = 0.0
    seconds: float = dataclasses.field(default=0.0, compare=False)


def extract(paths: Iterable[str], stores: Stores, workers: Workers, *, verify: bool = False) -> dict[str, Extracted]:
    """Extract the features of every readable track into every store that lacks them.

    Parameters
    ----------
    paths : iterable of str
    stores : sequence of FeatureStore
        One store for each kind of features, all at one working rate.
    workers : Workers
        Processes that extract. None are started if the stores have all features.
    verify : bool
        Read all stored features and their audio completely; by default only headers, sizes and times are compared.

    Returns
    -------
    dict of str to Extracted
        Result for each distinct path, in their order.

    Raises
    ------
    StorageError
        The features cannot be written.
    ResourceError, InstallationError
        No worker process can start.
    """
    spellings: dict[str, list[str]] = {}
    distinct = list(dict.fromkeys(paths))
    for path in distinct:
        spellings.setdefault(full_path(path), []).append(path)
    _warn_of_other_forms(distinct)
    tracks = [first for first, *_ in spellings.values()]
    records = _look_up(tracks, stores, verify=verify)
    # Workers get full paths, because a reused worker has the current folder of an earlier run.
    todo = [path for path, (first, *_) in spellings.items() if first not in records]
    n_stored = len(records)
    log.info("extraction: %d tracks to do, %d stored already, at %d Hz", len(todo), n_stored, stores[0].spec.rate_hz)
    views = [store.spec.view for store in stores if isinstance(store.spec, ViewSpec)]
    if todo and views:
        log.info("views: %s", ", ".join(views))
    elif todo:
        log.info("log-Mel frames: %s", method())
    progress = Progress("extraction", len(todo), unit="tracks")
    n_failed, audio_s = 0, 0.0
    if todo and workers.local:
        n_jobs = min(joblib.effective_n_jobs(workers.n_jobs), -(-len(todo) // _TRACKS_A_PROCESS))
        log.info("extraction: %d at a time", n_jobs)
        workers = dataclasses.replace(workers, n_jobs=n_jobs)
    store_features = partial(_store_features, stores=stores, again=verify)
    for scanned in scan(store_features, todo, workers) if todo else ():
        record = dataclasses.replace(_record(scanned), path=spellings[scanned.item][0])
        records[record.path] = record
        n_failed += not record.content
        audio_s += record.duration_s
        if record.reason or record.note:
            log.warning("%s: %s", record.path, record.reason or record.note)
        progress.advance(note=f"{audio_s / max(progress.elapsed_s, 1e-3):.0f} times real time, {n_failed} failed")
    progress.close()
    log.info(
        "extraction: %d tracks ready (%d new, %d stored before), %d unreadable, in %s",
        len(records) - n_failed, len(todo) - n_failed, n_stored, n_failed, duration(progress.elapsed_s),
    )  # fmt: skip
    for first, *others in spellings.values():
        records.update((path, dataclasses.replace(records[first], path=path)) for path in others)
    return {path: records[path] for path in distinct}  # in the order of the list, not of completion


def _warn_of_other_forms(paths: Sequence[str]) -> None:
    others = list(filter(in_other_form, paths))
    if others:
        text = f"{len(others)} path(s) exist only in another Unicode form, which is used: {', '.join(others[:3])}"
        log.warning("%s", coded(text, code="list.unicode-path"))


def _look_up(tracks: Sequence[str], stores: Stores, *, verify: bool) -> dict[str, Extracted]:
    """Make the records of the tracks whose features are all stored and still belong to their audio."""
    records = {}
    progress = Progress("stored features", len(tracks), unit="tracks")
    for path in tracks:
        header = _stored(path, stores, verify=verify)
        if header:
            records[path] = Extracted(path, header.content, note=header.note)
        progress.advance()
    progress.close()
    return records


def _stored(path: str, stores: Stores, *, verify: bool = False) -> Header | None:
    """Read the header of a track, if its features are fresh in all stores and were made from the same audio."""
    headers = [store.verified(path) if verify else store.fresh(path) for store in stores]
    contents = {header.content for header in headers if header}
    return headers[0] if all(headers) and len(contents) == 1 else None


def compute(path: str, specs: Sequence[Spec]) -> list[tuple[Header, np.ndarray]]:
    """Decode one track and compute its features of each kind [shape=(n_rows, n_columns), float32].

    The specs are one FeatureSpec, or ViewSpecs of one rate. Raises AudioError, or UsageError if a view is missing.
    """
    try:
        with without_output(), open_file(path) as fd:  # opened once, so that a replaced file cannot mix two contents
            state = AudioState.of(fd)
            matrices, recording = audio.decoded(
                lambda recording: _matrices(recording, specs), path, rate_hz=specs[0].rate_hz, fd=fd
            )
            content = content_hash(fd)
            changed = AudioState.of(path) != state
    except OSError as error:
        raise unreadable(error) from error
    note = coded("changed while it was read", code="audio.changed") if changed else ""
    headers = [
        Header(
            path=full_path(path),
            audio=state,
            content=content,
            spec=spec,
            n_frames=len(matrix),
            duration_s=recording.n_samples / recording.rate_hz,
            note="; ".join(filter(None, [recording.note, note])),
        )
        for spec, matrix in zip(specs, matrices, strict=True)
    ]
    return list(zip(headers, matrices, strict=True))


def _matrices(recording: audio.Recording, specs: Sequence[Spec]) -> list[np.ndarray]:
    if isinstance(specs[0], FeatureSpec):
        return [log_mel_of_blocks(recording, specs[0])]
    return vectors_of_blocks(recording, [spec for spec in specs if isinstance(spec, ViewSpec)])


def extract_track(path: str, stores: Stores, limit_s: float = Workers.limit_s, *, again: bool = False) -> Extracted:
    """Compute the features of one track and store them in the stores that lack them, or with `again` in all stores.

    Raises
    ------
    StorageError
        The features cannot be written, which would happen for other tracks too.
    UsageError, ResourceError, ImportError
        A view, open files or a library are missing, which would happen for other tracks too.
    """
    return _record(measured(partial(_store_features, stores=stores, again=again), path, limit_s))


def _store_features(path: str, *, stores: Stores, again: bool) -> Extracted:
    missing = [] if again else [store for store in stores if not store.fresh(path)]
    # If no features are missing, some are damaged or from different audio: then all are computed again.
    missing = missing or list(stores)
    for store, (header, matrix) in zip(missing, compute(path, [store.spec for store in missing]), strict=True):
        store.write(header, matrix)
    return Extracted(path, header.content, note=header.note, duration_s=header.duration_s)


def _record(scanned: Scanned[str, Extracted]) -> Extracted:
    record = scanned.result or Extracted(scanned.item, reason=scanned.reason)
    return dataclasses.replace(record, seconds=scanned.seconds)


def read_or_fail(path: str, store: FeatureStore[Spec]) -> tuple[Header, np.ndarray]:
    """Read the stored header and matrix of a track as `read` does. Raises StorageError if that fails."""
    stored = read(path, store)
    if stored is None:
        raise StorageError(
            f"{store.file_of(path)}: the features of {path} are damaged or missing, even after another extraction: "
            "check the disk",
            code="features.lost",
        )
    return stored


def read(path: str, store: FeatureStore[Spec]) -> tuple[Header, np.ndarray] | None:
    """Read the stored header and matrix of a track, and extract damaged ones again; return None if that fails."""
    stored = store.read(path)
    if stored is None:
        text = f"{path}: its stored features are damaged or missing, and are extracted again"
        log.warning("%s", coded(text, code="features.damaged"))
        extract_track(path, [store])
        stored = store.read(path)
    return stored
