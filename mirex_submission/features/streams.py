"""The streams of an audio file: libsndfile decodes the first one, and only as much of it as its header says.

A file may hold several files, of one format or of several, that were joined end to end. Each format's own structure
tells where its part of the file ends.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import replace

from mirex_submission.errors import coded
from mirex_submission.features import chunk_file, flac_file, mpeg, ogg_file
from mirex_submission.features.parts import Part, Stream, breaks_off
from mirex_submission.features.starts import after_padding, format_at, next_start
from mirex_submission.system.file_types import HEAD, file_type

# So few bytes that belong to no stream are padding or damage: the decoder's own note names damage.
_FEW_BYTES = 4096
_FEW_FRAMES = 2  # of MPEG: a length may count some more than there are


def streams_of(fd: int, size: int) -> tuple[list[Stream], list[str]]:
    """Divide an audio file of `size` bytes into its streams.

    Returns
    -------
    (list of Stream, list of str)
        The streams, none if the decoder has to take the file as it is; and notes of what is odd about them.
    """
    streams: list[Stream] = []
    notes: list[str] = []
    first = mpeg.after_id3(fd, 0)
    n_others, position, search_at = 0, 0, 0
    while position < size:
        start = after_padding(fd, position, size)
        of_format = format_at(fd, start)
        if of_format:
            part = _PARTS[of_format](fd, start, size)
            streams += part.streams
            notes += part.notes
            n_others += part.n_others
            position, search_at = max(part.stop, start + 1), max(part.last_at + 4, start + 4)
            continue
        if start == size or (not streams and file_type(os.pread(fd, HEAD, start))):
            break
        # Damage, or a unit that is cut: then another file begins within the length that it gives.
        position = next_start(fd, search_at or start + 1, size if streams else size // 2)
        if not streams and position == size // 2:
            break
        n_others += max(0, position - start)
        if streams and position < streams[-1].stop:
            streams[-1] = replace(streams[-1], stop=position)
        search_at = position + 1
    if len(streams) > 1:
        text = f"{len(streams)} streams joined in one file: all that can be decoded are used"
        notes.insert(0, coded(text, code="audio.joined"))
    if streams and n_others > _FEW_BYTES:
        text = f"{n_others:,} of {size:,} bytes belong to no stream and are not used"
        notes.append(coded(text, code="audio.left-out"))
    is_plain = len(streams) == 1 and not streams[0].head and streams[0].start == first
    return [] if is_plain else streams, notes


def _mpeg(fd: int, start: int, size: int) -> Part:
    of_mpeg, stop, last_at, n_others = mpeg.streams(fd, start, size)
    notes = [
        breaks_off(f"{s.n_frames:,} of {s.n_tagged:,} frames are there")
        for s in of_mpeg
        if s.n_tagged - s.n_frames > _FEW_FRAMES
    ]
    streams = [Stream(s.start, min(s.stop, size), s.length_frame()) for s in of_mpeg]
    return Part(streams, min(stop, size), notes, n_others, last_at)


def _mp4(fd: int, start: int, size: int) -> Part:
    """Read an MP4 file's boxes (ISO 14496-12)."""
    position = start
    while position < size and (position == start or format_at(fd, position) is None):
        head = os.pread(fd, 16, position).ljust(16, b"\0")
        n, name, n_long = struct.unpack(">I4sQ", head)
        if not name.isalnum() or n in range(2, 8):
            break
        position = size if n == 0 else position + (n_long if n == 1 else n)
    stop = min(position, size)
    return Part([Stream(start, stop)], stop)


_PARTS: dict[str, Callable[[int, int, int], Part]] = {
    "chunks": chunk_file.part,
    "au": chunk_file.au_part,
    "flac": flac_file.part,
    "ogg": ogg_file.part,
    "mp4": _mp4,
    "mpeg": _mpeg,
}
