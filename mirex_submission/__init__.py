"""Lidy and Schindler's MIREX 2016 parallel convolutional networks as a train/test classification submission.

From Python, `extract`, `train`, `classify` and `evaluate` do what the commands of the same names do, and `log_mel`
gives the features that the networks hear. Each loads its libraries when it is called. For scikit-learn there is
`mirex_submission.estimator.MirexClassifier`.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from mirex_submission.errors import AudioError, UsageError
from mirex_submission.features.spec import DEFAULT_BANDS, DEFAULT_FRAMES, FeatureSpec, own_working_rate
from mirex_submission.runs.api import classify, evaluate, extract, train
from mirex_submission.version import __version__

if TYPE_CHECKING:
    import numpy as np

__all__ = ["__version__", "classify", "evaluate", "extract", "log_mel", "train"]


def log_mel(
    source: str | os.PathLike[str] | np.ndarray,
    rate_hz: int | None = None,
    *,
    n_bands: int = DEFAULT_BANDS,
    n_frames: int = DEFAULT_FRAMES,
    working_rate_hz: int | None = None,
) -> np.ndarray:
    """The log-Mel frames of an audio file or of a waveform, bit for bit those that a submission extracts.

    Parameters
    ----------
    source : path of an audio file, or np.ndarray [shape=(n,)], mono: floats with full scale 1.0, or int16.
    rate_hz : sampling rate of a waveform; a file has its own.
    n_bands : Mel bands from 0 Hz to half the working rate.
    n_frames : frames a segment; a clip shorter than a segment is repeated until it fills one.
    working_rate_hz : 11025, 22050 or 44100, to which all is resampled; None: the first of them that the source's own
        rate does not exceed, or 44100.

    Returns
    -------
    np.ndarray [shape=(n_frames of the clip, n_bands), float32], log10 of band power.

    Raises UsageError for a wrong call, AudioError for a file that cannot be heard.
    """
    from numbers import Real

    from mirex_submission.features import audio, logmel

    def spec_of(native_hz: int) -> FeatureSpec:
        rate_hz = own_working_rate(native_hz) if working_rate_hz is None else working_rate_hz
        return FeatureSpec(rate_hz, n_bands, n_frames)

    if isinstance(source, (str, bytes, os.PathLike)):
        if rate_hz is not None:
            raise UsageError("rate_hz goes with a waveform; a file has its own, and working_rate_hz is the features'")
        path = os.fsdecode(source)
        try:
            spec = spec_of(audio.native_rate(path))
            waveform = audio.decode(path, rate_hz=spec.rate_hz)
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from error
        if waveform.note:
            logging.getLogger(__name__).warning("%s: %s", path, waveform.note)
        return logmel.log_mel(waveform.samples, spec)
    lowest_hz, highest_hz = audio.RATES_HZ
    if not isinstance(rate_hz, Real) or not lowest_hz <= rate_hz <= highest_hz:
        raise UsageError(f"rate_hz {rate_hz!r}: give the waveform's sampling rate, from {lowest_hz} to {highest_hz} Hz")
    spec = spec_of(rate_hz)
    samples = _float_samples(source)
    if rate_hz != spec.rate_hz:
        import soxr

        samples = soxr.resample(samples, rate_hz, spec.rate_hz)
    if not len(samples):
        raise UsageError(f"the waveform is empty: no samples at {spec.rate_hz} Hz")
    return logmel.log_mel(samples, spec)


def _float_samples(waveform: np.ndarray) -> np.ndarray:
    """The samples as float32 with full scale 1.0, [shape=(n,)], every one a number whose power is one too."""
    import numpy as np

    from mirex_submission.features.audio import MAX_SAMPLE

    waveform = np.asarray(waveform)
    if waveform.ndim != 1:
        raise UsageError(f"a waveform of shape {waveform.shape}: give one channel, or the mean of all, as shape (n,)")
    if not np.issubdtype(waveform.dtype, np.floating) and not np.issubdtype(waveform.dtype, np.int16):
        raise UsageError(f"a waveform of {waveform.dtype}: give floats with full scale 1.0, or int16")
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused below
        samples = waveform.astype(np.float32, copy=False)
    if np.issubdtype(waveform.dtype, np.int16):
        samples *= np.float32(2.0**-15)
    bad = np.flatnonzero(~(np.abs(samples) <= MAX_SAMPLE))
    if len(bad):
        raise UsageError(f"{len(bad)} samples of the waveform are not finite, or beyond 2^31; the first is [{bad[0]}]")
    return samples
