"""Files of uncompressed samples: WAV, RF64, AIFF, CAF (chunks) and AU.

libsndfile decodes as many samples as the header gives. A recorder that crashed leaves too short a length there.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from mirex_submission.features.parts import FEW_BYTES, Part, Stream, breaks_off, too_short, with_length
from mirex_submission.features.starts import after_padding, after_zeros, format_at, next_start


class _Layout(NamedTuple):
    """A format of chunks: bytes before the first chunk, form of a chunk's size, and name of the samples' chunk."""

    n_before: int
    size: struct.Struct
    samples: bytes


class _Samples(NamedTuple):
    """Start and number of bytes of the samples by their header, and place and form of this number."""

    start: int
    n: int
    length_at: int
    form: str


_UNKNOWN = 0x7FFF0000  # a length of so much, or more, says that the recorder did not know it
_RF64_SIZE_AT, _RF64_LENGTH_AT = 20, 28  # of the file and of the samples, in the chunk that comes first
_MOST_CHUNKS = 1000  # audio files have fewer
_ODD_BYTES = 8  # some programs count the head of the file, or leave out a padding byte
_LAYOUTS = {
    b"RIFF": _Layout(12, struct.Struct("<I"), b"data"),
    b"RIFX": _Layout(12, struct.Struct(">I"), b"data"),
    b"RF64": _Layout(12, struct.Struct("<I"), b"data"),  # EBU Tech 3306: its first chunk has the lengths in 64 bits
    b"FORM": _Layout(12, struct.Struct(">I"), b"SSND"),
    b"caff": _Layout(8, struct.Struct(">q"), b"data"),
}


def part(fd: int, start: int, size: int) -> Part:
    """Read the file of chunks that begins at `start` in a file of `size` bytes."""
    magic = os.pread(fd, 4, start)
    layout = _LAYOUTS[magic]
    position, has_samples = start + layout.n_before, False
    for k in range(_MOST_CHUNKS):
        if k and format_at(fd, position):
            break
        after, n = _chunk(fd, position, layout)
        is_samples = not has_samples and os.pread(fd, 4, position) == layout.samples
        if n < 0 or (n > size - after and not is_samples):
            break
        if is_samples:
            samples = _Samples(after, n, position + 4 - start, layout.size.format)
            if magic == b"RF64":
                samples = _Samples(after, _integer(fd, "<q", start + _RF64_LENGTH_AT), _RF64_LENGTH_AT, "<q")
            of_samples = _part_of_samples(fd, start, samples, size, layout)
            if of_samples:
                return of_samples
            n, has_samples = samples.n, True
        position = after + n
        if n & 1 and magic != b"caff" and format_at(fd, position) is None:
            position += 1
        if position >= size:
            break
    stop = min(position, size)
    return Part([Stream(start, stop)], stop)


def au_part(fd: int, start: int, size: int) -> Part:
    """Read the AU file that begins at `start` in a file of `size` bytes."""
    n_before, n = _integer(fd, ">I", start + 4), _integer(fd, ">I", start + 8)
    samples = _Samples(start + n_before, n, 8, ">I")
    stop = samples.start + n
    return _part_of_samples(fd, start, samples, size, None) or Part([Stream(start, stop)], min(stop, size))


def _part_of_samples(fd: int, start: int, samples: _Samples, size: int, layout: _Layout | None) -> Part | None:
    """Find the end of samples whose length in the header is wrong; return None if the length is right."""
    end = samples.start + samples.n
    if _is_length_given_twice(fd, start, samples, size, layout) or _can_end(fd, end, size, layout):
        return None
    stop = next_start(fd, samples.start, size)
    if stop == size and 0 <= size - end <= FEW_BYTES:
        return None
    n_there = stop - samples.start
    part = Part([Stream(start, stop)], stop)
    if samples.n < n_there or layout is _LAYOUTS[b"caff"]:  # libsndfile refuses CAF that breaks off
        form = struct.Struct(samples.form)
        length = form.pack(min(n_there, (1 << 8 * form.size - 1) - 1))
        part.streams[0] = with_length(fd, part.streams[0], samples.length_at, length)
    if samples.n < n_there:
        part.notes.append(too_short(f"{samples.n:,} bytes of samples, but {n_there:,} follow"))
    elif samples.n < _UNKNOWN and samples.n - n_there > FEW_BYTES:
        part.notes.append(breaks_off(f"{n_there:,} of {samples.n:,} bytes of samples are there"))
    return part


def _is_length_given_twice(fd: int, start: int, samples: _Samples, size: int, layout: _Layout | None) -> bool:
    """Tell whether the header's size of the whole file agrees with the length of the samples and what follows them."""
    if not samples.n or layout is None or layout is _LAYOUTS[b"caff"]:
        return False
    if layout is _LAYOUTS[b"RF64"]:
        stop = start + 8 + _integer(fd, "<q", start + _RF64_SIZE_AT)
    else:
        stop = start + 8 + _integer(fd, layout.size.format, start + 4)
    position = samples.start + samples.n
    for _ in range(_MOST_CHUNKS):
        after, n = _chunk(fd, position, layout)
        if n < 0 or not position + _ODD_BYTES < stop <= size:
            break
        position = after + n + n % 2
    return abs(position - stop) <= _ODD_BYTES and stop <= size + 1


def _integer(fd: int, form: str, at: int) -> int:
    size = struct.calcsize(form)
    return max(int(struct.unpack(form, os.pread(fd, size, at).ljust(size, b"\0"))[0]), 0)


def _chunk(fd: int, position: int, layout: _Layout) -> tuple[int, int]:
    """Return where a chunk's contents begin and their bytes, negative if this is no chunk."""
    head = os.pread(fd, 4 + layout.size.size, position)
    is_chunk = len(head) == 4 + layout.size.size and head[:4].isascii() and head[:4].decode("ascii").isprintable()
    return position + len(head), max(layout.size.unpack_from(head, 4)[0], 0) if is_chunk else -1


def _can_end(fd: int, end: int, size: int, layout: _Layout | None) -> bool:
    """Tell whether samples can end here: at the end of the file, or at what goes on to it as no samples do.

    That is a chunk, another file, a tag, or padding before one of these.
    """
    # Chunks begin at even places. Music may begin with zeros, or pause: they are padding only before a chunk.
    for position in (end, end + 1, after_zeros(fd, end, size)):
        for _ in range(_MOST_CHUNKS):
            if position >= size:
                if position <= size + 1:
                    return True
                break
            if format_at(fd, position) or after_padding(fd, position, size) != after_zeros(fd, position, size):
                return True
            after, n = _chunk(fd, position, layout) if layout else (0, -1)
            if not 0 <= n <= size - position:
                break
            position = after + n + (n & 1 if layout is not _LAYOUTS[b"caff"] else 0)
    return False
