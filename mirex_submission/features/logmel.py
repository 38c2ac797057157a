"""Waveform to log-Mel frames: Hann window, FFT, Mel filterbank on the power spectrum, log10 above a floor.

Conventions: frames without padding ("uncentred"), so frame k covers samples [k * hop, k * hop + window); the periodic
Hann window; Slaney's Mel scale and area normalisation (filterbank.py). All in float32: a band that lies more than 70 dB
below the loudest of its frame, as beside a pure tone, carries the rounding of the transform.
"""

from __future__ import annotations

import numpy as np

from mirex_submission.features.bandpower import band_powers
from mirex_submission.features.spec import FeatureSpec

# Near the noise floor of 16 bits; what is quieter is as good as silence. In units of band power at full scale 1.0.
FLOOR = 1e-10


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
    mel = band_powers(samples, spec)
    np.maximum(mel, np.float32(FLOOR), out=mel)
    np.log10(mel, out=mel)
    return mel
