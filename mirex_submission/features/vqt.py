"""The variable-Q transform of librosa, as magnitudes, several times as fast.

librosa computes its filters in every call; here they are computed once in a process. Everything else is the same: from
the highest octave down, frames of the signal are transformed and multiplied with the octave's filters in the frequency
domain, and the signal is resampled to half its rate. A test compares both.

References
----------
C. Schoerkhuber, A. Klapuri, N. Holighaus and M. Doerfler, "A Matlab toolbox for efficient perfect reconstruction
time-frequency transforms with log-frequency resolution", AES 53rd Conference on Semantic Audio, 2014.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft
import soxr

_SPARSITY = 0.01  # share of a filter's magnitude that is dropped, as in librosa


@dataclass(frozen=True)
class VqtSpec:
    """Sizes of a variable-Q transform.

    Parameters
    ----------
    rate_hz, hop : int
        Rate of the signal, and samples from one frame to the next: a multiple of 2 ** (n_octaves - 1).
    lowest_hz : float
        Centre of the lowest bin.
    n_octaves, bins_per_octave : int
    gamma_hz : float
        Constant bandwidth, in addition to the bandwidth in proportion to the frequency.
    """

    rate_hz: int
    hop: int
    lowest_hz: float
    n_octaves: int
    bins_per_octave: int
    gamma_hz: float

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return self.n_octaves * self.bins_per_octave


@dataclass(frozen=True, eq=False)
class _Octave:
    """Filters of an octave: `filters` [n_filters, n_used] for the bins `used` of a transform of `n_fft` samples."""

    n_fft: int
    used: np.ndarray
    filters: np.ndarray


def vqt_magnitudes(samples: np.ndarray, spec: VqtSpec) -> np.ndarray:
    """Compute the magnitudes of the variable-Q transform of a signal.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
        Mono at `spec.rate_hz`.
    spec : VqtSpec

    Returns
    -------
    np.ndarray [shape=(n_bins, n_frames), float32]
        Frame k is centred at sample k * hop; n_frames = 1 + n // hop.
    """
    n_frames, hop = 1 + len(samples) // spec.hop, spec.hop
    magnitudes = np.empty((spec.n_bins, n_frames), np.float32)
    end = spec.n_bins
    for octave in _octaves(spec):
        # After resampling, the signal may be one sample too short for the last frame.
        padded = np.pad(samples, (octave.n_fft // 2, octave.n_fft // 2 + hop))
        frames = np.lib.stride_tricks.sliding_window_view(padded, octave.n_fft)[::hop][:n_frames]
        spectra = scipy.fft.rfft(frames, axis=1)[:, octave.used]
        start = end - spec.bins_per_octave
        np.abs(octave.filters @ spectra.T, out=magnitudes[start:end])
        if start:
            samples = soxr.resample(samples, 2, 1, quality="HQ") * np.float32(np.sqrt(2))
        end, hop = start, hop // 2
    return magnitudes


def multiply_accumulates(n_samples: int, spec: VqtSpec) -> int:
    """Count the multiply-accumulates of `vqt_magnitudes`: the filters, and n log2(n) for each transform."""
    n_frames = 1 + n_samples // spec.hop
    # A product of complex numbers needs four products of real numbers.
    return int(n_frames * sum(o.n_fft * np.log2(o.n_fft) + 4 * o.filters.size for o in _octaves(spec)))


@functools.lru_cache(maxsize=4)
def _octaves(spec: VqtSpec) -> tuple[_Octave, ...]:
    """Make the filters of each octave, the highest first."""
    ratio = 2.0 ** (2 / spec.bins_per_octave)
    relative_bandwidth = (ratio - 1) / (ratio + 1)
    octaves = []
    for k in range(spec.n_octaves):
        rate_hz = spec.rate_hz / 2**k
        first = spec.n_bins - (k + 1) * spec.bins_per_octave
        centres_hz = spec.lowest_hz * 2.0 ** ((first + np.arange(spec.bins_per_octave)) / spec.bins_per_octave)
        lengths = rate_hz / (relative_bandwidth * centres_hz + spec.gamma_hz)
        n_fft = int(2 ** np.ceil(np.log2(lengths.max())))
        filters = np.stack([_spectrum(f / rate_hz, n, n_fft) for f, n in zip(centres_hz, lengths, strict=True)])
        # The filters have unit energy at the rate of the signal, at any rate of the octave.
        filters *= np.sqrt(lengths)[:, None] / n_fft
        used = np.flatnonzero(filters.any(axis=0))
        octaves.append(_Octave(n_fft, used, filters[:, used].astype(np.complex64)))
    return tuple(octaves)


def _spectrum(frequency: float, length: float, n_fft: int) -> np.ndarray:
    """Compute the spectrum [n_fft // 2 + 1] of a Hann-windowed complex wave, without its smallest values."""
    at = np.arange(-length // 2, length // 2)
    wave = np.exp(2j * np.pi * frequency * at) * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(at)) / len(at)))
    wave /= np.abs(wave).sum()
    before = (n_fft - len(wave)) // 2
    spectrum = np.fft.fft(np.pad(wave, (before, n_fft - len(wave) - before)))[: n_fft // 2 + 1]
    magnitudes = np.sort(np.abs(spectrum))
    shares = np.cumsum(magnitudes) / magnitudes.sum()
    return np.where(np.abs(spectrum) >= magnitudes[np.argmin(shares < _SPARSITY)], spectrum, 0)
