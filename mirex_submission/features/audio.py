"""Audio files to mono float32 at the working rate. Every way to fail is one AudioError with one reason."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from mirex_submission.errors import AudioError
from mirex_submission.features.mixing import mix

# What is handed on at a time: most clips whole, of a longer one so much that memory does not grow with its length.
_CLIP_SAMPLES = 1 << 21
_BLOCK_SAMPLES = 1 << 17  # decoded at a time, of all channels together: stays in the cache until it is mixed
_PROBE_FRAMES = 1024
RATES_HZ = (1000, 1_000_000)  # a rate beyond is a damaged header, and resampling from it could fill the memory
_LEAST_BYTES_S = 100  # a second of anything but silence takes more: what a header promises beyond is not believed
# Some kilobytes of FLAC can hold days of silence, whose features would fill memory and disk.
MAX_DURATION_H = 6


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
        longest_s = min(3600 * MAX_DURATION_H, os.path.getsize(path) / _LEAST_BYTES_S)
        return AudioHeader(rate_hz, min(duration_s, longest_s))
    except OSError as error:  # it has gone meanwhile
        raise AudioError(f"cannot be read: {error.strerror or error}") from error


def native_rate(path: str) -> int:
    """The sampling rate in the file's header, in Hz. Raises AudioError."""
    return read_header(path).rate_hz


def decode(path: str, *, rate_hz: int | None = None) -> Waveform:
    """All samples of a file at once; see Recording, which gives the same ones block by block."""
    recording = Recording(path, rate_hz=rate_hz)
    blocks = list(recording)
    return Waveform(np.concatenate(blocks) if len(blocks) > 1 else blocks[0], recording.rate_hz, recording.note)


class Recording:
    """A file decoded to mono (the mean of its channels), resampled to `rate_hz` where it has another rate.

    Iterating gives its samples from the first to the last in blocks, np.ndarray [shape=(n,)]: float32 with full scale
    1.0, or int16 where the file has one channel of 16 bits and that rate, which is several times as fast. A file that
    breaks off is used up to there, with a note if the decoder tells: half a clip says more than none; of one that does
    not end, MAX_DURATION_H are used. Samples that are no audio (NaN, infinity, beyond any scale) count as zero. Raises
    AudioError for what cannot be heard: unreadable, empty, silent; the last two are known at the end.

    rate_hz, n_samples : of what was given so far. note : what is odd about the audio, or "", once all was given.
    """

    def __init__(self, path: str, *, rate_hz: int | None = None) -> None:
        self.path, self.rate_hz, self.n_samples, self.note = path, rate_hz or 0, 0, ""

    def __iter__(self) -> Iterator[np.ndarray]:
        notes: list[str] = []
        is_heard = False
        with _open(self.path) as f:
            native_hz = int(f.samplerate)
            self.rate_hz = self.rate_hz or native_hz
            blocks = _mono(self.path, f, as_floats=native_hz != self.rate_hz, notes=notes)
            for block in _resampled(blocks, native_hz, self.rate_hz) if native_hz != self.rate_hz else blocks:
                is_heard = is_heard or any(
                    block[k : k + _BLOCK_SAMPLES].any() for k in range(0, len(block), _BLOCK_SAMPLES)
                )
                self.n_samples += len(block)
                yield block
        self.note = "; ".join(notes)
        if not is_heard:
            silent = "silent: every sample is zero" if self.n_samples else "empty: no samples"
            raise AudioError(self.note or silent)


def _mono(path: str, f: soundfile.SoundFile, *, as_floats: bool, notes: list[str]) -> Iterator[np.ndarray]:
    """The samples at the file's own rate, float32, or int16 if they are that and not wanted `as_floats`.

    What turns out to be odd is added to `notes`.
    """
    is_int16 = f.subtype == "PCM_16"
    as_is = is_int16 and f.channels == 1 and not as_floats
    buffer = np.empty((max(1, _BLOCK_SAMPLES // f.channels), f.channels), np.int16 if is_int16 else np.float32)
    n_most = int(MAX_DURATION_H * 3600 * f.samplerate)
    n_read, n_bad, broken = 0, 0, ""
    size = f.frames if 0 < f.frames <= _CLIP_SAMPLES else _CLIP_SAMPLES
    is_more = True
    while is_more:
        mono, n = np.empty(min(size, n_most - n_read), np.int16 if as_is else np.float32), 0
        while n < len(mono) and is_more:
            room = mono[n:, None] if as_is else buffer[: len(mono) - n]
            # libsndfile fills with zeros what it has no samples for: little is asked for behind the last ones.
            room = room[: max(f.frames - n_read, _PROBE_FRAMES)]
            try:
                block = f.read(out=room)
            except (soundfile.SoundFileError, RuntimeError) as error:
                block, broken = _salvaged(path, n_read, len(room)), _reason(error)
            filled = mono[n : n + len(block)]
            if not as_is:
                n_bad += mix(block, filled)
            elif broken:
                filled[:] = block[:, 0] * 2.0**15
            n, n_read = n + len(block), n_read + len(block)
            is_more = len(block) > 0 and not broken and n_read < n_most
        if n:
            yield mono[:n]
        size = _CLIP_SAMPLES
    if broken:
        notes.append(f"damaged after {n_read / f.samplerate:.1f} s ({broken})")
    if n_read == n_most:
        notes.append(f"only its first {MAX_DURATION_H} hours are used")
    if n_bad:
        notes.append(f"{n_bad} samples are no audio (NaN, infinite or absurd) and count as zero")


def _salvaged(path: str, n_before: int, n: int) -> np.ndarray:
    """Of the `n` frames after the first `n_before`, those that can be decoded, float32 [shape=(n, n_channels)].

    A decoder that fails does not tell how far it came: the buffer does, filled with NaN before.
    """
    with _open(path) as f, contextlib.suppress(soundfile.SoundFileError, RuntimeError):
        buffer, before = np.full((n, f.channels), np.nan, np.float32), np.empty((_PROBE_FRAMES, f.channels), np.float32)
        while n_before > 0:
            n_before -= len(f.read(out=before[:n_before])) or n_before
        f.read(out=buffer)
    return buffer[: 1 + np.flatnonzero(~np.isnan(buffer).all(axis=1)).max(initial=-1)]


def _resampled(blocks: Iterable[np.ndarray], native_hz: int, rate_hz: int) -> Iterator[np.ndarray]:
    """The samples at another rate; however they are divided, they are the same to the bit."""
    resampler = soxr.ResampleStream(native_hz, rate_hz, 1, dtype="float32")
    parts: list[np.ndarray] = []
    for block in blocks:
        for k in range(0, len(block), _BLOCK_SAMPLES):  # of a size that stays in the cache
            parts.append(resampler.resample_chunk(block[k : k + _BLOCK_SAMPLES]))
            if sum(map(len, parts)) >= _CLIP_SAMPLES:
                yield np.concatenate(parts)
                parts.clear()
    yield np.concatenate([*parts, resampler.resample_chunk(np.zeros(0, np.float32), last=True)])


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
