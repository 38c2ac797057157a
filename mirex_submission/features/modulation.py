"""Modulation energies of a time-frequency map: how strongly it varies at each temporal rate and spectral scale.

A map of levels, bands by frames, is filtered by a bank of two-dimensional band-pass filters, each for one rate (in Hz,
upwards or downwards in frequency) and one scale (in cycles per band). The mean and the standard deviation over time of
the modulus of each filter's output are computed in every band, averaged over the bands of a region, and compressed by a
logarithm. The filters are Gaussian in both frequencies; the map is continued by reflection at its borders.

The filters are separable, so rates and scales are applied one after the other: a rate by an inverse Fourier transform
of the few bins of time that it passes, which also lowers the number of frames; all scales by one product with a matrix,
which contains the reflection of the bands. As the map is real, a downward rate is the complex conjugate of the upward
one, so that both come from the same product.

References
----------
J. Anden, V. Lostanlen and S. Mallat, "Joint time-frequency scattering", IEEE Transactions on Signal Processing 67 (14),
2019.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft

_RELATIVE_DEVIATION = 0.35  # standard deviation of a filter's Gaussian, relative to its centre
_ZERO_SCALE_DEVIATION = 0.012  # standard deviation of the filter at scale 0, in cycles per band
_ZERO_RATE_DEVIATION_HZ = 0.12
_N_DEVIATIONS = 3  # standard deviations at which the filter of a rate is cut off
_MARGIN_BANDS, _MARGIN_FRAMES = 32, 64  # least sizes of the reflection, both borders together
_OFFSET = 1e-5  # added before the logarithm
_FRAMES_AT_ONCE = 256  # more frames would not stay in the cache


@dataclass(frozen=True)
class Grid:
    """The rates, scales and regions of modulation energies.

    Parameters
    ----------
    rates_hz : tuple of float
        Temporal rates; the first is 0.
    scales : tuple of float
        Spectral scales in cycles per band; the first is 0.
    n_regions : int
        Regions of equally many adjacent bands.
    """

    rates_hz: tuple[float, ...]
    scales: tuple[float, ...]
    n_regions: int

    @property
    def filters(self) -> list[tuple[float, float]]:
        """Rates and scales of the filters in their order; a negative rate goes downwards in frequency."""
        pairs = []
        for rate in self.rates_hz:
            pairs += [(rate, scale) for scale in self.scales]
            pairs += [(-rate, scale) for scale in self.scales[1:] if rate]
        return pairs

    @property
    def length(self) -> int:
        """Number of modulation energies: mean and deviation of each filter in each region."""
        return 2 * self.n_regions * len(self.filters)


def modulation_energies(levels: np.ndarray, frame_rate_hz: float, grid: Grid) -> np.ndarray:
    """Compute the logarithms of the modulation energies of a map.

    Parameters
    ----------
    levels : np.ndarray [shape=(n_bands, n_frames), float32]
        `n_bands` is a multiple of `grid.n_regions`.
    frame_rate_hz : float
    grid : Grid

    Returns
    -------
    np.ndarray [shape=(n_regions, n_filters, 2), float32]
        Mean and standard deviation over time, for each of `grid.filters`.
    """
    n_bands, n_frames = levels.shape
    n_padded, margin = _margins(n_frames, _MARGIN_FRAMES)
    before = margin[0]
    # The mean of each band is subtracted, because it is far greater than the variations, which would lose precision.
    mean = levels.mean(axis=1, keepdims=True)
    spectrum = scipy.fft.rfft(np.pad(levels - mean, ((0, 0), margin), mode="reflect"), axis=1)
    spectrum[:, :1] += n_padded * mean
    of_scales = _scale_filters(n_bands, grid.scales)
    statistics = []
    for rate_hz in grid.rates_hz:
        passed = _at_rate(spectrum, n_padded, frame_rate_hz, rate_hz)
        passed = passed[:, _within(before, before + n_frames, n_padded, passed.shape[1])]
        moduli = _moduli(passed, of_scales, n_bands) if rate_hz else _moduli_at_rate_0(passed, of_scales, n_bands)
        statistics.append(_mean_and_deviation(moduli))
    by_band = np.concatenate(statistics, axis=1)  # [2, n_filters, n_bands]
    by_region = by_band.reshape(2, -1, grid.n_regions, n_bands // grid.n_regions).mean(axis=3)
    return np.asarray(np.log(by_region + _OFFSET).transpose(2, 1, 0), np.float32)


def multiply_accumulates(n_bands: int, n_frames: int, frame_rate_hz: float, grid: Grid) -> int:
    """Count the multiply-accumulates of `modulation_energies`: matrix products, and n log2(n) for each transform."""
    n_padded, _ = _margins(n_frames, _MARGIN_FRAMES)
    n_filters = 2 * len(grid.scales) - 1
    total = n_bands * n_padded * np.log2(n_padded)
    for rate_hz in grid.rates_hz:
        n_left = len(_rate_filter(n_padded, frame_rate_hz, rate_hz)[0])
        n_products = n_filters * n_bands * n_left * (2 if rate_hz else 1)  # of real and imaginary parts
        total += n_bands * (2 * n_left * np.log2(n_left) + n_products)
    return int(total)


def _margins(n: int, least: int) -> tuple[int, tuple[int, int]]:
    """Return a length of at least n + `least` with a fast transform, and the margins at both ends."""
    n_padded = scipy.fft.next_fast_len(n + least)
    before = (n_padded - n) // 2
    return n_padded, (before, n_padded - n - before)


def _deviation(centre: float, at_0: float) -> float:
    """Return the standard deviation of the Gaussian filter around a rate or a scale."""
    return _RELATIVE_DEVIATION * centre if centre else at_0


def _gains(frequencies: np.ndarray, centre: float, deviation: float) -> np.ndarray:
    return np.asarray(np.exp(-(((frequencies - centre) / deviation) ** 2) / 2))


def _at_rate(spectrum: np.ndarray, n_padded: int, frame_rate_hz: float, rate_hz: float) -> np.ndarray:
    """Filter by one rate: [n_bands, n_left], complex, or real for rate 0, with as many frames as bins that pass."""
    bins, gains = _rate_filter(n_padded, frame_rate_hz, rate_hz)
    # Rate 0 is computed in float64, because the deviations can be far smaller than the means; it has few frames.
    passed = spectrum[:, np.abs(bins)].astype(np.complex64 if rate_hz else np.complex128)
    n_below = int(np.count_nonzero(bins < 0))
    np.conj(passed[:, :n_below], out=passed[:, :n_below])
    passed = passed * gains
    if rate_hz:  # only moduli are used, so the frequency of the first bin does not matter
        return np.asarray(scipy.fft.ifft(passed, axis=1))
    return np.ascontiguousarray(scipy.fft.ifft(np.fft.ifftshift(passed, axes=1), axis=1).real)


def _within(start: int, end: int, n: int, n_left: int) -> slice:
    """Return which of `n_left` frames begin in [start, end) of `n`, or the middle one if none does."""
    first, last = (-(-k * n_left // n) for k in (start, end))
    if first == last:
        first = (start + end) // 2 * n_left // n
    return slice(first, max(last, first + 1))


@functools.lru_cache(maxsize=64)
def _rate_filter(n_padded: int, frame_rate_hz: float, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bins of the Fourier transform over time that a rate passes, and their gains.

    The gains contain the factor that corrects for the shorter inverse transform.
    """
    deviation_hz = _deviation(rate_hz, _ZERO_RATE_DEVIATION_HZ)
    bin_hz = frame_rate_hz / n_padded
    lowest, highest = (int(np.trunc((rate_hz + k * _N_DEVIATIONS * deviation_hz) / bin_hz)) for k in (-1, 1))
    most = (n_padded - 1) // 2  # without the bin of half the frame rate, which has no direction
    bins = np.arange(max(lowest, -most), min(highest, most) + 1)
    gains = _gains(bins * bin_hz, rate_hz, deviation_hz) * (len(bins) / n_padded)
    return bins, gains.astype(np.float32)


