"""Audio files to mono float32 at the working rate. Every failure is an AudioError with a reason and a code."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import soundfile
import soxr

from mirex_submission.errors import AudioError, coded
from mirex_submission.features import kernel, mpeg
from mirex_submission.features.opening import Sound, open_file, open_first, open_sound, reason_of
from mirex_submission.features.parts import Stream
from mirex_submission.features.streams import streams_of

Result = TypeVar("Result")

# Samples of one block of output: most clips are one block, and memory does not grow with the length of longer ones.
_CLIP_SAMPLES = 1 << 21
_BLOCK_SAMPLES = 1 << 17  # decoded at a time, all channels together: they stay in the cache until they are mixed
_PROBE_FRAMES = 1024
MAX_SAMPLE = 2.0**31  # float files scaled like integers are unusual but valid; larger values are not audio
_LEAST_BYTES_S = 100  # a second of any sound takes more bytes, so a longer duration in a header is wrong
# A few kilobytes of FLAC can encode days of silence, whose features would fill memory and disk.
MAX_DURATION_H = 6
_MAX_SAMPLES = 3600 * MAX_DURATION_H * 48_000 * 8  # all channels together: eight channels at 48 kHz
# The mean of independent channels has the power sum(powers) / n^2. A share of it below this limit means that the
# channels cancel: two of the same level then have a correlation below -0.94. Vorbis leaves about 0.03 of two opposite
# channels.
_CANCELLED = 0.06
_POWER_STEP = 17  # one frame in so many is enough to compare powers


@dataclass(frozen=True)
class Waveform:
    """A decoded file.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        float32 with full scale 1.0, or int16.
    rate_hz : int
    note : str
        Problems of the audio, or "".
    """

    samples: np.ndarray
    rate_hz: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """Sampling rate from a file's header, and its duration, at most the longest plausible one."""

    rate_hz: int
    duration_s: float


def read_header(path: str) -> AudioHeader:
    """Read a file's header. Raises AudioError."""
    with open_file(path) as fd:
        size = os.fstat(fd).st_size
        mpeg_header = mpeg.header(fd, mpeg.after_id3(fd, 0), size)
        if mpeg_header:  # libmpg123 would print its notes on stderr, without the name of the track
            rate_hz, duration_s = mpeg_header
        else:
            with open_first(fd, size) as f:
                rate_hz, duration_s = int(f.samplerate), max(f.frames, 0) / f.samplerate
    return AudioHeader(rate_hz, min(duration_s, 3600 * MAX_DURATION_H, size / _LEAST_BYTES_S))


def native_rate(path: str) -> int:
    """Read the sampling rate in Hz from a file's header. Raises AudioError."""
    return read_header(path).rate_hz


def decode(path: str, *, rate_hz: int | None = None, most_s: float = math.inf) -> Waveform:
    """Decode a file at once, and keep its first `most_s` seconds; `Recording` gives the same samples block by block."""

    def beginning(recording: Recording) -> np.ndarray:
        blocks, n = [], 0
        for block in recording:  # to the end, where some problems become known
            if n < most_s * recording.rate_hz:
                blocks.append(block)
                n += len(block)
        samples = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
        return samples[: int(min(n, most_s * recording.rate_hz))]

    samples, recording = decoded(beginning, path, rate_hz=rate_hz)
    return Waveform(samples, recording.rate_hz, recording.note)


def decoded(
    compute: Callable[[Recording], Result], path: str, *, rate_hz: int | None = None, fd: int | None = None
) -> tuple[Result, Recording]:
    """Compute a result from a file's samples; if the channels cancel in their mean, repeat it with one channel.

    Parameters
    ----------
    compute : callable
        Function of a Recording, which it iterates to its end.
    path, rate_hz, fd
        See `Recording`.

    Returns
    -------
    (object, Recording)
        Result of `compute`, and the Recording.

    Raises
    ------
    AudioError
        See `Recording`.
    """
    channels: dict[int, int] = {}
    while True:
        recording = Recording(path, rate_hz=rate_hz, fd=fd, channels=channels)
        try:
            return compute(recording), recording
        except ChannelsCancel as cancelled:
            channels = {**channels, cancelled.stream: cancelled.channel}


class ChannelsCancel(AudioError):
    """The mean of a stream's channels is nearly silent, though `channel` is not."""

    def __init__(self, stream: int, channel: int) -> None:
        super().__init__("the channels cancel each other in their mean", code="audio.channels")
        self.stream, self.channel = stream, channel


