"""The working rate of a task: chosen once from the headers of its files, and remembered in the scratch folder.

The record, `features/task`, is a line with the digest of what follows, a JSON line {"rate_hz", "state"}, and the sorted
64-bit hashes of the task's full paths: 8 bytes a track, so that a fold of a task of millions is looked up at once.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash

from mirex_submission.features.audio import AudioHeader
from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import WORKING_RATES_HZ, working_rate
from mirex_submission.system.atomic import seal, unseal, write_file
from mirex_submission.system.paths import full_path

log = logging.getLogger(__name__)


def choose_rate(
    scratch: Path,
    paths: Sequence[str],
    *,
    threads: int,
    whole_task: bool = False,
    given_hz: int | None = None,
    headers: Headers | None = None,
) -> int:
    """The working rate in Hz: the one of the last whole task if that holds all of `paths`, else what their headers say.

    Every fold thus has the rate of its task.

    whole_task : `paths` are all files of a task (a feature list). Their rate is remembered; headers are read again only
        if the list or any of its files has changed.
    given_hz : the rate that the user wants, which decides.
    headers : what has been read already, and takes up what is read now.
    """
    if given_hz and not whole_task:
        return given_hz
    record = scratch / "features" / "task"
    files = sorted({full_path(path) for path in paths})
    hashes = np.sort(np.fromiter(map(_path_hash, files), np.uint64, len(files)))
    state = _state(files) if whole_task and not given_hz else ""
    known = None if given_hz else _read(record)
    if known:
        rate_hz, known_state, known_hashes = known
        if state == known_state if whole_task else np.isin(hashes, known_hashes).all():
            log.info("working rate: %d Hz, chosen when the features of the whole task were extracted", rate_hz)
            return rate_hz
    rate_hz = given_hz or _rate_of_headers(paths, headers or Headers(threads))
    if whole_task:
        body = json.dumps({"rate_hz": rate_hz, "state": state}).encode() + b"\n" + hashes.astype("<u8").tobytes()
        write_file(record, seal(body))
    return rate_hz


def _rate_of_headers(paths: Sequence[str], headers: Headers) -> int:
    found = headers.of(paths)  # of a file without one it is said when the track is extracted
    rates = [header.rate_hz for path in paths if isinstance(header := found[path], AudioHeader)]
    chosen = working_rate(rates)
    counts = Counter(rates)
    log.info(
        "working rate: %d Hz; the files have %s; %d are resampled",
        chosen, ", ".join(f"{rate} Hz ({n})" for rate, n in counts.most_common()), len(rates) - counts[chosen],
    )  # fmt: skip
    return chosen


def _path_hash(path: str) -> int:
    return xxhash.xxh3_64_intdigest(os.fsencode(path))


def _state(files: Sequence[str]) -> str:
    """One hash of what the file system says of all files."""
    whole = xxhash.xxh3_128()
    for file in files:
        try:
            s = os.stat(file)
            said = f"{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}"
        except (OSError, ValueError):
            said = "none"
        whole.update(os.fsencode(f"{file}\0{said}\0"))
    return whole.hexdigest()


def _read(record: Path) -> tuple[int, str, np.ndarray] | None:
    """Rate, state and path hashes of the last whole task; None if there is no record or it is none of ours."""
    try:
        line, _, hashes = (unseal(record.read_bytes()) or b"").partition(b"\n")
        task = json.loads(line)
        rate_hz, state, of_paths = task["rate_hz"], task["state"], np.frombuffer(hashes, "<u8")
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return (rate_hz, state, of_paths) if type(rate_hz) is int and rate_hz in WORKING_RATES_HZ else None
