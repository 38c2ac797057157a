"""Waveform to log-Mel frames: Hann window, FFT, Mel filterbank on the power spectrum, log10 above a floor.

Conventions: frames without padding ("uncentred"), so frame k covers samples [k * hop, k * hop + window); the periodic
Hann window; Slaney's Mel scale and area normalisation from 0 Hz to half the rate, as librosa has them
(https://librosa.org, `librosa.filters.mel`, after M. Slaney, Auditory Toolbox, 1998). All in float32: a band that lies
more than 70 dB below the loudest of its frame, as beside a pure tone, carries the rounding of the transform.

Each step was chosen by measurement (benchmarks/extraction.py): 16-bit samples are multiplied by the window as they are,
with their scale folded into it; the FFT works in place; re^2 and im^2 are never added but weighed alike by the Mel
product, which is done for a few neighbouring bands at a time and only over the bins that they cover.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np
import scipy.fftpack  # scipy.fft cannot transform float32 in place

from mirex_submission.features.spec import FeatureSpec

# Near the noise floor of 16 bits; what is quieter is as good as silence. In units of band power at full scale 1.0.
FLOOR = 1e-10
_BLOCK_SAMPLES = 256 * 1536  # transformed at a time: more leave the cache, fewer cost more calls
_INT16_SCALE = np.float32(2.0**-15)


def log_mel(samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The log-Mel frames of a whole clip, in one pass.

    A clip shorter than a segment is repeated until it fills one.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)], mono at `spec.rate_hz`, n > 0; full scale is 1.0 for floats, 32768 for int16.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands), float32], log10 of band power, at least log10(FLOOR).
    """
    if len(samples) < spec.segment_samples:
        samples = np.tile(samples, -(-spec.segment_samples // len(samples)))[: spec.segment_samples]
    window = hann(spec.window)
    if samples.dtype == np.int16:
        window = window * _INT16_SCALE
    else:
        samples = samples.astype(np.float32, copy=False)
    frames = np.lib.stride_tricks.sliding_window_view(samples, spec.window)[:: spec.hop]
    bands = _banded_filterbank(spec.rate_hz, spec.window, spec.n_bands)
    mel = np.empty((len(frames), spec.n_bands), np.float32)
    buffer = _aligned(min(len(frames), _BLOCK_SAMPLES // spec.window), spec.window)
    for start in range(0, len(frames), len(buffer)):
        block = frames[start : start + len(buffer)]
        spectrum = np.multiply(block, window, out=buffer[: len(block)])
        spectrum = scipy.fftpack.rfft(spectrum, axis=1, overwrite_x=True)
        power = np.square(spectrum, out=spectrum)
        for group in bands:
            part = mel[start : start + len(block), group.first_band : group.last_band]
            np.matmul(power[:, group.first_column : group.last_column], group.weights, out=part)
    np.maximum(mel, np.float32(FLOOR), out=mel)
    return np.log10(mel, out=mel)


def _aligned(n_rows: int, n_columns: int) -> np.ndarray:
    """An uninitialised float32 array that begins a cache line, where vector instructions write fastest."""
    raw = np.empty(4 * n_rows * n_columns + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 4 * n_rows * n_columns].view(np.float32).reshape(n_rows, n_columns)


@functools.lru_cache(maxsize=8)
def hann(n: int) -> np.ndarray:
    """The periodic Hann window, float32 [shape=(n,)]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def mel_filterbank(rate_hz: int, window: int, n_bands: int) -> np.ndarray:
    """Triangular Mel filters of unit area (Slaney), float32 [shape=(n_bands, window // 2 + 1)]."""
    bins_hz = np.arange(window // 2 + 1) * (rate_hz / window)
    edges_hz = mel_to_hz(np.linspace(0.0, hz_to_mel(rate_hz / 2), n_bands + 2))
    lower, centre, upper = (edges_hz[k : n_bands + k, None] for k in range(3))
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (upper - lower)), np.float32)


class _BandGroup(NamedTuple):
    """The filters of neighbouring bands over the columns that any of them weighs, [shape=(n_columns, n_bands)]."""

    first_band: int
    last_band: int
    first_column: int
    last_column: int
    weights: np.ndarray


@functools.lru_cache(maxsize=8)
def _banded_filterbank(rate_hz: int, window: int, n_bands: int) -> tuple[_BandGroup, ...]:
    """The Mel filters for the squares of FFTPACK's real spectrum: re 0, re 1, im 1, re 2, im 2, ..., re window/2.

    The higher the bands the more bins they cover, and the fewer of them share a product.
    """
    filters = mel_filterbank(rate_hz, window, n_bands)
    filters = np.concatenate([filters[:, :1], np.repeat(filters[:, 1:-1], 2, axis=1), filters[:, -1:]], axis=1)
    groups = []
    edges = sorted({round(n_bands * share) for share in (0, 0.4, 0.6, 0.7, 0.8, 0.9, 1)})
    for first_band, last_band in itertools.pairwise(edges):
        columns = np.flatnonzero(filters[first_band:last_band].any(axis=0))
        first, last = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)  # no bin: no power
        weights = np.ascontiguousarray(filters[first_band:last_band, first:last].T)
        groups.append(_BandGroup(first_band, last_band, first, last, weights))
    return tuple(groups)


# Slaney's Mel scale: linear below 1 kHz (3 Mel a 200 Hz), logarithmic above (27 Mel for a factor of 6.4).
_MEL_PER_HZ = 3.0 / 200.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ * _MEL_PER_HZ
_MEL_PER_LOG = 27.0 / np.log(6.4)


def hz_to_mel(hz: float) -> float:
    """Slaney's Mel of a frequency in Hz."""
    return _BREAK_MEL + _MEL_PER_LOG * np.log(hz / _BREAK_HZ) if hz >= _BREAK_HZ else hz * _MEL_PER_HZ


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """The frequencies in Hz of Slaney's Mels."""
    return np.where(mel < _BREAK_MEL, mel / _MEL_PER_HZ, _BREAK_HZ * np.exp((mel - _BREAK_MEL) / _MEL_PER_LOG))
