"""Mel band powers of a waveform's frames: by the compiled kernel, or by SciPy where no compiler was found to build it.

Both work in float32 and agree to its rounding. 16-bit samples are multiplied by the window as they are, with their
scale folded into it. The kernel (csrc/lanes.h) takes the frames 16, 8 or 4 side by side, as the processor can, and
gives a frame the same bits whatever its neighbours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType

import numpy as np

from mirex_submission.features.compiled import kernel
from mirex_submission.features.filterbank import band_edges_hz, mel_filterbank
from mirex_submission.features.spec import FeatureSpec

_INT16_SCALE = np.float32(2.0**-15)
_BLOCK_FRAMES = 128  # what SciPy transforms at a time: more leave the cache, fewer cost more calls


def band_powers(samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The Mel band powers of every whole frame, by the fastest way that there is here.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)], n >= spec.window; full scale is 1.0 for floats, 32768 for int16.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands), float32]
    """
    return KERNELS[FASTEST](samples, spec)


def _compiled(kernel: ModuleType, lanes: int, samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """`lanes` frames at a time, from the samples to the bands."""
    samples, weights = _prepared(samples, spec.window)
    powers = np.empty((1 + (len(samples) - spec.window) // spec.hop, spec.n_bands), np.float32)
    slopes = _slopes(spec.rate_hz, spec.window, spec.n_bands)
    is_int16, roots = samples.dtype == np.int16, _roots(spec.window)
    kernel.band_powers(samples, is_int16, spec.hop, weights, roots, *slopes, powers, lanes)
    return powers


def _with_scipy(samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """A block of frames at a time, step by step."""
    import scipy.fft  # a third of a second, which the kernel saves

    samples, weights = _prepared(samples, spec.window)
    frames = np.lib.stride_tricks.sliding_window_view(samples, spec.window)[:: spec.hop]
    filters = mel_filterbank(spec.rate_hz, spec.window, spec.n_bands).T
    powers = np.empty((len(frames), spec.n_bands), np.float32)
    for start in range(0, len(frames), _BLOCK_FRAMES):
        spectrum = scipy.fft.rfft(frames[start : start + _BLOCK_FRAMES] * weights)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        np.matmul(power, filters, out=powers[start : start + _BLOCK_FRAMES])
    return powers


# The ways, slowest first, by the words in which the log names them.
KERNELS: dict[str, Callable[[np.ndarray, FeatureSpec], np.ndarray]] = {"SciPy (no compiled kernel)": _with_scipy}
if kernel:
    KERNELS |= {f"compiled kernel, {n} at a time": functools.partial(_compiled, kernel, n) for n in kernel.LANES}
FASTEST = list(KERNELS)[-1]


def _prepared(samples: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """The samples as int16 or float32, contiguous and aligned, and the window by which they are multiplied."""
    if samples.dtype == np.int16:
        return np.require(samples, np.int16, ["C", "A"]), hann(window) * _INT16_SCALE
    return np.require(samples, np.float32, ["C", "A"]), hann(window)


@functools.lru_cache(maxsize=8)
def hann(n: int) -> np.ndarray:
    """The periodic Hann window, float32 [shape=(n,)]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _roots(n: int) -> np.ndarray:
    """exp(-2 pi i k / n), complex64 [shape=(n,)]."""
    return np.asarray(np.exp(-2j * np.pi * np.arange(n) / n), np.complex64)


@functools.lru_cache(maxsize=8)
def _slopes(rate_hz: int, window: int, n_bands: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The filterbank as the kernel reads it: a bin between two bands' centres weighs in those two bands alone.

    Returns the first bin of each slope and the end of the last, int32 [shape=(n_bands + 2,)]; and the weights of each
    bin in the band before its slope and in the one after, float32 [shape=(window // 2 + 1,)].
    """
    n_bins = window // 2 + 1
    slopes = np.searchsorted(np.arange(n_bins) * (rate_hz / window), band_edges_hz(rate_hz, n_bands))
    slopes[-1] = n_bins
    of_bin = np.searchsorted(slopes, np.arange(n_bins), side="right") - 1
    filters = np.pad(mel_filterbank(rate_hz, window, n_bands), ((1, 1), (0, 0)))
    before, after = (filters[of_bin + k, np.arange(n_bins)] for k in (0, 1))
    return slopes.astype(np.int32), before, after
