"""The features of one track, stored or computed: a summary for people, and .npy and .csv files for programs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mirex_submission.errors import AudioError, UsageError
from mirex_submission.features import audio, extraction
from mirex_submission.features.filterbank import band_edges_hz
from mirex_submission.features.logmel import FLOOR
from mirex_submission.features.spec import (
    WINDOW_S,
    WORKING_RATES_HZ,
    FeatureSpec,
    Spec,
    ViewSpec,
    own_working_rate,
)
from mirex_submission.features.store import SUFFIXES, FeatureStore, Header, read_file
from mirex_submission.system.atomic import write_output
from mirex_submission.system.progress import printable

_TABLE_COLUMNS = 3  # of bands side by side: 40 bands then fit on one screen


def find_features(
    track: str, scratch: Path | None, *, rate_hz: int | None, specs_at: Callable[[int], Sequence[Spec]]
) -> tuple[list[tuple[Header, np.ndarray]], str]:
    """Get the features of one track from a file, from a scratch folder or from the audio.

    Parameters
    ----------
    track : str
        A stored feature file; or audio, whose features are read from the scratch folder, or else computed.
    scratch : Path, optional
    rate_hz : int, optional
        Working rate; None: the rate of the stored features, or else that of the audio.
    specs_at : callable
        Function from a working rate to the kinds of features.

    Returns
    -------
    list of (Header, np.ndarray [shape=(n_rows, n_columns), float32])
        For each kind: frames, or vectors of windows.
    source : str
        "stored in ..." or "computed now".

    Raises
    ------
    AudioError
        The stored file is damaged, or the audio unreadable, empty or silent.
    UsageError
        Features at several rates are stored.
    """
    if track.endswith(SUFFIXES):
        stored_file = read_file(Path(os.path.realpath(track)))
        if stored_file is None:
            raise AudioError(f"{track}: missing, damaged, or not a feature file", code="features.damaged")
        return [stored_file], f"stored in {track}"
    if scratch:
        rates = WORKING_RATES_HZ if rate_hz is None else (rate_hz,)
        candidates = [
            [FeatureStore(scratch, spec) for spec in specs] for specs in dict.fromkeys(map(tuple, map(specs_at, rates)))
        ]
        stored = [stores for stores in candidates if all(store.fresh(track) for store in stores)]
        if len(stored) > 1:
            several = ", ".join(str(store.spec.rate_hz) for store, *_ in stored)
            text = f"{track}: features are stored at {several} Hz: choose one with --rate"
            raise UsageError(text, code="features.several-rates")
        for stores in stored:
            features = [features for features in (store.read(track) for store in stores) if features]
            if len(features) == len(stores):
                return features, f"stored in {', '.join(str(store.file_of(track)) for store in stores)}"
    try:
        specs = specs_at(rate_hz or own_working_rate(audio.native_rate(track)))
        return extraction.compute(track, specs), "computed now"
    except AudioError as error:
        raise AudioError(f"{track}: {error.text}", code=error.code) from error


def summary(header: Header, matrix: np.ndarray) -> str:
    """Describe the features of one kind in lines to print: frames, or vectors of windows in one view."""
    if isinstance(header.spec, FeatureSpec):
        return _summary_of_frames(header, matrix, header.spec)
    assert isinstance(header.spec, ViewSpec)
    spec = header.spec
    about = {
        "view": f"{spec.view}, version {spec.version}, at {spec.rate_hz} Hz",
        "shape": f"{len(matrix)} window(s) of at most {WINDOW_S} s x {spec.length} numbers",
    }
    return "\n".join(_rows(header, matrix, about, {"numbers": 1}))


def _summary_of_frames(header: Header, frames: np.ndarray, spec: FeatureSpec) -> str:
    """Summarise frames [shape=(n_frames, n_bands)], log10 of band power."""
    about = {
        "spec": f"{spec.rate_hz} Hz, window {spec.window} and hop {spec.hop} samples, {spec.n_bands} bands, "
        f"{spec.n_frames} frames a segment",
        "shape": f"{len(frames)} frames x {spec.n_bands} bands",
        "segments": f"{1 + (len(frames) - spec.n_frames) // spec.frames_between_segments} that share no sample",
    }
    at_floor = np.mean(frames < np.log10(FLOOR) + 1e-5)  # vector and scalar log10 may differ in the last digit
    floor = f"{'floor':10}{at_floor:.1%} of the cells are as good as silence"
    return "\n".join([*_rows(header, frames, about, {"log10": 1, "dB": 10}), floor, "", *_band_table(frames, spec)])


def _rows(header: Header, matrix: np.ndarray, about: Mapping[str, str], scales: Mapping[str, int]) -> list[str]:
    """Make the rows for features of any kind, with the rows `about` this kind; `scales` are units with factors."""
    rows = {
        "path": printable(header.path), "duration": f"{header.duration_s:.2f} s", **about, "content": header.content
    }  # fmt: skip
    if header.note:
        rows["note"] = printable(header.note)
    levels = {"min": matrix.min(), "mean": matrix.mean(dtype=np.float64), "max": matrix.max()}
    for unit, scale in scales.items():
        rows[unit] = "   ".join(f"{name} {scale * level:8.3f}" for name, level in levels.items())
    return [f"{name:10}{text}" for name, text in rows.items()]


def _band_table(frames: np.ndarray, spec: FeatureSpec) -> list[str]:
    """Make a table of each band's centre frequency, mean and deviation; the bands go down the columns."""
    means, deviations = frames.mean(axis=0, dtype=np.float64), frames.std(axis=0, dtype=np.float64)
    cells = [
        f"{hz:8.1f} {mean:7.3f} {deviation:6.3f}"
        for hz, mean, deviation in zip(band_centres_hz(spec), means, deviations, strict=True)
    ]
    n_lines = -(-len(cells) // _TABLE_COLUMNS)
    titles = [f"{'Hz':>8} {'mean':>7} {'std':>6}"] * -(-len(cells) // n_lines)
    return ["    ".join(row) for row in [titles, *(cells[k::n_lines] for k in range(n_lines))]]


def export(matrix: np.ndarray, spec: Spec, path: str | os.PathLike[str]) -> None:
    """Write features of one kind to a file whose suffix decides its format.

    .npy : a matrix for numpy.load.
    .csv : a row of titles, `time_s` and the bands' centre frequencies in Hz; then a row for each frame: the time at
        which its window begins, and its log10 band powers with 9 digits, which keep every bit of a float32. A view has
        a row for each window, and the titles are the numbers of the columns.

    Parameters
    ----------
    matrix : np.ndarray [shape=(n_rows, n_columns), float32]
    spec : Spec
    path : str or path

    Raises
    ------
    UsageError
        The suffix is neither .npy nor .csv.
    StorageError
        The file cannot be written.
    """
    data = io.BytesIO()
    match Path(path).suffix.lower():
        case ".npy":
            np.save(data, matrix, allow_pickle=False)
        case ".csv":
            titles, table = [str(k) for k in range(spec.n_columns)], matrix
            if isinstance(spec, FeatureSpec):
                times_s = np.arange(len(matrix)) * (spec.hop / spec.rate_hz)
                titles = ["time_s", *(f"{hz:.6g}" for hz in band_centres_hz(spec))]
                table = np.column_stack([times_s, matrix])
            np.savetxt(data, table, fmt="%.9g", delimiter=",", header=",".join(titles), comments="")
        case _:
            text = f"{os.fspath(path)}: give a name that ends in .npy, .csv or .png"
            raise UsageError(text, code="features.export-suffix")
    write_output(path, data.getvalue())


def band_centres_hz(spec: FeatureSpec) -> np.ndarray:
    """Compute the centre frequencies of the Mel bands in Hz, ascending, float64 [shape=(n_bands,)]."""
    return band_edges_hz(spec.rate_hz, spec.n_bands)[1:-1]
