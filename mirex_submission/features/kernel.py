"""The compiled kernel (csrc/): Mel band powers, and the mean of channels, several times as fast as librosa and NumPy.

The kernel is optional: if it could not be compiled at installation, `compiled` is None, and the Python code that
defines the features runs instead (logmel.py, audio.py). It computes 16, 8 or 4 frames at a time, as many as the
processor can. The result of a frame is bit-identical whatever its neighbours are.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from mirex_submission.features.filterbank import band_edges_hz, mel_filterbank
from mirex_submission.features.spec import MelSpec
from mirex_submission.system.compiled import load

compiled: Any = load("mirex_submission.features._kernel")  # a module, or None
LANES: tuple[int, ...] = compiled.LANES if compiled else ()  # numbers of frames that this processor computes at a time
_INT16_SCALE = np.float32(2.0**-15)


def band_powers(samples: np.ndarray, spec: MelSpec, *, lanes: int | None = None) -> np.ndarray:
    """Compute the Mel band powers of every whole frame. Needs the compiled kernel.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono at `spec.rate_hz`, n >= spec.window; full scale is 1.0 for floats, 32768 for int16.
    spec : MelSpec
    lanes : int, optional
        Number of frames to compute at a time, one of LANES; default: the largest.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands), float32]
    """
    is_int16 = samples.dtype == np.int16
    samples = np.require(samples, np.int16 if is_int16 else np.float32, ["C", "A"])
    # 16-bit samples are not converted: the window contains their scale.
    weights = hann(spec.window) * _INT16_SCALE if is_int16 else hann(spec.window)
    powers = np.empty((1 + (len(samples) - spec.window) // spec.hop, spec.n_bands), np.float32)
    slopes = _slopes(spec)
    roots = _roots(spec.window)
    compiled.band_powers(samples, is_int16, spec.hop, weights, roots, *slopes, powers, lanes or LANES[-1])
    return powers


@functools.lru_cache(maxsize=8)
def hann(n: int) -> np.ndarray:
    """Compute the periodic Hann window, float32 [shape=(n,)]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _roots(n: int) -> np.ndarray:
    """Compute exp(-2 pi i k / n), complex64 [shape=(n,)]."""
    return np.asarray(np.exp(-2j * np.pi * np.arange(n) / n), np.complex64)


@functools.lru_cache(maxsize=8)
def _slopes(spec: MelSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrange the filterbank by bins: a bin between the centres of two bands has a weight in these two bands only.

    Returns
    -------
    slopes : np.ndarray [shape=(n_bands + 2,), int32]
        First bin of each slope, and the end of the last one.
    falling, rising : np.ndarray [shape=(window // 2 + 1,), float32]
        Weight of each bin in the band before its slope, and in the band after it.
    """
    n_bins = spec.window // 2 + 1
    edges_hz = band_edges_hz(spec.rate_hz, spec.n_bands, spec.lowest_hz)
    slopes = np.searchsorted(np.arange(n_bins) * (spec.rate_hz / spec.window), edges_hz)
    slopes[-1] = n_bins
    slope_of_bin = np.searchsorted(slopes, np.arange(n_bins), side="right") - 1
    filters = mel_filterbank(spec.rate_hz, spec.window, spec.n_bands, spec.lowest_hz)
    filters = np.pad(filters, ((1, 1), (0, 0)))
    falling, rising = (filters[slope_of_bin + k, np.arange(n_bins)] for k in (0, 1))
    return slopes.astype(np.int32), falling, rising
