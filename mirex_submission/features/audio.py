"""Audio files to mono float32 at the working rate. Every way to fail is one AudioError with one reason and its code."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from mirex_submission.errors import AudioError, coded
from mirex_submission.features import kernel

# What is handed on at a time: most clips whole, of a longer one so much that memory does not grow with its length.
_CLIP_SAMPLES = 1 << 21
_BLOCK_SAMPLES = 1 << 17  # decoded at a time, of all channels together: stays in the cache until it is mixed
_PROBE_FRAMES = 1024
RATES_HZ = (1000, 1_000_000)  # a rate beyond is a damaged header, and resampling from it could fill the memory
MAX_SAMPLE = 2.0**31  # float files scaled like integers are odd but valid; beyond is no audio
_LEAST_BYTES_S = 100  # a second of anything but silence takes more: a longer duration in the header is not believed
# Some kilobytes of FLAC can hold days of silence, whose features would fill memory and disk.
MAX_DURATION_H = 6


@dataclass(frozen=True)
class Waveform:
    """A decoded file.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        float32 with full scale 1.0, or int16.
    rate_hz : int
    note : str
        What is odd about the audio, or "".
    """

    samples: np.ndarray
    rate_hz: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """What a file's header says: its sampling rate, and the longest duration that can be believed."""

    rate_hz: int
    duration_s: float


def read_header(path: str) -> AudioHeader:
    """Read a file's header. Raises AudioError."""
    with _open(path) as f:
        rate_hz, duration_s = int(f.samplerate), max(f.frames, 0) / f.samplerate
    try:
        longest_s = min(3600 * MAX_DURATION_H, os.path.getsize(path) / _LEAST_BYTES_S)
    except OSError as error:  # the file was deleted meanwhile
        raise unreadable(error) from error
    return AudioHeader(rate_hz, min(duration_s, longest_s))


def native_rate(path: str) -> int:
    """Read the sampling rate in Hz from a file's header. Raises AudioError."""
    return read_header(path).rate_hz


def unreadable(error: OSError | ValueError) -> AudioError:
    """Make the AudioError for a file that the system does not let us read."""
    return AudioError(f"cannot be read: {getattr(error, 'strerror', None) or error}", code="audio.unreadable")


def decode(path: str, *, rate_hz: int | None = None) -> Waveform:
    """Decode a whole file at once; `Recording` gives the same samples block by block."""
    recording = Recording(path, rate_hz=rate_hz)
    blocks = list(recording)
    return Waveform(np.concatenate(blocks) if len(blocks) > 1 else blocks[0], recording.rate_hz, recording.note)


class Recording:
    """A file decoded to mono (the mean of its channels), resampled to `rate_hz` where it has another rate.

    Iteration gives its samples in blocks, np.ndarray [shape=(n,)]: float32 with full scale 1.0, or int16 where the file
    has one channel of 16 bits and that rate, which is several times as fast. A file that breaks off is used up to
    there, with a note if the decoder reports it: half a clip is better than none. Of an endless file, MAX_DURATION_H
    are used. Samples that are no audio (NaN, infinity, beyond any scale) count as zero. Iteration raises AudioError for
    a file that is unreadable, empty or silent; the last two are known at its end.

    Attributes
    ----------
    rate_hz, n_samples : int
        Rate and number of the samples so far.
    note : str
        What is odd about the audio, or "", after the last block.
    """

    def __init__(self, path: str, *, rate_hz: int | None = None) -> None:
        self.path, self.rate_hz, self.n_samples, self.note = path, rate_hz or 0, 0, ""

    def __iter__(self) -> Iterator[np.ndarray]:
        notes: list[str] = []
        has_sound = False
        with _open(self.path) as f:
            native_hz = int(f.samplerate)
            self.rate_hz = self.rate_hz or native_hz
            blocks = _mono(self.path, f, as_floats=native_hz != self.rate_hz, notes=notes)
            for block in _resampled(blocks, native_hz, self.rate_hz) if native_hz != self.rate_hz else blocks:
                has_sound = has_sound or any(
                    block[k : k + _BLOCK_SAMPLES].any() for k in range(0, len(block), _BLOCK_SAMPLES)
                )
                self.n_samples += len(block)
                yield block
        self.note = "; ".join(notes)
        if has_sound:
            return
        if notes:  # each has its code
            raise AudioError(self.note)
        if self.n_samples:
            raise AudioError("silent: every sample is zero", code="audio.silent")
        raise AudioError("empty: no samples", code="audio.empty")


