"""Waveform to log-Mel frames: the definition of the features, by librosa.

The Mel power spectrogram is `librosa.feature.melspectrogram` with its defaults (periodic Hann window, power spectrum,
Slaney's Mel scale and area normalisation, bands from 0 Hz to half the rate) and frames without padding (center=False):
frame k covers samples [k * hop, k * hop + window). A fixed floor and log10 follow. The compiled kernel (kernel.py), if
it is installed, computes the same powers, to 1e-4 in log10 units: a test proves it. Both work in float32: a band more
than 70 dB below the loudest one of its frame, as beside a pure tone, has the rounding errors of the transform.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mirex_submission.features import kernel
from mirex_submission.features.spec import FeatureSpec, MelSpec

# Band power at full scale 1.0, near the noise floor of 16 bits; quieter bands count as silence.
FLOOR = 1e-10
_LEAST_FRAMES = 128  # frames to compute at a time from blocks: fewer would need more calls


def method() -> str:
    """Return how frames are computed on this machine, for the log."""
    return f"compiled kernel, {kernel.LANES[-1]} at a time" if kernel.compiled else "librosa (no compiled kernel)"


def log_mel(samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Compute the log-Mel frames of a whole clip. A clip shorter than a segment is repeated until it fills one.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono at `spec.rate_hz`, n > 0; full scale is 1.0 for floats, 32768 for int16.
    spec : FeatureSpec

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bands), float32]
        log10 of band power, at least log10(FLOOR).
    """
    if len(samples) < spec.segment_samples:
        samples = np.tile(samples, -(-spec.segment_samples // len(samples)))[: spec.segment_samples]
    return _frames(samples, spec)


def log_mel_of_blocks(blocks: Iterable[np.ndarray], spec: FeatureSpec) -> np.ndarray:
    """Compute the log-Mel frames from a clip's samples in blocks; only samples that are still needed stay in memory.

    With the compiled kernel the frames are bit-identical to those of `log_mel`, for any division into blocks.
    """
    done = np.empty((0, spec.n_bands), np.float32)
    rest = np.empty(0, np.int16)
    for block in blocks:
        n = 1 + (len(rest) - spec.window) // spec.hop if len(rest) >= spec.segment_samples else 0
        if n >= _LEAST_FRAMES:
            done = _appended(done, _frames(rest, spec))
            rest = rest[n * spec.hop :]
        rest = np.concatenate([rest, block]) if len(rest) else block
    if not len(done):
        return log_mel(rest, spec)
    return _appended(done, _frames(rest, spec)) if len(rest) >= spec.window else done


def _frames(samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Compute the log-Mel frames of at least one window of samples."""
    powers = band_powers(samples, spec.mel)
    np.maximum(powers, np.float32(FLOOR), out=powers)
    np.log10(powers, out=powers)
    return powers


def multiply_accumulates(spec: MelSpec | FeatureSpec) -> int:
    """Count the multiply-accumulates of a frame: window, Fourier transform (n log2(n)), power and filters."""
    n = spec.window
    return int(n + n * np.log2(n) + 4 * (n // 2 + 1))


def band_powers(samples: np.ndarray, spec: MelSpec) -> np.ndarray:
    """Compute the Mel band powers of every whole frame, by the compiled kernel or by librosa; see `kernel`."""
    return kernel.band_powers(samples, spec) if kernel.compiled else librosa_band_powers(samples, spec)


def librosa_band_powers(samples: np.ndarray, spec: MelSpec) -> np.ndarray:
    """Compute the Mel band powers of every whole frame by librosa; arguments and result as in `kernel.band_powers`."""
    import librosa  # only here: the import takes more than a second, which a process with the kernel saves

    is_int16 = samples.dtype == np.int16
    samples = samples.astype(np.float32)
    if is_int16:
        samples *= np.float32(2.0**-15)
    powers = librosa.feature.melspectrogram(
        y=samples,
        sr=spec.rate_hz,
        n_fft=spec.window,
        hop_length=spec.hop,
        window="hann",
        center=False,
        power=2.0,
        n_mels=spec.n_bands,
        fmin=spec.lowest_hz,
        fmax=spec.rate_hz / 2,
    )
    return np.ascontiguousarray(powers.T, np.float32)


def _appended(frames: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Append frames to an array in place, which mostly needs no copy."""
    n = len(frames)
    frames.resize((n + len(more), frames.shape[1]), refcheck=False)
    frames[n:] = more
    return frames
