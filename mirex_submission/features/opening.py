"""Opening audio files for decoding, by libsndfile or else by PyAV.

A file is opened once, as a descriptor that stays valid if the file is renamed or replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import TypeAlias

import soundfile

from mirex_submission.errors import AudioError, ResourceError
from mirex_submission.features import av_file, mpeg
from mirex_submission.features.av_file import AvFile
from mirex_submission.features.parts import Stream, StreamFile
from mirex_submission.features.streams import streams_of
from mirex_submission.system.file_types import HEAD, file_type
from mirex_submission.system.installation import install_extra

Sound: TypeAlias = "soundfile.SoundFile | AvFile"

RATES_HZ = (1000, 1_000_000)  # other rates are from damaged headers, and resampling from them could fill the memory
_MAX_BYTES = 1 << 36  # a sparse file can be almost endless


def unreadable(error: OSError | ValueError) -> AudioError:
    """Make the AudioError for a file that the system cannot read.

    Raises
    ------
    ResourceError
        The file is not the cause: this process may not open more files, or has no memory.
    """
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        reason = os.strerror(getattr(error, "errno", 0))
        text = f"no audio file can be opened: {reason}: raise the limit (`ulimit -a`) or give a smaller -numThreads"
        raise ResourceError(text, code="limits.files") from error
    return AudioError(f"cannot be read: {getattr(error, 'strerror', None) or error}", code="audio.unreadable")


@contextlib.contextmanager
def open_file(path: str) -> Iterator[int]:
    """Open an audio file and yield its descriptor, which stays valid if the file is renamed or replaced.

    Raises
    ------
    AudioError
        It cannot be opened, is not a regular file, is empty, or is too large for audio.
    """
    try:
        # O_NONBLOCK, because opening a pipe would wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise unreadable(error) from error
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise AudioError("a folder" if stat.S_ISDIR(state.st_mode) else "not a regular file", code="audio.no-file")
        if not state.st_size:
            raise AudioError("empty file", code="audio.empty")
        if state.st_size > _MAX_BYTES:
            raise AudioError(f"{state.st_size:,} bytes are too many for a clip of music", code="audio.too-large")
        yield fd
    finally:
        os.close(fd)


def open_first(fd: int, size: int) -> Sound:
    """Open a file to read its header only; its streams are searched only if the decoder cannot open the file."""
    with contextlib.suppress(AudioError):  # without streams, the same error is raised below
        f = open_sound(fd)
        if f.frames > 0:
            return f
    streams, _ = streams_of(fd, size)
    for stream in streams[:-1]:
        with contextlib.suppress(AudioError):
            return open_sound(fd, stream)
    return open_sound(fd, streams[-1] if streams else None)


def open_sound(fd: int, stream: Stream | None = None) -> Sound:
    """Open a file, or a stream in it, for decoding from its beginning to its end. Raises AudioError."""
    start = mpeg.after_id3(fd, 0) if stream is None else stream.start
    known = file_type(stream.head if stream and stream.head else os.pread(fd, HEAD, start))
    if known and known.is_audio:
        return _open_by_av(fd, stream, f"it is {known.name}")
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        f = soundfile.SoundFile(fd if stream is None else StreamFile(fd, stream), closefd=False)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        if known:
            raise _undecodable(f"it is {known.name}") from error
        return _open_by_av(fd, stream, reason_of(error))
    except OSError as error:
        raise unreadable(error) from error
    # A seekable file would be sought after every read, which takes time, and fails if the length is unknown.
    f.seekable = lambda: False
    _check_rate(f)
    return f


def _open_by_av(fd: int, stream: Stream | None, reason: str) -> AvFile:
    """Open by PyAV a file that libsndfile cannot decode for this reason."""
    if not av_file.is_installed():
        raise _undecodable(f"{reason}; PyAV decodes more formats: {install_extra('av')}")
    try:
        f = AvFile(StreamFile(fd, stream or Stream(0, os.fstat(fd).st_size)))
    except (ValueError, OSError) as error:
        raise _undecodable(f"{reason}, and PyAV says: {error}") from error
    _check_rate(f)
    return f


def _check_rate(f: Sound) -> None:
    if not RATES_HZ[0] <= f.samplerate <= RATES_HZ[1]:
        f.close()
        raise _undecodable(f"the header says {f.samplerate} Hz")


def _undecodable(reason: str) -> AudioError:
    return AudioError(f"cannot be decoded: {reason}", code="audio.undecodable")


def reason_of(error: BaseException) -> str:
    """Return libsndfile's own message, without the path before it."""
    words = str(getattr(error, "error_string", error)).strip().rstrip(".")
    # libsndfile has these messages for unknown formats; the file exists, because it is open.
    return "no known audio format" if words.startswith(("File does not exist", "Format not recognised")) else words
