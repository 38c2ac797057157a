"""A clip as a data URL for the audio player of a browser: MP3, mono, of a bounded rate."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile
import soxr

MOST_HZ = 22050  # 30 s take about 170 kB
_SAMPLES_AT_ONCE = 1 << 14  # libsndfile's encoders put all samples of a call on the stack


def audio_address(samples: np.ndarray, rate_hz: int) -> str:
    """Encode a clip as a data URL.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
        Full scale is 1.0; a louder clip is scaled down as a whole.
    rate_hz : int

    Returns
    -------
    str
        A data URL, or "" if libsndfile has no MP3 encoder.
    """
    if "MP3" not in soundfile.available_formats():
        return ""
    if rate_hz > MOST_HZ:
        samples, rate_hz = soxr.resample(samples, rate_hz, MOST_HZ), MOST_HZ
    samples = samples / max(1.0, float(np.abs(samples).max(initial=0.0)))
    data = io.BytesIO()
    with soundfile.SoundFile(data, "w", rate_hz, 1, format="MP3", subtype="MPEG_LAYER_III") as f:
        for k in range(0, len(samples), _SAMPLES_AT_ONCE):
            f.write(samples[k : k + _SAMPLES_AT_ONCE])
    return "data:audio/mpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")
