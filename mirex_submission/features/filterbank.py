"""The Mel filterbank in NumPy: triangles of unit area, evenly spaced on Slaney's Mel scale up to half the rate.

A test proves that it equals `librosa.filters.mel`. It is here because the compiled kernel needs it, and a process with
the kernel does not load librosa, which takes more than a second.

References
----------
M. Slaney, Auditory Toolbox, version 2, Interval Research Corporation, 1998.
"""

from __future__ import annotations

import functools

import numpy as np

# Slaney's Mel scale: linear below 1 kHz (3 Mel per 200 Hz), logarithmic above (27 Mel per factor of 6.4).
_MEL_PER_HZ = 3.0 / 200.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ * _MEL_PER_HZ
_MEL_PER_LOG = 27.0 / np.log(6.4)


def hz_to_mel(hz: float) -> float:
    """Convert a frequency in Hz to Slaney's Mel."""
    return _BREAK_MEL + _MEL_PER_LOG * np.log(hz / _BREAK_HZ) if hz >= _BREAK_HZ else hz * _MEL_PER_HZ


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Convert Slaney's Mels to frequencies in Hz."""
    return np.where(mel < _BREAK_MEL, mel / _MEL_PER_HZ, _BREAK_HZ * np.exp((mel - _BREAK_MEL) / _MEL_PER_LOG))


def band_edges_hz(rate_hz: int, n_bands: int, lowest_hz: float = 0.0) -> np.ndarray:
    """Compute the frequencies in Hz at which the bands begin, peak and end.

    Returns
    -------
    np.ndarray [shape=(n_bands + 2,), float64]
        Band b begins at element b, peaks at b + 1 and ends at b + 2.
    """
    return mel_to_hz(np.linspace(hz_to_mel(lowest_hz), hz_to_mel(rate_hz / 2), n_bands + 2))


@functools.lru_cache(maxsize=8)
def mel_filterbank(rate_hz: int, window: int, n_bands: int, lowest_hz: float = 0.0) -> np.ndarray:
    """Compute the weight of each bin of the power spectrum in each band.

    Returns
    -------
    np.ndarray [shape=(n_bands, window // 2 + 1), float32]
    """
    bins_hz = np.arange(window // 2 + 1) * (rate_hz / window)
    edges_hz = band_edges_hz(rate_hz, n_bands, lowest_hz)
    lower, centre, upper = (edges_hz[k : n_bands + k, None] for k in range(3))
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (upper - lower)), np.float32)
