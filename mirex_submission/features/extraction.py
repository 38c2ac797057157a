"""Features of many tracks: parallel, and only what the store does not have yet.

Each track is one idempotent unit of work. A worker commits its own file and returns a record; it never raises for bad
audio, because one exception would end the work of all. Workers load numpy, scipy and the decoder, never TensorFlow.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import joblib
import numpy as np

from mirex_submission.errors import AudioError, StorageError
from mirex_submission.features import audio, suspects
from mirex_submission.features.logmel import log_mel_of_blocks, method
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import AudioState, FeatureStore, Header, content_hash
from mirex_submission.system.paths import full_path
from mirex_submission.system.progress import Progress, duration
from mirex_submission.system.workers import WorkerLost, Workers

log = logging.getLogger(__name__)

WORKER_START_S = 0.5  # what a process of this machine costs before its first track


@dataclass(frozen=True, slots=True)
class Extracted:
    """What became of one track.

    content : the hash of its audio, or "" if there are no features: `reason` then says why.
    note : what is odd about audio that is used all the same. duration_s : of the audio, if it was extracted now.
    """

    path: str
    content: str = ""
    reason: str = ""
    note: str = ""
    duration_s: float = 0.0


def extract(
    paths: Iterable[str], store: FeatureStore, workers: Workers, *, verify: bool = False
) -> dict[str, Extracted]:
    """Make sure that the store holds the features of every track that can be heard.

    verify : read all stored features and the audio that they were made from; else their headers and the file system's
        word are enough.

    Returns what became of each distinct path. Raises StorageError where the features cannot be written.
    """
    records: dict[str, Extracted] = {}
    todo = []
    spellings: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        spellings.setdefault(full_path(path), []).append(path)
    looked_up = Progress("stored features", len(spellings), unit="tracks")
    for path, *_ in spellings.values():
        header = store.verified(path) if verify else store.fresh(path)
        if header is None:
            todo.append(path)
        else:
            records[path] = Extracted(path, header.content)
        looked_up.advance()
    looked_up.close()
    suspects.clear(store.folder, records)  # of a process that was killed after it had stored the track
    n_reused = len(records)
    log.info("extraction: %d tracks to do, %d stored already, at %d Hz", len(todo), n_reused, store.spec.rate_hz)
    if todo:
        log.info("log-Mel frames: %s", method())
    progress = Progress("extraction", len(todo), unit="tracks")
    n_failed, audio_s = 0, 0.0
    for record in _extract_all(todo, store, workers):
        records[record.path] = record
        n_failed += not record.content
        audio_s += record.duration_s
        if record.reason or record.note:
            log.warning("%s: %s", record.path, record.reason or record.note)
        progress.advance(note=f"{audio_s / max(progress.elapsed_s, 1e-3):.0f} times real time, {n_failed} failed")
    progress.close()
    log.info(
        "extraction: %d tracks ready (%d new, %d stored before), %d cannot be used, in %s",
        len(records) - n_failed, len(todo) - n_failed, n_reused, n_failed, duration(progress.elapsed_s),
    )  # fmt: skip
    for first, *others in spellings.values():
        records.update((path, dataclasses.replace(records[first], path=path)) for path in others)
    return records


def _extract_all(paths: Sequence[str], store: FeatureStore, workers: Workers) -> Iterator[Extracted]:
    """The tracks' records as they come: on a cluster, or here, and by more processes once the work is worth it."""
    if workers.local:
        apart = suspects.noted(store.folder, paths)
        if apart:
            log.warning("extraction: an earlier run died with %d track(s) in hand: they are done apart", len(apart))
            others = Workers(2)
            with others.joined():
                yield from _extract_apart(apart, store, others)
            paths = [path for path in paths if path not in set(apart)]
        n_here, n_useful = yield from _extract_here(paths, store, joblib.effective_n_jobs(workers.n_jobs))
        paths, workers = paths[n_here:], dataclasses.replace(workers, n_jobs=n_useful)
    if paths:
        with workers.joined():
            yield from _extract_in_parallel(paths, store, workers)


