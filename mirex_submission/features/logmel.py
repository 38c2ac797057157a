"""Waveform to log-Mel frames: Hann window, FFT, Mel filterbank on the power spectrum, log10 above a floor.

Conventions: frames without padding ("uncentred"), so frame k covers samples [k * hop, k * hop + window); the periodic
Hann window; Slaney's Mel scale and area normalisation from 0 Hz to half the rate, as librosa has them
(https://librosa.org, `librosa.filters.mel`, after M. Slaney, Auditory Toolbox, 1998). All in float32: a band that lies
more than 80 dB below the loudest of its frame, as beside a pure tone, carries the rounding of the transform.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
import scipy.sparse

from mirex_submission.features.spec import FeatureSpec

# Near the noise floor of 16 bits; what is quieter is as good as silence. In units of band power at full scale 1.0.
FLOOR = 1e-10
_BLOCK = 128  # frames transformed at a time: their spectra stay in the processor's cache


def log_mel(samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The log-Mel frames of a whole clip, in one pass.

    A clip shorter than a segment is repeated until it fills one.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)], mono at `spec.rate_hz`, full scale 1.0, n > 0.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands), float32], log10 of band power, at least log10(FLOOR).
    """
    if len(samples) < spec.segment_samples:
        samples = np.tile(samples, -(-spec.segment_samples // len(samples)))[: spec.segment_samples]
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, spec.window)[:: spec.hop]
    window = hann(spec.window)
    filterbank = _sparse_filterbank(spec.rate_hz, spec.window, spec.n_bands)
    mel = np.empty((len(frames), spec.n_bands), np.float32)
    for start in range(0, len(frames), _BLOCK):
        spectrum = scipy.fft.rfft(frames[start : start + _BLOCK] * window, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        mel[start : start + _BLOCK] = (filterbank @ power.T).T
    np.maximum(mel, np.float32(FLOOR), out=mel)
    np.log10(mel, out=mel)
    return mel


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


@functools.lru_cache(maxsize=8)
def _sparse_filterbank(rate_hz: int, window: int, n_bands: int) -> scipy.sparse.csr_array:
    """A bin feeds at most two bands; and unlike a BLAS product this one sums in an order that no thread decides."""
    return scipy.sparse.csr_array(mel_filterbank(rate_hz, window, n_bands))


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
