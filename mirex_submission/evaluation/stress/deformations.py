"""Deformations of audio that occur in practice, as functions of samples.

Each function takes samples (float32 [shape=(n, n_channels)], full scale 1.0), their rate in Hz, a strength and a random
generator, and returns new samples. The same arguments give the same samples.

References
----------
M. Mauch and S. Ewert, "The Audio Degradation Toolbox and its application to robustness evaluation", ISMIR 2013.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_MPEG_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_MPEG_KBPS = ((32000, 320, 32), (16000, 160, 8), (0, 64, 8))  # (lowest sample rate, highest and lowest bit rate)
_FILTER_ORDER = 10


def mp3(samples: np.ndarray, rate_hz: int, kbps: float, rng: np.random.Generator) -> np.ndarray:
    """Encode as MP3 with this bit rate, or the highest that the sample rate allows, and decode again."""
    import soundfile
    import soxr

    coded_hz = min(_MPEG_RATES_HZ, key=lambda hz: abs(hz - rate_hz))
    highest, lowest = next((high, low) for from_hz, high, low in _MPEG_KBPS if coded_hz >= from_hz)
    file = io.BytesIO()
    if samples.shape[1] > 2:  # MP3 has at most two channels
        samples = samples.mean(axis=1, keepdims=True)
    soundfile.write(
        file, soxr.resample(samples, rate_hz, coded_hz), coded_hz, format="MP3", bitrate_mode="CONSTANT",
        compression_level=float(np.clip((highest - kbps) / (highest - lowest), 0.0, 0.999)),  # 1.0 is refused
    )  # fmt: skip
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(decoded, coded_hz, rate_hz))[: len(samples)]


def band_limit(samples: np.ndarray, rate_hz: int, highest_khz: float, rng: np.random.Generator) -> np.ndarray:
    """Remove all frequencies above a limit, as a lower sample rate or a telephone does."""
    from scipy import signal

    if 2000 * highest_khz >= rate_hz:
        return samples
    sos = signal.butter(_FILTER_ORDER, 1000 * highest_khz, fs=rate_hz, output="sos")
    return np.asarray(signal.sosfiltfilt(sos, samples, axis=0, padlen=0), np.float32)


def white_noise(samples: np.ndarray, rate_hz: int, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise with the same power at all frequencies; the ratio compares the powers of the whole clip."""
    return _mixed(samples, rng.standard_normal(samples.shape, np.float32), snr_db)


def pink_noise(samples: np.ndarray, rate_hz: int, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise with the same power in every octave above 20 Hz."""
    from scipy import fft

    n = fft.next_fast_len(len(samples), real=True)
    spectrum = fft.rfft(rng.standard_normal((n, samples.shape[1]), np.float32), axis=0)
    hz = fft.rfftfreq(n, 1 / rate_hz)
    spectrum *= np.where(hz < 20, 0, 1 / np.sqrt(np.maximum(hz, 20)))[:, None].astype(np.float32)
    return _mixed(samples, fft.irfft(spectrum, n, axis=0)[: len(samples)], snr_db)


def _mixed(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    powers = [float(np.mean(np.square(part, dtype=np.float64))) for part in (samples, noise)]
    if not all(powers):
        return samples
    return samples + noise * np.float32(np.sqrt(powers[0] / powers[1]) * 10 ** (-snr_db / 20))


def gain(samples: np.ndarray, rate_hz: int, db: float, rng: np.random.Generator) -> np.ndarray:
    """Change the level; samples above full scale are clipped when the file is written."""
    return samples * np.float32(10 ** (db / 20))


def clipping(samples: np.ndarray, rate_hz: int, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Clip the peaks: this percentage of the samples."""
    limit = np.quantile(np.abs(samples), 1 - percent / 100)
    return np.asarray(np.clip(samples, -limit, limit))


def speed(samples: np.ndarray, rate_hz: int, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Change speed and pitch together, as a tape or a turntable does."""
    import soxr

    return np.asarray(soxr.resample(samples, rate_hz * (1 + percent / 100), rate_hz))


def pitch(samples: np.ndarray, rate_hz: int, semitones: float, rng: np.random.Generator) -> np.ndarray:
    """Change the pitch without the speed."""
    from librosa.effects import pitch_shift

    return np.asarray(pitch_shift(samples.T, sr=rate_hz, n_steps=semitones).T)


def excerpt(samples: np.ndarray, rate_hz: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Take a random excerpt of this length; a shorter clip stays whole."""
    n = round(seconds * rate_hz)
    start = int(rng.integers(max(len(samples) - n, 0) + 1))
    return samples[start : start + n]


def one_channel(samples: np.ndarray, rate_hz: int, number: float, rng: np.random.Generator) -> np.ndarray:
    """Take a single channel, counted from 1; mono stays mono."""
    k = min(int(number), samples.shape[1]) - 1
    return samples[:, k : k + 1]


def leading_silence(samples: np.ndarray, rate_hz: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Add silence at the beginning."""
    return np.concatenate([np.zeros((round(seconds * rate_hz), samples.shape[1]), np.float32), samples])


@dataclass(frozen=True)
class Deformation:
    """A deformation with its strengths.

    Parameters
    ----------
    alter : callable
        One of the functions above.
    title, unit : str
        Title in reports, and unit of the strengths.
    strengths : tuple of float
        In the order of the curve.
    quick : float
        The strength of `--stress quick`.
    """

    alter: Callable[[np.ndarray, int, float, np.random.Generator], np.ndarray]
    title: str
    unit: str
    strengths: tuple[float, ...]
    quick: float


DEFORMATIONS = {
    "mp3": Deformation(mp3, "MP3", "kbit/s", (128, 64, 32), 64),
    "band-limit": Deformation(band_limit, "band limit", "kHz", (11, 5.5, 4), 5.5),
    "white-noise": Deformation(white_noise, "white noise", "dB signal to noise", (30, 20, 10), 20),
    "pink-noise": Deformation(pink_noise, "pink noise", "dB signal to noise", (30, 20, 10), 20),
    "gain": Deformation(gain, "gain", "dB", (-20, -6, 6, 20), -20),
    "clipping": Deformation(clipping, "clipping", "% of the samples", (1, 5, 20), 5),
    "speed": Deformation(speed, "speed", "%", (-5, -2, 2, 5), 5),
    "pitch": Deformation(pitch, "pitch", "semitones", (-2, -1, 1, 2), 2),
    "excerpt": Deformation(excerpt, "excerpt", "s", (15, 5, 1), 5),
    "one-channel": Deformation(one_channel, "one channel alone, number", "", (1,), 1),
    "leading-silence": Deformation(leading_silence, "leading silence", "s", (1,), 1),
}
