"""One track's features for people and other programs: a summary to read, a .npy or .csv file to load."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from mirex_submission.errors import UsageError
from mirex_submission.features.filterbank import hz_to_mel, mel_to_hz
from mirex_submission.features.logmel import FLOOR
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import Header
from mirex_submission.system.atomic import write_file
from mirex_submission.system.progress import printable

_TABLE_COLUMNS = 3  # of bands side by side: 40 bands then fit on one screen


def summary(header: Header, frames: np.ndarray) -> str:
    """What one track's features are, as lines to print.

    frames : np.ndarray [shape=(n_frames, n_bands)], log10 of band power.
    """
    spec = header.spec
    rows = {
        "path": printable(header.path),
        "duration": f"{header.duration_s:.2f} s",
        "spec": f"{spec.rate_hz} Hz, window {spec.window} and hop {spec.hop} samples, {spec.n_bands} bands, "
        f"{spec.n_frames} frames a segment",
        "shape": f"{len(frames)} frames x {spec.n_bands} bands",
        "segments": f"{1 + (len(frames) - spec.n_frames) // spec.frames_between_segments} that share no sample",
        "content": header.content,
    }
    if header.note:
        rows["note"] = printable(header.note)
    levels = {"min": frames.min(), "mean": frames.mean(dtype=np.float64), "max": frames.max()}
    for unit, scale in (("log10", 1), ("dB", 10)):
        rows[unit] = "   ".join(f"{name} {scale * level:8.3f}" for name, level in levels.items())
    at_floor = np.mean(frames < np.log10(FLOOR) + 1e-5)  # vector and scalar log10 may differ in the last digit
    rows["floor"] = f"{at_floor:.1%} of the cells are as good as silence"
    lines = [f"{name:10}{text}" for name, text in rows.items()]

    means, deviations = frames.mean(axis=0, dtype=np.float64), frames.std(axis=0, dtype=np.float64)
    cells = [
        f"{hz:8.1f} {mean:7.3f} {deviation:6.3f}"
        for hz, mean, deviation in zip(band_centres_hz(spec), means, deviations, strict=True)
    ]
    n_lines = -(-len(cells) // _TABLE_COLUMNS)
    titles = [f"{'Hz':>8} {'mean':>7} {'std':>6}"] * -(-len(cells) // n_lines)
    table = [titles, *(cells[k::n_lines] for k in range(n_lines))]
    return "\n".join([*lines, "", *("    ".join(row) for row in table)])


def export(frames: np.ndarray, spec: FeatureSpec, path: str | os.PathLike[str]) -> None:
    """Write frames [shape=(n_frames, n_bands), float32] to a file whose suffix says how.

    .npy : as numpy.load reads them.
    .csv : a row of titles, `time_s` and the bands' centre frequencies in Hz; then a row a frame, the time at which its
        window begins and its log10 band powers with the 9 digits that tell every float32 from the next.

    Raises UsageError for another suffix, StorageError for a file that cannot be written.
    """
    data = io.BytesIO()
    match Path(path).suffix.lower():
        case ".npy":
            np.save(data, frames, allow_pickle=False)
        case ".csv":
            times_s = np.arange(len(frames)) * (spec.hop / spec.rate_hz)
            titles = ["time_s", *(f"{hz:.6g}" for hz in band_centres_hz(spec))]
            table = np.column_stack([times_s, frames])
            np.savetxt(data, table, fmt="%.9g", delimiter=",", header=",".join(titles), comments="")
        case _:
            raise UsageError(f"{os.fspath(path)}: give a name that ends in .npy or .csv")
    write_file(path, data.getvalue())


def band_centres_hz(spec: FeatureSpec) -> np.ndarray:
    """The centre frequencies of the Mel bands in Hz, ascending, float64 [shape=(n_bands,)]."""
    return mel_to_hz(np.linspace(0.0, hz_to_mel(spec.rate_hz / 2), spec.n_bands + 2))[1:-1]
