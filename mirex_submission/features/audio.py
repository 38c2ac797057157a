"""Audio files to mono float32 at the working rate. Every way to fail is one AudioError with one reason."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from mirex_submission.errors import AudioError
from mirex_submission.features.mixing import mix

# A clip of up to so many samples is kept in one array from the start; of a longer one it is not known what is true.
_WHOLE_SAMPLES = 1 << 22
_BLOCK_SAMPLES = 1 << 17  # decoded at a time, of all channels together: stays in the cache until it is mixed
_PROBE_FRAMES = 1024
RATES_HZ = (1000, 1_000_000)  # a rate beyond is a damaged header, and resampling from it could fill the memory
_LEAST_BYTES_S = 100  # a second takes more in any format: a header that promises more than that is not believed


@dataclass(frozen=True)
class Waveform:
    """samples : np.ndarray [shape=(n,)], float32 with full scale 1.0, or int16. note : what is odd about it, or ""."""

    samples: np.ndarray
    rate_hz: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """What a file says of itself, undecoded: its sampling rate, and how long it is at most."""

    rate_hz: int
    duration_s: float


def read_header(path: str) -> AudioHeader:
    """Read a file's header. Raises AudioError."""
    with _open(path) as f:
        rate_hz, duration_s = int(f.samplerate), max(f.frames, 0) / f.samplerate
    try:
        return AudioHeader(rate_hz, min(duration_s, os.path.getsize(path) / _LEAST_BYTES_S))
    except OSError as error:  # it has gone meanwhile
        raise AudioError(f"cannot be read: {error.strerror or error}") from error


def native_rate(path: str) -> int:
    """The sampling rate in the file's header, in Hz. Raises AudioError."""
    return read_header(path).rate_hz


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
    if not any(samples[k : k + _BLOCK_SAMPLES].any() for k in range(0, len(samples), _BLOCK_SAMPLES)):
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
        known = f.frames if 0 < f.frames <= _WHOLE_SAMPLES else 0
        buffer = np.empty(((as_is and known) or max(1, _BLOCK_SAMPLES // f.channels), f.channels), dtype)
        whole = np.empty(0 if as_is else known, np.float32)
        parts, n_read, n_bad, broken = [], 0, 0, ""
        while not broken:
            if careful:
                buffer.fill(np.nan)
            try:
                # libsndfile fills with zeros what it has no samples for: little is asked for behind the last ones.
                block = f.read(out=buffer[: max(f.frames - n_read, _PROBE_FRAMES)])
            except (soundfile.SoundFileError, RuntimeError) as error:
                if not careful:
                    raise
                # What was decoded before the damage stands in the buffer; the rest is still NaN.
                block = buffer[: 1 + np.flatnonzero(~np.isnan(buffer).all(axis=1)).max(initial=-1)]
                broken = _reason(error)
            if not len(block):
                break
            if as_is:
                mono = block[:, 0]
                buffer = np.empty((_BLOCK_SAMPLES, 1), dtype)
            else:
                mono = whole[n_read : n_read + len(block)]
                if len(mono) < len(block):  # more than the header promised
                    mono = np.empty(len(block), np.float32)
                n_bad += mix(block, mono)
            n_read += len(block)
            parts.append(resampler.resample_chunk(mono) if resampler else mono)
        if resampler:
            parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    notes = []
    if broken:
        notes.append(f"damaged after {n_read / native_hz:.1f} s ({broken})")
    if n_bad:
        notes.append(f"{n_bad} samples are no audio (NaN, infinite or absurd) and count as zero")
    if 0 < n_read <= len(whole) and not resampler:
        samples = whole[:n_read]
    else:
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
