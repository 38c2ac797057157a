"""The working rate of a task: chosen once from the headers of its files, and remembered in the scratch folder.

The record, `features/task`, has a line with the digest of the rest, a JSON line {"rate_hz", "state"}, and the sorted
64-bit hashes of the task's full paths: 8 bytes a track, so that a fold of a task of millions is recognised fast.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import xxhash

from mirex_submission.features.audio import AudioHeader
from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import WORKING_RATES_HZ, FeatureSpec, working_rate
from mirex_submission.system.atomic import seal, write_file
from mirex_submission.system.inner import inner_folder, read_sealed
from mirex_submission.system.paths import full_path

log = logging.getLogger(__name__)

_MOST_BYTES = 1 << 30  # enough for the record of 100 million tracks


class _Task(msgspec.Struct):
    """The JSON line of a record: working rate, and hash of the state of the task's files ("" if the user set it)."""

    rate_hz: int
    state: str


def choose_rate(
    scratch: Path,
    paths: Sequence[str],
    headers: Headers,
    *,
    whole_task: bool = False,
    given_hz: int | None = None,
) -> int:
    """Choose the working rate: the rate of the last whole task if it has all of `paths`, else by the files' headers.

    So every fold has the rate of its task.

    Parameters
    ----------
    scratch : Path
    paths : sequence of str
    headers : Headers
        Cache of headers.
    whole_task : bool
        `paths` are all files of a task (a feature list). Their rate is stored; their headers are read again only if the
        list or any of its files has changed.
    given_hz : int, optional
        Rate that the user chose, which overrides all others.

    Returns
    -------
    int
        Working rate in Hz.
    """
    if not whole_task and (given_hz or not paths):
        return given_hz or FeatureSpec.rate_hz
    record = inner_folder(scratch, "features") / "task"
    files = sorted({full_path(path) for path in paths})
    hashes = np.sort(np.fromiter(map(_path_hash, files), np.uint64, len(files)))
    state = _state(files) if whole_task and not given_hz else ""
    known = None if given_hz else _read(record)
    if known:
        task, task_hashes = known
        if state == task.state if whole_task else np.isin(hashes, task_hashes).all():
            log.info("working rate: %d Hz, chosen when the features of the whole task were extracted", task.rate_hz)
            return task.rate_hz
    rate_hz = given_hz or _rate_of_headers(files, headers)
    if whole_task:
        line = json.dumps({"rate_hz": rate_hz, "state": state}).encode()
        write_file(record, seal(line + b"\n" + hashes.astype("<u8").tobytes()))
    return rate_hz


def _rate_of_headers(files: Sequence[str], headers: Headers) -> int:
    """Choose the working rate from the headers of distinct files."""
    # A file without a header is reported when the track is extracted.
    rates = [header.rate_hz for header in headers.of(files).values() if isinstance(header, AudioHeader)]
    chosen = working_rate(rates)
    counts = Counter(rates)
    log.info(
        "working rate: %d Hz; rates of the files: %s; %d are resampled",
        chosen, ", ".join(f"{rate} Hz ({n})" for rate, n in counts.most_common()), len(rates) - counts[chosen],
    )  # fmt: skip
    return chosen


def _path_hash(path: str) -> int:
    return xxhash.xxh3_64_intdigest(os.fsencode(path))


def _state(files: Sequence[str]) -> str:
    """Hash size and times of all files."""
    whole = xxhash.xxh3_128()
    for file in files:
        try:
            s = os.stat(file)
            state = f"{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}"
        except (OSError, ValueError):
            state = "none"
        whole.update(os.fsencode(f"{file}\0{state}\0"))
    return whole.hexdigest()


def _read(record: Path) -> tuple[_Task, np.ndarray] | None:
    """Read the record and the path hashes of the last whole task; None if there is no valid record."""
    try:
        line, _, hashes = (read_sealed(record, most_bytes=_MOST_BYTES) or b"").partition(b"\n")
        task, task_hashes = msgspec.json.decode(line, type=_Task), np.frombuffer(hashes, "<u8")
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return (task, task_hashes) if task.rate_hz in WORKING_RATES_HZ else None