def _extract_here(
    paths: Sequence[str], store: FeatureStore, n_jobs: int
) -> Generator[Extracted, None, tuple[int, int]]:
    """The records of the first tracks, of all if no more processes are worth their start.

    Returns how many were done, and how many processes are worth it for the rest.
    """
    n_here, n_useful, spent_s, longest_s = 0, 1, 0.0, 0.0
    if not paths:
        return 0, 1
    with suspects.noting(store.folder) as in_hand:
        for path in paths:
            in_hand(path)
            started_s = time.monotonic()
            record = extract_track(path, store)
            took_s = time.monotonic() - started_s
            yield record
            n_here, spent_s, longest_s = n_here + 1, spent_s + took_s, max(longest_s, took_s)
            if n_here < 2 or spent_s < WORKER_START_S / 5:
                continue
            # Without the longest: the first track also makes the filterbank, and any may wait for the disk.
            left_s = (spent_s - longest_s) / (n_here - 1) * (len(paths) - n_here)
            n_useful = int(min(n_jobs, left_s / WORKER_START_S))
            if n_useful > 1 and left_s - left_s / n_useful > WORKER_START_S:
                log.info("extraction: %d processes from here on", n_useful)
                break
    return n_here, n_useful


def _extract_in_parallel(paths: Sequence[str], store: FeatureStore, workers: Workers) -> Iterator[Extracted]:
    """The tracks' records, though workers die: of a crash in a decoder, or because memory runs out.

    What a dead worker may have had in hand is done again, one track at a time; the one that kills again is at fault.
    """
    while paths:
        in_hand: dict[str, None] = {}
        done = set()

        def tasks(paths: Sequence[str] = paths, in_hand: dict[str, None] = in_hand) -> Iterator[object]:
            for path in paths:
                in_hand[path] = None
                yield joblib.delayed(extract_track)(path, store)

        try:
            for record in workers.run(tasks()):
                del in_hand[record.path]
                done.add(record.path)
                yield record
            return
        except WorkerLost:
            again = []
            for path in list(in_hand):
                header = store.fresh(path)
                if header:  # only word of it was lost
                    yield Extracted(path, header.content, note=header.note)
                else:
                    again.append(path)
            log.warning("a process that extracts features was killed: %d tracks are done again", len(again))
            yield from _extract_apart(again, store, workers)
            paths = [path for path in paths if path not in done and path not in in_hand]


def _extract_apart(paths: Sequence[str], store: FeatureStore, workers: Workers) -> Iterator[Extracted]:
    """The records of tracks that may be deadly, one at a time in other processes."""
    for path in paths:
        try:
            yield from workers.run([joblib.delayed(extract_track)(path, store)])
        except WorkerLost:
            suspects.note(store.folder, path)
            yield Extracted(path, reason="kills the process that extracts it: a decoder crash, or no memory")
        else:
            suspects.clear(store.folder, [path])


def compute(path: str, spec: FeatureSpec) -> tuple[Header, np.ndarray]:
    """Decode one track and compute its frames. Raises AudioError and OSError."""
    state = AudioState.of(path)
    recording = audio.Recording(path, rate_hz=spec.rate_hz)
    frames = log_mel_of_blocks(recording, spec)
    content = content_hash(path)
    changed = ["changed while it was read"] if AudioState.of(path) != state else []
    header = Header(
        path=full_path(path),
        audio=state,
        content=content,
        spec=spec,
        n_frames=len(frames),
        duration_s=recording.n_samples / recording.rate_hz,
        note="; ".join(filter(None, [recording.note, *changed])),
    )
    return header, frames


def extract_track(path: str, store: FeatureStore) -> Extracted:
    """Compute the frames of one track and store them."""
    try:
        header, frames = compute(path, store.spec)
        store.write(header, frames)
    except StorageError:  # no other track could be stored either
        raise
    except AudioError as error:
        return Extracted(path, reason=str(error))
    except OSError as error:
        return Extracted(path, reason=f"cannot be read: {error.strerror or error}")
    # Whatever a decoder makes of a strange file must not end a run of days.
    except Exception as error:  # noqa: BLE001
        return Extracted(path, reason=f"unexpected {type(error).__name__}: {error}")
    return Extracted(path, header.content, note=header.note, duration_s=header.duration_s)


def read(path: str, store: FeatureStore) -> tuple[Header, np.ndarray] | None:
    """The stored header and frames of a track, made again if they are damaged; None if that cannot be done."""
    stored = store.read(path)
    if stored is None:
        log.warning("%s: its stored features are damaged or gone and are made again", path)
        extract_track(path, store)
        stored = store.read(path)
    return stored
