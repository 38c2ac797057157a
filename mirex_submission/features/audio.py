"""Audio files to mono float32 at the working rate. Every way to fail is one AudioError with one reason."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from mirex_submission.errors import AudioError

# A clip of up to so many samples is decoded in one go, which is fastest; a longer one in blocks, so that its memory
# does not grow with its channels.
_WHOLE_SAMPLES = 1 << 22
_BLOCK_SAMPLES = 1 << 18
RATES_HZ = (1000, 1_000_000)  # a rate beyond is a damaged header, and resampling from it could fill the memory
MAX_SAMPLE = 2.0**31  # float files scaled like integers are odd but can be heard; beyond is no audio


@dataclass(frozen=True)
class Waveform:
    """samples : np.ndarray [shape=(n,)], float32 with full scale 1.0, or int16. note : what is odd about it, or ""."""

    samples: np.ndarray
    rate_hz: int
    note: str = ""


def native_rate(path: str) -> int:
    """The sampling rate in the file's header, in Hz. Raises AudioError."""
    with _open(path) as f:
        return int(f.samplerate)


def decode(path: str, *, rate_hz: int | None = None) -> Waveform:
    """Decode a file to mono (the mean of its channels), resampled to `rate_hz` where it has another rate.

    16-bit samples of one channel and that rate stay int16, which is several times as fast as a conversion to float.
    A file that breaks off is used up to there, with a note if the decoder tells: half a clip says more than none.
    Samples that are no audio (NaN, infinity, beyond any scale) count as zero. Raises AudioError for what cannot be
    heard: unreadable, empty, silent.
    """
    try:
        waveform = _decode(path, rate_hz, careful=False)
    except (soundfile.SoundFileError, RuntimeError):  # damaged: once more, keeping what can be decoded
        waveform = _decode(path, rate_hz, careful=True)
    samples = waveform.samples
    if not samples.any():
        silent = "silent: every sample is zero" if len(samples) else "empty: no samples"
        raise AudioError(waveform.note or silent)
    return waveform


def _decode(path: str, rate_hz: int | None, *, careful: bool) -> Waveform:
    """`careful`: samples before a damage are kept, else the decoder's error is passed on."""
    with _open(path) as f:
        native_hz = int(f.samplerate)
        target_hz = rate_hz or native_hz
        resampler = soxr.ResampleStream(native_hz, target_hz, 1, dtype="float32") if target_hz != native_hz else None
        dtype = np.int16 if f.subtype == "PCM_16" and not careful else np.float32
        as_is = dtype is np.int16 and f.channels == 1 and not resampler
        weights = np.full(f.channels, (2.0**-15 if dtype is np.int16 else 1.0) / f.channels, np.float32)
        whole = not careful and 0 < f.frames <= _WHOLE_SAMPLES // f.channels
        n_frames = f.frames if whole else _BLOCK_SAMPLES // f.channels
        parts, n_read, n_bad, broken = [], 0, 0, ""
        while not broken:
            buffer = np.empty((n_frames, f.channels), dtype)
            n_frames = _BLOCK_SAMPLES // f.channels
            if careful:
                buffer.fill(np.nan)
            try:
                block = f.read(out=buffer)
            except (soundfile.SoundFileError, RuntimeError) as error:
                if not careful:
                    raise
                # What was decoded before the damage stands in the buffer; the rest is still NaN.
                block = buffer[: 1 + np.flatnonzero(~np.isnan(buffer).all(axis=1)).max(initial=-1)]
                broken = _reason(error)
            n_read += len(block)
            if not len(block):
                break
            if as_is:
                parts.append(block[:, 0])
                continue
            with np.errstate(invalid="ignore", over="ignore"):  # what is no number is counted below
                mono = np.dot(block.astype(np.float32, copy=False), weights)
                energy = np.dot(mono, mono)
            if not energy <= MAX_SAMPLE**2:  # seldom, and then sample by sample
                bad = ~(np.abs(mono) <= MAX_SAMPLE)
                n_bad += int(bad.sum())
                mono[bad] = 0.0
            parts.append(resampler.resample_chunk(mono) if resampler else mono)
        if resampler:
            parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    notes = []
    if broken:
        notes.append(f"damaged after {n_read / native_hz:.1f} s ({broken})")
    if n_bad:
        notes.append(f"{n_bad} samples are no audio (NaN, infinite or absurd) and count as zero")
    samples = np.zeros(0, np.float32) if not n_read else parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Waveform(samples, target_hz, "; ".join(notes))


def _open(path: str) -> soundfile.SoundFile:
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise AudioError("a folder" if stat.S_ISDIR(mode) else "not a regular file")
        if not os.path.getsize(path):
            raise AudioError("empty file")
        with open(path, "rb"):  # says why, where libsndfile says "system error"
            pass
        f = soundfile.SoundFile(path)
        # Else soundfile seeks after every read, which costs time, and fails where the length is not known.
        f.seekable = lambda: False
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise AudioError(f"cannot be decoded: {_reason(error)}") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if f.format == "RAW":  # what libsndfile makes of any bytes named .au without a header
        f.close()
        raise AudioError("cannot be decoded: no header of a known format")
    if not RATES_HZ[0] <= f.samplerate <= RATES_HZ[1]:
        f.close()
        raise AudioError(f"cannot be decoded: the header says {f.samplerate} Hz")
    return f


def _reason(error: BaseException) -> str:
    """libsndfile's own words, without the path that it puts before them."""
    words = str(getattr(error, "error_string", error)).strip().rstrip(".")
    # Said of any file that its MP3 decoder makes nothing of; that the file is there is known by then.
    return "no known audio format" if words.startswith("File does not exist") else words
