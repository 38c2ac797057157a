"""One track's features, wherever they are: a summary to read, a .npy or .csv file for other programs to load."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from mirex_submission.errors import AudioError, UsageError
from mirex_submission.features import audio, extraction
from mirex_submission.features.filterbank import band_edges_hz
from mirex_submission.features.logmel import FLOOR
from mirex_submission.features.spec import WORKING_RATES_HZ, FeatureSpec, own_working_rate
from mirex_submission.features.store import SUFFIX, FeatureStore, Header, read_file
from mirex_submission.system.atomic import write_file
from mirex_submission.system.progress import printable

_TABLE_COLUMNS = 3  # of bands side by side: 40 bands then fit on one screen


def find_features(
    track: str, scratch: Path | None, *, rate_hz: int | None, n_bands: int, n_frames: int
) -> tuple[Header, np.ndarray, str]:
    """Get the features of one track from a file, from a scratch folder or from the audio.

    Parameters
    ----------
    track : str
        A stored feature file; or audio, whose features are looked up in the scratch folder and else computed.
    scratch : Path, optional
    rate_hz : int, optional
        Working rate; None: whichever is stored, else the audio's own.
    n_bands, n_frames : int
        Mel bands, and frames a segment.

    Returns
    -------
    header : Header
    frames : np.ndarray [shape=(n_frames of the clip, n_bands), float32]
    source : str
        "stored in ..." or "computed now".

    Raises
    ------
    AudioError
        The stored file is damaged, or the audio unreadable, empty or silent.
    UsageError
        Features at several rates are stored.
    """
    if track.endswith(SUFFIX):
        stored_file = read_file(Path(track))
        if stored_file is None:
            raise AudioError(f"{track}: missing, damaged, or no stored features", code="features.damaged")
        return *stored_file, f"stored in {track}"
    if scratch:
        rates = WORKING_RATES_HZ if rate_hz is None else (rate_hz,)
        stores = [FeatureStore(scratch, FeatureSpec(rate, n_bands, n_frames)) for rate in rates]
        stored = [(store, store.read(track)) for store in stores if store.fresh(track)]
        if len(stored) > 1:
            several = ", ".join(str(store.spec.rate_hz) for store, _ in stored)
            raise UsageError(f"{track}: stored at {several} Hz: give --rate", code="features.several-rates")
        for store, features in stored:
            if features:
                return *features, f"stored in {store.file_of(track)}"
    try:
        spec = FeatureSpec(rate_hz or own_working_rate(audio.native_rate(track)), n_bands, n_frames)
        return *extraction.compute(track, spec), "computed now"
    except AudioError as error:
        raise AudioError(f"{track}: {error.text}", code=error.code) from error


def summary(header: Header, frames: np.ndarray) -> str:
    """Describe one track's features in lines to print.

    Parameters
    ----------
    header : Header
    frames : np.ndarray [shape=(n_frames, n_bands)]
        log10 of band power.
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
    return "\n".join([*(f"{name:10}{text}" for name, text in rows.items()), "", *_band_table(frames, spec)])


def _band_table(frames: np.ndarray, spec: FeatureSpec) -> list[str]:
    """Lay out each band's centre frequency, mean and deviation, in columns that are read down."""
    means, deviations = frames.mean(axis=0, dtype=np.float64), frames.std(axis=0, dtype=np.float64)
    cells = [
        f"{hz:8.1f} {mean:7.3f} {deviation:6.3f}"
        for hz, mean, deviation in zip(band_centres_hz(spec), means, deviations, strict=True)
    ]
    n_lines = -(-len(cells) // _TABLE_COLUMNS)
    titles = [f"{'Hz':>8} {'mean':>7} {'std':>6}"] * -(-len(cells) // n_lines)
    return ["    ".join(row) for row in [titles, *(cells[k::n_lines] for k in range(n_lines))]]


def export(frames: np.ndarray, spec: FeatureSpec, path: str | os.PathLike[str]) -> None:
    """Write frames to a file whose suffix decides its format.

    .npy : as numpy.load reads them.
    .csv : a row of titles, `time_s` and the bands' centre frequencies in Hz; then a row a frame, the time at which its
        window begins and its log10 band powers with the 9 digits that tell every float32 from the next.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_bands), float32]
    spec : FeatureSpec
    path : str or path

    Raises
    ------
    UsageError
        The suffix is another one.
    StorageError
        The file cannot be written.
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
            raise UsageError(f"{os.fspath(path)}: give a name that ends in .npy or .csv", code="features.export-suffix")
    write_file(path, data.getvalue())


def band_centres_hz(spec: FeatureSpec) -> np.ndarray:
    """Compute the centre frequencies of the Mel bands in Hz, ascending, float64 [shape=(n_bands,)]."""
    return band_edges_hz(spec.rate_hz, spec.n_bands)[1:-1]
