"""Features of an audio file that are not music: its format, cut, level and coding."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
from msgspec import Struct

from mirex_submission.evaluation.audit.fingerprints import beginning
from mirex_submission.features import audio
from mirex_submission.features.opening import open_file, open_first
from mirex_submission.features.scan import without_output
from mirex_submission.system.file_types import HEAD, file_type

_MOST_SAMPLES = 1 << 25  # measured samples: 25 minutes at 22.05 kHz; limits the memory
_FRAMES_A_SECOND = 100  # for the detection of silence
_SILENCE_DB = 60  # below the loudest frame
_PEAK_SHARE = 0.999  # a sample counts as clipped from this share of the peak on
_WINDOW = 2048
_N_BANDS = 128
_WINDOWS_AT_ONCE = 256
_LIMIT_DB = 10.0  # fall of the spectrum at a band limit
_LIMIT_BANDS = 2  # width of this fall in bands
_PERCENTILE = 10  # of bands and windows, for the noise floor
_LEAST_POWER = 1e-14  # floor of the power of a band; the noise of 16 bits is 1e-13


class FileFeatures(Struct, frozen=True, kw_only=True):
    """The features of a file.

    Parameters
    ----------
    container, codec : str
        Names from libsndfile or `file_type`.
    sample_rate, channels : int
        Values of the file, before it is mixed and resampled.
    bit_rate : float
        Size over duration, in bit/s.
    duration, silence_at_the_start, silence_at_the_end : float
        In seconds; silence is 60 dB below the loudest 10 ms.
    file_size : int
        In bytes.
    loudness : float
        Mean power without silence, in dB of full scale.
    clipping : float
        Share of the samples at the peak level.
    dc_offset : float
        Mean of the samples.
    upper_band_limit : float
        Frequency in Hz above which the long-term spectrum falls by 10 dB and stays low, as after the low-pass filter of
        a codec or resampler; half the sample rate if there is no such frequency.
    noise_floor : float
        Power between the notes, below the band limit, in dB.
    modification_date : int
        In days; a finer unit would show the order in which the files of a folder were written.
    """

    container: str
    codec: str
    sample_rate: int
    channels: int
    bit_rate: float
    duration: float
    file_size: int
    loudness: float
    clipping: float
    silence_at_the_start: float
    silence_at_the_end: float
    dc_offset: float
    upper_band_limit: float
    noise_floor: float
    modification_date: int


@without_output()
def file_features(path: str) -> FileFeatures:
    """Measure a file, decoded once and mixed to mono; of a very long file only the beginning is measured.

    Raises
    ------
    AudioError
        The file cannot be decoded, or is empty or silent.
    """
    with open_file(path) as fd:
        state = os.fstat(fd)
        with open_first(fd, state.st_size) as f:
            container, codec, channels = f.format, f.subtype, f.channels
        of_type = file_type(os.pread(fd, HEAD, 0))
        samples, recording = audio.decoded(partial(beginning, n_most=_MOST_SAMPLES), path, fd=fd)
    duration_s = recording.n_samples / recording.rate_hz
    start_s, end_s, loudness_db = _silence(samples, recording.rate_hz)
    powers = band_powers(samples)
    limit = band_limit(powers.mean(axis=0))
    return FileFeatures(
        container=of_type.name if of_type and of_type.is_audio else container,
        codec=codec,
        sample_rate=recording.rate_hz,
        channels=channels,
        bit_rate=8 * state.st_size / duration_s,
        duration=duration_s,
        file_size=state.st_size,
        loudness=loudness_db,
        clipping=float(np.mean(np.abs(samples) >= _PEAK_SHARE * np.abs(samples).max())),
        silence_at_the_start=start_s,
        silence_at_the_end=end_s,
        dc_offset=float(samples.mean(dtype=np.float64)),
        upper_band_limit=limit / _N_BANDS * recording.rate_hz / 2,
        noise_floor=_noise_floor_db(powers[:, :limit]),
        modification_date=int(state.st_mtime // 86400),
    )


def _silence(samples: np.ndarray, rate_hz: int) -> tuple[float, float, float]:
    """Measure the silence at both ends in seconds, and the mean power of the rest in dB."""
    size = min(len(samples), rate_hz // _FRAMES_A_SECOND)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    powers = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size
    sounding = np.flatnonzero(powers >= powers.max() * 10 ** (-_SILENCE_DB / 10))
    start, end = sounding[0], len(frames) - 1 - sounding[-1]
    loudness_db = 10 * np.log10(max(powers[sounding].mean(), _LEAST_POWER))
    return float(start * size / rate_hz), float(end * size / rate_hz), float(loudness_db)


def band_powers(samples: np.ndarray) -> np.ndarray:
    """Compute the power in bands of equal width up to half the sample rate.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
        Padded with zeros to at least one window.

    Returns
    -------
    np.ndarray [shape=(n_windows, 128), float32]
        A sine at full scale has a mean power of 1/2.
    """
    samples = np.pad(samples, (0, max(0, _WINDOW - len(samples))))
    windows = samples[: len(samples) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    hann = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    powers = np.empty((len(windows), _N_BANDS), np.float32)
    for k in range(0, len(windows), _WINDOWS_AT_ONCE):
        spectrum = np.fft.rfft(windows[k : k + _WINDOWS_AT_ONCE] * hann, axis=1)[:, 1:]
        power = spectrum.real**2 + spectrum.imag**2
        powers[k : k + _WINDOWS_AT_ONCE] = power.reshape(len(power), _N_BANDS, -1).sum(axis=2)
    return np.asarray(np.maximum(powers * np.float32(2 / (_WINDOW * (hann**2).sum())), np.float32(_LEAST_POWER)))


def band_limit(spectrum: np.ndarray) -> int:
    """Return the number of bands below the band limit of a long-term power spectrum; all bands if there is no limit."""
    db = 10 * np.log10(spectrum)
    highest_above = np.maximum.accumulate(db[::-1])[::-1]
    falls = np.flatnonzero(db[:-_LIMIT_BANDS] >= highest_above[_LIMIT_BANDS:] + _LIMIT_DB)
    return int(falls[-1]) + 1 if len(falls) else len(db)


def _noise_floor_db(powers: np.ndarray) -> float:
    """Return a low percentile over bands of a low percentile over windows of the power, in dB."""
    return 10 * float(np.log10(np.percentile(np.percentile(powers, _PERCENTILE, axis=0), _PERCENTILE)))