@functools.lru_cache(maxsize=8)
def _scale_filters(n_bands: int, scales: tuple[float, ...]) -> np.ndarray:
    """Return the filters of all scales as one matrix [(2 * n_scales - 1) * n_bands, n_bands], float32, for columns.

    Its rows are the filter of scale 0, which is real; the real parts of the others; their imaginary parts.
    """
    n_padded, margin = _margins(n_bands, _MARGIN_BANDS)
    inside = slice(margin[0], margin[0] + n_bands)
    spectra = np.fft.fft(np.pad(np.eye(n_bands), (margin, (0, 0)), mode="reflect"), axis=0)
    frequencies = np.fft.fftfreq(n_padded)[:, None]
    gains = [_gains(frequencies, scale, _deviation(scale, _ZERO_SCALE_DEVIATION)) for scale in scales]
    filters = [np.fft.ifft(spectra * of_scale, axis=0)[inside] for of_scale in gains]
    parts = [filters[0].real, *(f.real for f in filters[1:]), *(f.imag for f in filters[1:])]
    return np.asarray(np.concatenate(parts), np.float32)


def _moduli(passed: np.ndarray, of_scales: np.ndarray, n_bands: int) -> Iterator[np.ndarray]:
    """Yield the moduli [2 * n_scales - 1, n_bands, n] of all scales, upward rates first, block by block."""
    for k in range(0, passed.shape[1], _FRAMES_AT_ONCE):
        block = passed[:, k : k + _FRAMES_AT_ONCE]
        n = block.shape[1]
        both = of_scales @ np.concatenate([block.real, block.imag], axis=1)
        re, im = both.reshape(-1, n_bands, 2, n).transpose(2, 0, 1, 3)
        n_scales = len(re) // 2
        (re_re, re_im), (im_re, im_im) = ((x[1 : n_scales + 1], x[n_scales + 1 :]) for x in (re, im))
        moduli = np.empty((len(re), n_bands, n), np.float32)
        _modulus(re[0], im[0], out=moduli[0])
        _modulus(re_re - im_im, im_re + re_im, out=moduli[1 : n_scales + 1])
        _modulus(re_re + im_im, im_re - re_im, out=moduli[n_scales + 1 :])
        yield moduli


