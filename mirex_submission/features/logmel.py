"""Waveform to log-Mel frames: Hann window, FFT, Mel filterbank on the power spectrum, log10 above a floor.

Conventions: frames without padding ("uncentred"), so frame k covers samples [k * hop, k * hop + window); the periodic
Hann window; Slaney's Mel scale and area normalisation (filterbank.py). All in float32: a band that lies more than 70 dB
below the loudest of its frame, as beside a pure tone, carries the rounding of the transform.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mirex_submission.features.kernel import band_powers
from mirex_submission.features.spec import FeatureSpec

# Near the noise floor of 16 bits; what is quieter is as good as silence. In units of band power at full scale 1.0.
FLOOR = 1e-10


_STEP_FRAMES = 128  # of a clip in blocks a multiple is computed at a time, so that SciPy's products are the same too


def log_mel(samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The log-Mel frames of a whole clip, in one pass.

    A clip shorter than a segment is repeated until it fills one.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)], mono at `spec.rate_hz`, n > 0; full scale is 1.0 for floats, 32768 for int16.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands), float32], log10 of band power, at least log10(FLOOR).
    """
    if len(samples) < spec.segment_samples:
        samples = np.tile(samples, -(-spec.segment_samples // len(samples)))[: spec.segment_samples]
    return _frames(samples, spec)


def log_mel_of_blocks(blocks: Iterable[np.ndarray], spec: FeatureSpec) -> np.ndarray:
    """The same frames to the bit from a clip's samples in blocks, of which only those still needed are held."""
    done = np.empty((0, spec.n_bands), np.float32)
    rest = np.empty(0, np.int16)
    for block in blocks:
        n = 1 + (len(rest) - spec.window) // spec.hop if len(rest) >= spec.segment_samples else 0
        if n >= _STEP_FRAMES:
            n -= n % _STEP_FRAMES
            done = _appended(done, _frames(rest[: spec.window + (n - 1) * spec.hop], spec))
            rest = rest[n * spec.hop :]
        rest = np.concatenate([rest, block]) if len(rest) else block
    if not len(done):
        return log_mel(rest, spec)
    return _appended(done, _frames(rest, spec)) if len(rest) >= spec.window else done


def _frames(samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    mel = band_powers(samples, spec)
    np.maximum(mel, np.float32(FLOOR), out=mel)
    np.log10(mel, out=mel)
    return mel


def _appended(frames: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Both in one array, made of the first, which the system can mostly enlarge where it is."""
    n = len(frames)
    frames.resize((n + len(more), frames.shape[1]), refcheck=False)
    frames[n:] = more
    return frames
