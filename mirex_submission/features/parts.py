"""The parts of a joined file, and reading one of them as a file of its own."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field

from mirex_submission.errors import coded

# So few bytes that belong to no stream are padding or damage: the decoder's own note names damage.
FEW_BYTES = 4096
_WINDOW_BYTES = 1 << 12


@dataclass(frozen=True)
class Stream:
    """An audio file within a file: `head`, followed by the bytes of the file from `start` to `stop`."""

    start: int
    stop: int
    head: bytes = b""


class StreamFile(io.RawIOBase):
    """A stream as a file for reading; the position of the file that holds it neither matters nor changes."""

    def __init__(self, fd: int, stream: Stream) -> None:
        self._fd, self._stream, self._position = fd, stream, 0
        self._size = len(stream.head) + stream.stop - stream.start

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, and return it."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer with the next bytes, and return their number."""
        head, n = self._stream.head, len(buffer)
        data = head[self._position : self._position + n]
        if not data:
            start = self._stream.start + self._position - len(head)
            data = os.pread(self._fd, max(0, min(n, self._stream.stop - start)), start)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class Window:
    """The bytes of a file at any place, read some thousand at a time."""

    def __init__(self, fd: int) -> None:
        self._fd, self._start, self._block = fd, 0, b""

    def at(self, place: int, n: int) -> bytes:
        """Return the `n` bytes at a place, fewer at the end of the file."""
        k = place - self._start
        if not 0 <= k <= len(self._block) - n:
            self._start, self._block, k = place, os.pread(self._fd, _WINDOW_BYTES, place), 0
        return self._block[k : k + n]


@dataclass
class Part:
    """A part of a file, of one format: usually one file, or several of this format.

    Attributes
    ----------
    streams : list of Stream
    stop : int
        Where the part ends.
    notes : list of str
        What is odd about it.
    n_others : int
        Bytes in it that belong to no stream.
    last_at : int
        Where its last unit begins, of a format of units with sizes: where that is cut, another file begins in it.
    """

    streams: list[Stream]
    stop: int
    notes: list[str] = field(default_factory=list)
    n_others: int = 0
    last_at: int = 0


def with_length(fd: int, stream: Stream, at: int, length: bytes) -> Stream:
    """Return the stream with another length in its header, `at` bytes from its start."""
    head = bytearray(os.pread(fd, at + len(length), stream.start))
    head[at:] = length
    return Stream(stream.start + len(head), stream.stop, bytes(head))


def too_short(note: str) -> str:
    """Note that a header gives too short a length."""
    return coded(f"its header gives {note}: all are used", code="audio.length")


def breaks_off(note: str) -> str:
    """Note that a stream ends before its own end."""
    return coded(f"breaks off: {note}", code="audio.truncated")
