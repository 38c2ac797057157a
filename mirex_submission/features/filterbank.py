"""The Mel filterbank: triangles of unit area, evenly spaced on Slaney's Mel scale from 0 Hz to half the rate.

As librosa has it (https://librosa.org, `librosa.filters.mel`), after M. Slaney, Auditory Toolbox, 1998.
"""

from __future__ import annotations

import functools

import numpy as np


def band_edges_hz(rate_hz: int, n_bands: int) -> np.ndarray:
    """Where the bands begin, peak and end, float64 [shape=(n_bands + 2,)]: band b at elements b, b + 1 and b + 2."""
    return mel_to_hz(np.linspace(0.0, hz_to_mel(rate_hz / 2), n_bands + 2))


@functools.lru_cache(maxsize=8)
def mel_filterbank(rate_hz: int, window: int, n_bands: int) -> np.ndarray:
    """Triangular Mel filters of unit area (Slaney), float32 [shape=(n_bands, window // 2 + 1)]."""
    bins_hz = np.arange(window // 2 + 1) * (rate_hz / window)
    edges_hz = band_edges_hz(rate_hz, n_bands)
    lower, centre, upper = (edges_hz[k : n_bands + k, None] for k in range(3))
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (upper - lower)), np.float32)


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
