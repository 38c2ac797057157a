"""Audio files to mono float32 at the working rate. Every way to fail is one AudioError with one reason."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from mirex_submission.errors import AudioError

_BLOCK_FRAMES = 1 << 18  # decoded at a time, so that memory does not grow with channels and rate of a long file


@dataclass(frozen=True)
class Waveform:
    """samples : np.ndarray [shape=(n,), float32], full scale 1.0. note : what is odd about the file, or ""."""

    samples: np.ndarray
    rate_hz: int
    note: str = ""


def native_rate(path: str) -> int:
    """The sampling rate in the file's header, in Hz. Raises AudioError."""
    with _open(path) as f:
        return int(f.samplerate)


def decode(path: str, *, rate_hz: int | None = None) -> Waveform:
    """Decode a file to mono (the mean of its channels), resampled to `rate_hz` where it has another rate.

    A file that breaks off is used up to there, with a note: half a clip says more than none. Samples that are not
    numbers (NaN, infinity) count as zero. Raises AudioError for what cannot be heard: unreadable, empty, silent.
    """
    with _open(path) as f:
        native_hz = int(f.samplerate)
        target_hz = rate_hz or native_hz
        resampler = soxr.ResampleStream(native_hz, target_hz, 1, dtype="float32") if target_hz != native_hz else None
        blocks, n_read, n_bad, note = [], 0, 0, ""
        while True:
            try:
                block = f.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                note = f"damaged after {n_read / native_hz:.1f} s ({_reason(error)}); what comes before is used"
                break
            if not len(block):
                break
            n_read += len(block)
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
            finite = np.isfinite(mono)
            if not finite.all():
                n_bad += int(len(mono) - finite.sum())
                mono = np.where(finite, mono, np.float32(0))
            blocks.append(resampler.resample_chunk(mono) if resampler else mono)
        if resampler and n_read:
            blocks.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not len(samples):
        raise AudioError(note or "empty: no samples")
    if not samples.any():
        raise AudioError("silent: every sample is zero")
    if n_bad:
        note = "; ".join(filter(None, [note, f"{n_bad} samples are not numbers and count as zero"]))
    return Waveform(samples, target_hz, note)


def _open(path: str) -> soundfile.SoundFile:
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise AudioError("a folder" if stat.S_ISDIR(mode) else "not a regular file")
        if not os.path.getsize(path):
            raise AudioError("empty file")
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise AudioError(f"cannot be decoded: {_reason(error)}") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _reason(error: BaseException) -> str:
    """libsndfile's own words, without the path that it puts before them."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")
