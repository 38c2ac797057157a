"""The log-Mel frames of one audio file or one waveform, for Python users."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from numbers import Real

import numpy as np
import soxr

from mirex_submission.errors import AudioError, UsageError
from mirex_submission.features import audio, logmel
from mirex_submission.features.opening import RATES_HZ
from mirex_submission.features.spec import DEFAULT_BANDS, DEFAULT_FRAMES, FeatureSpec, own_working_rate

log = logging.getLogger(__name__)


def log_mel(
    source: str | os.PathLike[str] | np.ndarray,
    rate_hz: int | None = None,
    *,
    n_bands: int = DEFAULT_BANDS,
    n_frames: int = DEFAULT_FRAMES,
    working_rate_hz: int | None = None,
) -> np.ndarray:
    """Compute the log-Mel frames of an audio file or of a waveform, bit-identical to those that a submission extracts.

    Parameters
    ----------
    source : path, or np.ndarray [shape=(n,)]
        An audio file, or a mono waveform: floats with full scale 1.0, or int16.
    rate_hz : int, optional
        Sampling rate of a waveform; a file has its own.
    n_bands : int
        Number of Mel bands from 0 Hz to half the working rate; the paper has 40.
    n_frames : int
        Frames of a segment; the paper has 80. A clip shorter than a segment is repeated until it fills one.
    working_rate_hz : int, optional
        Rate to which the samples are resampled: 11025, 22050 or 44100. Default: the lowest of these that is not below
        the source's own rate, or else 44100.

    Returns
    -------
    np.ndarray [shape=(n_frames of the clip, n_bands), float32]
        Power of each band as its log10.

    Raises
    ------
    UsageError
        An argument is wrong.
    AudioError
        The file is unreadable, empty or silent.

    Examples
    --------
    Two seconds of a tone of 440 Hz:

    >>> import numpy as np
    >>> from mirex_submission import log_mel
    >>> tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 22050)
    >>> frames = log_mel(tone, 22050)
    >>> frames.shape, frames.dtype
    ((80, 40), dtype('float32'))
    """

    def spec_of(native_hz: int) -> FeatureSpec:
        rate_hz = own_working_rate(native_hz) if working_rate_hz is None else working_rate_hz
        return FeatureSpec(rate_hz, n_bands, n_frames)

    if isinstance(source, (str, bytes, os.PathLike)):
        if rate_hz is not None:
            text = "rate_hz is for waveforms only; a file has its own rate: leave it out, or give working_rate_hz"
            raise UsageError(text, code="usage.waveform-rate")
        return _of_file(os.fsdecode(source), spec_of)
    lowest_hz, highest_hz = RATES_HZ
    if not isinstance(rate_hz, Real) or not lowest_hz <= rate_hz <= highest_hz:
        raise UsageError(
            f"rate_hz {rate_hz!r}: give the waveform's sampling rate, from {lowest_hz} to {highest_hz} Hz",
            code="usage.waveform-rate",
        )
    spec = spec_of(rate_hz)
    samples = _float_samples(source)
    if rate_hz != spec.rate_hz:
        samples = soxr.resample(samples, rate_hz, spec.rate_hz)
    if not len(samples):
        raise UsageError(f"the waveform is empty: no samples at {spec.rate_hz} Hz", code="usage.waveform")
    return logmel.log_mel(samples, spec)


def _of_file(path: str, spec_of: Callable[[int], FeatureSpec]) -> np.ndarray:
    try:
        spec = spec_of(audio.native_rate(path))
        frames, recording = audio.decoded(
            lambda recording: logmel.log_mel_of_blocks(recording, spec), path, rate_hz=spec.rate_hz
        )
    except AudioError as error:
        raise AudioError(f"{path}: {error.text}", code=error.code) from error
    if recording.note:
        log.warning("%s: %s", path, recording.note)
    return frames


def _float_samples(waveform: np.ndarray) -> np.ndarray:
    """Convert a waveform to finite float32 samples with full scale 1.0 [shape=(n,)]. Raises UsageError."""
    waveform = np.asarray(waveform)
    if waveform.ndim != 1:
        raise UsageError(
            f"a waveform of shape {waveform.shape}: give one channel, or the mean of all, as shape (n,)",
            code="usage.waveform",
        )
    if not np.issubdtype(waveform.dtype, np.floating) and not np.issubdtype(waveform.dtype, np.int16):
        raise UsageError(
            f"a waveform of {waveform.dtype}: give floats with full scale 1.0, or int16", code="usage.waveform"
        )
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, and are refused below
        samples = waveform.astype(np.float32, copy=False)
    if np.issubdtype(waveform.dtype, np.int16):
        samples *= np.float32(2.0**-15)
    bad = np.flatnonzero(~(np.abs(samples) <= audio.MAX_SAMPLE))
    if len(bad):
        raise UsageError(
            f"{len(bad)} samples of the waveform are not finite, or beyond 2^31; the first is [{bad[0]}]",
            code="usage.waveform",
        )
    return samples
