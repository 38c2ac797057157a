"""Features of many tracks: parallel, and only what the store does not have yet.

Each track is one idempotent unit of work. A worker commits its own file and returns a record; it never raises for bad
audio, because one exception would end the work of all. Workers load numpy, scipy and the decoder, never TensorFlow.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import joblib
import numpy as np
from joblib.externals.loky.process_executor import TerminatedWorkerError

from mirex_submission.errors import AudioError, StorageError
from mirex_submission.features import audio
from mirex_submission.features.logmel import log_mel
from mirex_submission.features.spec import working_rate
from mirex_submission.features.store import AudioState, FeatureStore, Header, content_hash
from mirex_submission.system.progress import Progress, duration

log = logging.getLogger(__name__)

MIN_TRACKS_A_WORKER = 16  # starting a worker costs about what extracting so many tracks does


@dataclass(frozen=True)
class Extracted:
    """What became of one track: a header, or the reason why there are no features."""

    path: str
    header: Header | None
    reason: str = ""


def choose_rate(paths: Iterable[str], *, threads: int) -> int:
    """The working rate of a task in Hz, from the headers of those of its files that can be read."""
    found = joblib.Parallel(n_jobs=threads, backend="threading")(joblib.delayed(_native_rate)(p) for p in paths)
    rates = [rate for rate in found if rate]
    chosen = working_rate(rates)
    counts = Counter(rates)
    log.info(
        "working rate: %d Hz; the files have %s; %d are resampled",
        chosen, ", ".join(f"{rate} Hz ({n})" for rate, n in counts.most_common()), len(rates) - counts[chosen],
    )  # fmt: skip
    return chosen


def _native_rate(path: str) -> int:
    try:
        return audio.native_rate(path)
    except AudioError:  # said once, when the track is extracted
        return 0


def extract(paths: Iterable[str], store: FeatureStore, *, threads: int) -> dict[str, Extracted]:
    """Make sure that the store holds the features of every track that can be heard.

    Returns what became of each distinct path. Raises StorageError where the features cannot be written.
    """
    records: dict[str, Extracted] = {}
    todo = []
    spellings: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        spellings.setdefault(os.path.abspath(path), []).append(path)
    for path, *_ in spellings.values():
        header = store.fresh(path)
        if header is None:
            todo.append(path)
        else:
            records[path] = Extracted(path, header)
    n_reused = len(records)
    jobs = max(1, min(threads, len(todo) // MIN_TRACKS_A_WORKER))
    if todo:
        log.info(
            "extraction: %d tracks to do with %d process(es), %d stored already, at %d Hz",
            len(todo), jobs, n_reused, store.spec.rate_hz,
        )  # fmt: skip
    progress = Progress("extraction", len(todo), unit="tracks")
    n_failed, audio_s = 0, 0.0
    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
        work = joblib.Parallel(return_as="generator_unordered")(joblib.delayed(extract_track)(p, store) for p in todo)
        for record in _until_a_worker_dies(work):
            records[record.path] = record
            if record.header is None:
                n_failed += 1
                log.warning("%s: %s", record.path, record.reason)
            else:
                audio_s += record.header.duration_s
                if record.header.note:
                    log.warning("%s: %s", record.path, record.header.note)
            progress.advance(note=f"{audio_s / max(progress.elapsed_s, 1e-3):.0f} times real time, {n_failed} failed")
    progress.close()
    log.info(
        "extraction: %d tracks ready (%d new, %d stored before), %d cannot be used, in %s",
        len(records) - n_failed, len(todo) - n_failed, n_reused, n_failed, duration(progress.elapsed_s),
    )  # fmt: skip
    for first, *others in spellings.values():
        records.update((path, dataclasses.replace(records[first], path=path)) for path in others)
    return records


def _until_a_worker_dies(work: Iterable[Extracted]) -> Iterator[Extracted]:
    try:
        yield from work
    except TerminatedWorkerError as error:
        raise AudioError(
            "a process that extracts features was killed, as when memory runs out or a decoder crashes: finished work "
            "is kept, run the same command again, with fewer -numThreads if memory is short"
        ) from error


def extract_track(path: str, store: FeatureStore) -> Extracted:
    """Decode one track, compute its frames and store them."""
    try:
        state = AudioState.of(path)
        waveform = audio.decode(path, rate_hz=store.spec.rate_hz)
        frames = log_mel(waveform.samples, store.spec)
        header = Header(
            path=os.path.abspath(path),
            audio=state,
            content=content_hash(path),
            spec=store.spec,
            n_frames=len(frames),
            duration_s=len(waveform.samples) / waveform.rate_hz,
            note=waveform.note,
        )
        store.write(header, frames)
    except StorageError:  # no other track could be stored either
        raise
    except AudioError as error:
        return Extracted(path, None, str(error))
    except OSError as error:
        return Extracted(path, None, f"cannot be read: {error.strerror or error}")
    # Whatever a decoder makes of a strange file must not end a run of days.
    except Exception as error:  # noqa: BLE001
        return Extracted(path, None, f"unexpected {type(error).__name__}: {error}")
    return Extracted(path, header)


def read(path: str, store: FeatureStore) -> tuple[Header, np.ndarray] | None:
    """The stored header and frames of a track, made again if they are damaged; None if that cannot be done."""
    stored = store.read(path)
    if stored is None:
        log.warning("%s: its stored features are damaged or gone and are made again", path)
        extract_track(path, store)
        stored = store.read(path)
    return stored