def mix(block: np.ndarray, mono: np.ndarray) -> int:
    """Fill `mono` with the mean of the channels. A mean that is no audio (NaN, infinite, beyond MAX_SAMPLE) is zero.

    Parameters
    ----------
    block : np.ndarray [shape=(n, n_channels)]
        C-contiguous, float32 with full scale 1.0, or int16.
    mono : np.ndarray [shape=(n,), float32]
        C-contiguous, with full scale 1.0.

    Returns
    -------
    int
        Number of samples that are no audio.
    """
    is_int16 = block.dtype == np.int16
    scale = (2.0**-15 if is_int16 else 1.0) / block.shape[1]
    if kernel.compiled:
        return int(kernel.compiled.mix(block, is_int16, block.shape[1], scale, MAX_SAMPLE, mono))
    with np.errstate(invalid="ignore", over="ignore"):  # the next line counts what is not finite
        np.dot(block.astype(np.float32, copy=False), np.full(block.shape[1], scale, np.float32), out=mono)
        bad = ~(np.abs(mono) <= MAX_SAMPLE)
    mono[bad] = 0.0
    return int(bad.sum())


def _mono(path: str, f: soundfile.SoundFile, *, as_floats: bool, notes: list[str]) -> Iterator[np.ndarray]:
    """Decode at the file's own rate: float32, or int16 if the file has that and `as_floats` is false.

    Adds to `notes` what is odd about the audio.
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
        notes.append(coded(f"damaged after {n_read / f.samplerate:.1f} s ({broken})", code="audio.truncated"))
    if n_read == n_most:
        notes.append(coded(f"only its first {MAX_DURATION_H} hours are used", code="audio.too-long"))
    if n_bad:
        text = f"{n_bad} samples are no audio (NaN, infinite or absurd) and count as zero"
        notes.append(coded(text, code="audio.not-finite"))


def _salvaged(path: str, n_before: int, n: int) -> np.ndarray:
    """Decode what can be decoded of the `n` frames after the first `n_before`, float32 [shape=(n, n_channels)].

    A decoder that fails does not tell how far it came: the buffer does, filled with NaN before.
    """
    with _open(path) as f, contextlib.suppress(soundfile.SoundFileError, RuntimeError):
        buffer, before = np.full((n, f.channels), np.nan, np.float32), np.empty((_PROBE_FRAMES, f.channels), np.float32)
        while n_before > 0:
            n_before -= len(f.read(out=before[:n_before])) or n_before
        f.read(out=buffer)
    return buffer[: 1 + np.flatnonzero(~np.isnan(buffer).all(axis=1)).max(initial=-1)]


def _resampled(blocks: Iterable[np.ndarray], native_hz: int, rate_hz: int) -> Iterator[np.ndarray]:
    """Resample blocks. However the samples are divided, the result is bit-identical."""
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
    """Open a sound file for decoding from its beginning to its end. Raises AudioError."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise AudioError("a folder" if stat.S_ISDIR(mode) else "not a regular file", code="audio.no-file")
        if not os.path.getsize(path):
            raise AudioError("empty file", code="audio.empty")
        with open(path, "rb"):  # the system's message is clearer than libsndfile's "system error"
            pass
        f = soundfile.SoundFile(path)
        # Else soundfile seeks after every read, which costs time, and fails where the length is not known.
        f.seekable = lambda: False
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise _undecodable(_reason(error)) from error
    except (OSError, ValueError) as error:
        raise unreadable(error) from error
    if f.format == "RAW":  # what libsndfile makes of any bytes named .au without a header
        f.close()
        raise _undecodable("no header of a known format")
    if not RATES_HZ[0] <= f.samplerate <= RATES_HZ[1]:
        f.close()
        raise _undecodable(f"the header says {f.samplerate} Hz")
    return f


def _undecodable(reason: str) -> AudioError:
    return AudioError(f"cannot be decoded: {reason}", code="audio.undecodable")


def _reason(error: BaseException) -> str:
    """Get libsndfile's own message, without the path that it puts before it."""
    words = str(getattr(error, "error_string", error)).strip().rstrip(".")
    # libsndfile's message for any file that its MP3 decoder does not recognise; the file exists, as checked before.
    return "no known audio format" if words.startswith("File does not exist") else words