class Recording:
    """A file decoded to mono (the mean of its channels) and resampled to `rate_hz`.

    Iteration yields the samples in blocks, np.ndarray [shape=(n,)]: float32 with full scale 1.0, or int16 if the file
    has one channel of 16 bits and needs no resampling, which is several times as fast. All streams that are joined in
    one file are used. A truncated file is used up to its end, with a note if the decoder reports it. At most
    MAX_DURATION_H of a file are used. Invalid samples (NaN, infinite, beyond MAX_SAMPLE) count as zero. Iteration
    raises AudioError for a file that cannot be decoded, is empty or silent, or whose channels cancel each other
    (ChannelsCancel); all but the first are only known at the end.

    Parameters
    ----------
    path : str
    rate_hz : int, optional
        Rate of the samples; default: the rate of the file's first stream.
    fd : int, optional
        Descriptor of the file, if it is open already.
    channels : mapping of int to int
        For each stream whose channels cancel, the one channel to use.

    Attributes
    ----------
    rate_hz, n_samples : int
        Rate and number of the samples so far.
    note : str
        Problems of the audio, or "", after the last block.
    """

    def __init__(
        self,
        path: str,
        *,
        rate_hz: int | None = None,
        fd: int | None = None,
        channels: Mapping[int, int] | None = None,
    ) -> None:
        self.path, self._fd, self._channels = path, fd, channels or {}
        self.rate_hz, self.n_samples, self.note = rate_hz or 0, 0, ""

    def __iter__(self) -> Iterator[np.ndarray]:
        notes: list[str] = []
        has_sound = False
        with open_file(self.path) if self._fd is None else contextlib.nullcontext(self._fd) as fd:
            for block in self._blocks(fd, notes):
                has_sound = has_sound or any(
                    block[k : k + _BLOCK_SAMPLES].any() for k in range(0, len(block), _BLOCK_SAMPLES)
                )
                self.n_samples += len(block)
                yield block
        self.note = "; ".join(notes)
        if has_sound:
            return
        if notes:  # every note ends with its code
            raise AudioError(self.note)
        if self.n_samples:
            raise AudioError("silent: every sample is zero", code="audio.silent")
        raise AudioError("empty: no samples", code="audio.empty")

    def _blocks(self, fd: int, notes: list[str]) -> Iterator[np.ndarray]:
        """Yield the samples of all streams; add their problems to `notes`."""
        size = os.fstat(fd).st_size
        streams, stream_notes = streams_of(fd, size)
        notes += stream_notes
        for k, stream in enumerate(streams or [None]):
            try:
                sound = open_sound(fd, stream)
            except AudioError as error:
                if stream is None:
                    raise
                place = f"stream {k + 1} of {len(streams)}, {stream.stop - stream.start:,} of {size:,} bytes,"
                notes.append(coded(f"{place} {error.text}", code=error.code))
                continue
            with sound as f:
                native_hz = int(f.samplerate)
                self.rate_hz = self.rate_hz or native_hz
                is_other = native_hz != self.rate_hz
                n_most = int((3600 * MAX_DURATION_H - self.n_samples / self.rate_hz) * native_hz)
                mono = _Mono(fd, stream, f, as_floats=is_other or len(streams) > 1, channel=self._channels.get(k))
                blocks = mono.blocks(max(0, min(n_most, _MAX_SAMPLES // f.channels)))
                yield from _resampled(blocks, native_hz, self.rate_hz) if is_other else blocks
                notes += mono.notes()
                if mono.loudest is not None:
                    raise ChannelsCancel(k, mono.loudest)


class _Mono:
    """A stream's samples at its own rate: int16 if it has one channel of 16 bits and not `as_floats`, else float32."""

    def __init__(self, fd: int, stream: Stream | None, f: Sound, *, as_floats: bool, channel: int | None) -> None:
        self._fd, self._stream, self._f, self._channel = fd, stream, f, channel
        self._dtype = np.int16 if f.subtype == "PCM_16" else np.float32
        self._as_is = self._dtype == np.int16 and f.channels == 1 and not as_floats
        self._n_read, self._n_bad, self._broken, self._is_cut = 0, 0, "", False
        self._powers, self._cancelled_power = np.zeros(f.channels), 0.0

    def blocks(self, n_most: int) -> Iterator[np.ndarray]:
        """Yield at most `n_most` samples."""
        f, as_is = self._f, self._as_is
        buffer = np.empty((max(1, _BLOCK_SAMPLES // f.channels), f.channels), self._dtype)
        size = f.frames if 0 < f.frames <= _CLIP_SAMPLES else _CLIP_SAMPLES
        is_more = n_most > 0
        while is_more:
            mono, n = np.empty(min(size, n_most - self._n_read), np.int16 if as_is else np.float32), 0
            while n < len(mono) and is_more:
                room = mono[n:, None] if as_is else buffer[: len(mono) - n]
                # libsndfile fills the buffer with zeros behind the last samples, so only few are requested there.
                room = room[: max(f.frames - self._n_read, _PROBE_FRAMES)]
                block = self._read(room)
                filled = mono[n : n + len(block)]
                if not as_is:
                    self._mix(block, filled)
                elif self._broken:
                    filled[:] = block[:, 0] * 2.0**15
                n, self._n_read = n + len(block), self._n_read + len(block)
                is_more = len(block) > 0 and not self._broken and self._n_read < n_most
            if n:
                yield mono[:n]
            size = _CLIP_SAMPLES
        self._is_cut = self._n_read == n_most

    def notes(self) -> list[str]:
        """Return the problems of the samples."""
        notes = []
        if self._broken:
            text = f"damaged after {self._n_read / self._f.samplerate:.1f} s ({self._broken})"
            notes.append(coded(text, code="audio.truncated"))
        if self._is_cut:
            text = f"only its first {self._n_read / self._f.samplerate / 3600:.3g} hours are used"
            notes.append(coded(text, code="audio.too-long"))
        if self._n_bad:
            text = f"{self._n_bad} samples are invalid (NaN, infinite or beyond 2^31) and count as zero"
            notes.append(coded(text, code="audio.not-finite"))
        if self._channel is not None:
            text = "the channels cancel each other in their mean, or one of them has invalid samples (NaN or infinite)"
            only = f"channel {self._channel + 1} of {self._f.channels} alone is used"
            notes.append(coded(f"{text}: {only}", code="audio.channels"))
        return notes

    @property
    def loudest(self) -> int | None:
        """The loudest channel, if the channels cancel in most of the sound; else None."""
        cancels = self._cancelled_power > 0.5 * self._powers.sum()
        return int(self._powers.argmax()) if cancels and self._channel is None else None

    def _read(self, room: np.ndarray) -> np.ndarray:
        try:
            return self._f.read(out=room)
        except (soundfile.SoundFileError, RuntimeError, ValueError, OSError) as error:
            self._broken = reason_of(error)
            return _salvaged(self._fd, self._stream, self._n_read, len(room))

    def _mix(self, block: np.ndarray, mono: np.ndarray) -> None:
        if self._channel is not None:
            block = np.ascontiguousarray(block[:, self._channel : self._channel + 1])
        self._n_bad += mix(block, mono)
        if block.shape[1] > 1:
            scale = 2.0**-15 if block.dtype == np.int16 else 1.0
            sampled = block[::_POWER_STEP].astype(np.float64) * scale
            sampled[~(np.abs(sampled) <= MAX_SAMPLE)] = 0.0
            powers = (sampled**2).sum(axis=0)
            self._powers += powers
            mean_power = float((mono[::_POWER_STEP].astype(np.float64) ** 2).sum())
            if mean_power < _CANCELLED * powers.sum() / len(powers) ** 2:
                self._cancelled_power += powers.sum()


def mix(block: np.ndarray, mono: np.ndarray) -> int:
    """Fill `mono` with the mean of the channels. An invalid mean (NaN, infinite, beyond MAX_SAMPLE) becomes zero.

    Parameters
    ----------
    block : np.ndarray [shape=(n, n_channels)]
        C-contiguous, float32 with full scale 1.0, or int16.
    mono : np.ndarray [shape=(n,), float32]
        C-contiguous, with full scale 1.0.

    Returns
    -------
    int
        Number of invalid samples.
    """
    is_int16 = block.dtype == np.int16
    scale = (2.0**-15 if is_int16 else 1.0) / block.shape[1]
    if kernel.compiled:
        return int(kernel.compiled.mix(block, is_int16, block.shape[1], scale, MAX_SAMPLE, mono))
    with np.errstate(invalid="ignore", over="ignore"):  # the next lines find values that are not finite
        np.dot(block.astype(np.float32, copy=False), np.full(block.shape[1], scale, np.float32), out=mono)
        bad = ~(np.abs(mono) <= MAX_SAMPLE)
    mono[bad] = 0.0
    return int(bad.sum())


def _salvaged(fd: int, stream: Stream | None, n_before: int, n: int) -> np.ndarray:
    """Decode as many as possible of the `n` frames after the first `n_before`, float32 [shape=(n, n_channels)].

    A decoder that fails does not report how many frames it has decoded. So the buffer is filled with NaN before.
    """
    with open_sound(fd, stream) as f, contextlib.suppress(soundfile.SoundFileError, RuntimeError, ValueError, OSError):
        buffer, before = np.full((n, f.channels), np.nan, np.float32), np.empty((_PROBE_FRAMES, f.channels), np.float32)
        while n_before > 0:
            n_before -= len(f.read(out=before[:n_before])) or n_before
        f.read(out=buffer)
    return buffer[: 1 + np.flatnonzero(~np.isnan(buffer).all(axis=1)).max(initial=-1)]


def _resampled(blocks: Iterable[np.ndarray], native_hz: int, rate_hz: int) -> Iterator[np.ndarray]:
    """Resample blocks; the result is bit-identical for any division into blocks."""
    resampler = soxr.ResampleStream(native_hz, rate_hz, 1, dtype="float32")
    parts: list[np.ndarray] = []
    for block in blocks:
        for k in range(0, len(block), _BLOCK_SAMPLES):  # small enough for the cache
            parts.append(resampler.resample_chunk(block[k : k + _BLOCK_SAMPLES]))
            if sum(map(len, parts)) >= _CLIP_SAMPLES:
                yield np.concatenate(parts)
                parts.clear()
    yield np.concatenate([*parts, resampler.resample_chunk(np.zeros(0, np.float32), last=True)])
