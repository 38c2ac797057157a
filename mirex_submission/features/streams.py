"""The streams of an audio file: libsndfile decodes the first one, and only as much of it as its header says.

Links of Ogg (RFC 3533), MPEG streams, FLAC and WAV files that are joined end to end are streams of their own. A
recorder that crashed leaves a WAV, AIFF, CAF or AU file whose header gives too short a length.
"""

from __future__ import annotations

import io
import itertools
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mirex_submission.errors import coded
from mirex_submission.features import mpeg

_BLOCK = 1 << 16
_FLAC = b"fLaC\0\0\0\x22"  # the marker, and the type and size of the first block of metadata
_PAGE = struct.Struct("<4sBBqIIIB")  # the head of an Ogg page, up to the number of its segments
_FIRST_PAGE = 2  # flag of the first page of a logical stream
# So few bytes that belong to no stream are padding or damage: the decoder's own note names damage.
_FEW_BYTES = 4096


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


def streams_of(fd: int, size: int) -> tuple[list[Stream], list[str]]:
    """Divide an audio file of `size` bytes into its streams.

    Returns
    -------
    (list of Stream, list of str)
        The streams, none if the decoder has to take the file as it is; and notes of what is odd about them.
    """
    start = mpeg.after_id3(fd, 0)
    magic = os.pread(fd, 4, start)
    if magic in _LAYOUTS or magic == b".snd":
        streams, notes = _uncompressed(fd, magic, size)
        n_others = 0
    else:
        notes = []
        if magic == b"OggS":
            streams, n_others = _ogg(fd, start, size)
        elif magic == _FLAC[:4]:
            streams, n_others = _joined(list(_places(fd, _FLAC, start, size)), size), 0
        else:
            of_mpeg, n_others = mpeg.streams(fd, start, size)
            streams = [Stream(s.start, min(s.stop, size), s.length_frame()) for s in of_mpeg]
    if len(streams) > 1:
        notes.append(coded(f"{len(streams)} streams joined in one file: all are used", code="audio.joined"))
    if streams and n_others > _FEW_BYTES:
        text = f"{n_others:,} of {size:,} bytes belong to no stream and are not used"
        notes.append(coded(text, code="audio.left-out"))
    is_plain = len(streams) == 1 and not streams[0].head and streams[0].start == start
    return [] if is_plain else streams, notes


def _joined(starts: Sequence[int], size: int) -> list[Stream]:
    return [Stream(start, stop) for start, stop in itertools.pairwise([*starts, size])]


def _places(fd: int, marker: bytes, start: int, size: int) -> Iterator[int]:
    """Yield the places of a marker."""
    for block_start in range(start, size, _BLOCK):
        block = os.pread(fd, _BLOCK + len(marker) - 1, block_start)
        place = block.find(marker)
        while place >= 0:
            yield block_start + place
            place = block.find(marker, place + 1)


def _ogg(fd: int, start: int, size: int) -> tuple[list[Stream], int]:
    """Divide an Ogg file into links: each begins with a first page that follows a page of another kind.

    Returns the links, and the number of bytes that are in no page.
    """
    starts, n_others, position, last, after_first = [], 0, start, start, False
    while position < size:
        head = os.pread(fd, _PAGE.size + 255, position)
        if len(head) < _PAGE.size or not head.startswith(b"OggS"):
            # The last page may be cut, and the next one begin within the length that it gives.
            next_page = next(_places(fd, b"OggS\0", last + 1, size), size)
            n_others += next_page - min(position, next_page)
            position = next_page
            continue
        last = position
        _, _, flags, *_, n_segments = _PAGE.unpack_from(head)
        is_first = bool(flags & _FIRST_PAGE)
        if is_first and not after_first:
            starts.append(position)
        after_first = is_first
        position += _PAGE.size + n_segments + sum(head[_PAGE.size : _PAGE.size + n_segments])
    return _joined(starts, size), n_others


class _Layout(NamedTuple):
    """A format of chunks: bytes before the first chunk, form of a chunk's size, and name of the samples' chunk."""

    n_before: int
    size: struct.Struct
    samples: bytes