def _moduli_at_rate_0(passed: np.ndarray, of_scales: np.ndarray, n_bands: int) -> Iterator[np.ndarray]:
    """Yield the moduli [n_scales, n_bands, n] of all scales of a real map."""
    parts = (of_scales @ passed).reshape(-1, n_bands, passed.shape[1])
    n_scales = len(parts) // 2
    yield np.concatenate([np.abs(parts[:1]), np.hypot(parts[1 : n_scales + 1], parts[n_scales + 1 :])])


def _modulus(re: np.ndarray, im: np.ndarray, *, out: np.ndarray) -> None:
    np.multiply(re, re, out=out)
    out += im * im
    np.sqrt(out, out=out)


def _mean_and_deviation(blocks: Iterator[np.ndarray]) -> np.ndarray:
    """Compute mean and standard deviation over the last axis of all blocks together: [2, ...], float64.

    References
    ----------
    T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", Technical Report STAN-CS-79-773, Stanford University, 1979.
    """
    n, mean, squares = 0, np.float64(0), np.float64(0)
    for block in blocks:
        n_block = block.shape[-1]
        of_block = block.mean(axis=-1, dtype=np.float64)
        block -= of_block[..., None].astype(np.float32)
        difference = of_block - mean
        n += n_block
        mean = mean + difference * (n_block / n)
        squares = squares + np.einsum("...t,...t->...", block, block)
        squares = squares + difference**2 * ((n - n_block) * n_block / n)
    return np.stack([mean, np.sqrt(squares / n)])