_UNKNOWN = 0x7FFF0000  # a length of so much, or more, says that the recorder did not know it
_RF64_LENGTH_AT = 28  # of the samples, in the chunk that comes first
_LAYOUTS = {
    b"RIFF": _Layout(12, struct.Struct("<I"), b"data"),
    b"RIFX": _Layout(12, struct.Struct(">I"), b"data"),
    b"RF64": _Layout(12, struct.Struct("<I"), b"data"),  # EBU Tech 3306: its first chunk has the lengths in 64 bits
    b"FORM": _Layout(12, struct.Struct(">I"), b"SSND"),
    b"caff": _Layout(8, struct.Struct(">q"), b"data"),
}


def _uncompressed(fd: int, magic: bytes, size: int) -> tuple[list[Stream], list[str]]:
    """Divide a file of uncompressed samples at the files that are joined in it; mend lengths that are too short."""
    if magic == b".snd":
        start, n = struct.unpack(">II", os.pread(fd, 8, 4).ljust(8, b"\0"))
        is_short = 0 < start < size and n < size - start
        return _lengthened(fd, Stream(0, size), 8, struct.pack(">I", 0xFFFFFFFF), start, n) if is_short else ([], [])
    layout = _LAYOUTS[magic]
    notes: list[str] = []
    starts, position = [0], layout.n_before
    while position < size:
        head = os.pread(fd, 4 + layout.size.size, position)
        if head.startswith(magic) and position > starts[-1]:
            starts.append(position)
            position += layout.n_before
            continue
        if len(head) < 4 + layout.size.size:
            break
        n = max(layout.size.unpack_from(head, 4)[0], 0)
        start = position + len(head)
        if head.startswith(layout.samples):
            at, length = position + 4, layout.size.pack(min(size - start, (1 << 31) - 1))
            if magic == b"RF64":
                at, length = starts[-1] + _RF64_LENGTH_AT, struct.pack("<q", size - start)
                n = max(struct.unpack("<q", os.pread(fd, 8, at).ljust(8, b"\0"))[0], 0)
            if not _chunk_follows(fd, start + n, size, magic, layout):
                of_last = Stream(starts[-1], size)
                lengthened, notes = _lengthened(fd, of_last, at - starts[-1], length, start, n)
                return [*_joined(starts, size)[:-1], *lengthened], notes
            if start + n - size > _FEW_BYTES and n < _UNKNOWN:
                text = f"breaks off: {size - start:,} of {n:,} bytes of samples are there"
                notes.append(coded(text, code="audio.truncated"))
        position = start + n + (n & 1 if magic != b"caff" else 0)
    return (_joined(starts, size) if len(starts) > 1 else []), notes


def _chunk_follows(fd: int, end: int, size: int, magic: bytes, layout: _Layout) -> bool:
    """Tell whether samples can end here: at the end of the file, or at chunks, a tag or padding that reach to it."""
    # Chunks begin at even places. Music may begin with zeros, or pause: they are padding only before a chunk.
    for position in (end, end + 1, _after_zeros(fd, end, size)):
        head = os.pread(fd, 12, position)
        while size - position > _FEW_BYTES and not (head.startswith((magic, b"APET", b"ID3"))):
            n = layout.size.unpack_from(head, 4)[0] if len(head) >= 4 + layout.size.size else -1
            if not (head[:4].isascii() and head[:4].decode("ascii").isprintable() and 0 <= n <= size - position):
                break
            position += 4 + layout.size.size + n + (n & 1 if magic != b"caff" else 0)
            head = os.pread(fd, 12, position)
        else:
            return True
    return False


def _after_zeros(fd: int, start: int, size: int) -> int:
    """Return the place of the first byte from `start` on that is not zero."""
    for block_start in range(start, size, _BLOCK):
        rest = os.pread(fd, _BLOCK, block_start).lstrip(b"\0")
        if rest:
            return min(block_start + _BLOCK, size) - len(rest)
    return size


def _lengthened(
    fd: int, stream: Stream, at: int, length: bytes, samples_at: int, n: int
) -> tuple[list[Stream], list[str]]:
    """Return the stream with another length in its header, `at` bytes from its start, and a note.

    `samples_at` is where its samples begin, of which the header gives `n` bytes.
    """
    head = bytearray(os.pread(fd, at + len(length), stream.start))
    head[at:] = length
    text = f"its header gives {n:,} bytes of samples, but {stream.stop - samples_at:,} follow: all are used"
    start = stream.start + len(head)
    return [Stream(start, stream.stop, bytes(head))], [coded(text, code="audio.length")]
