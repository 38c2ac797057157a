"""The streams of an audio file: libsndfile decodes the first one, and only as much of it as its header says.

A file may hold several files, of one format or of several, that were joined end to end. Each format's own structure
tells where its part of the file ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mirex_submission.errors import coded
from mirex_submission.features import chunk_file, flac_file, mpeg, ogg_file, unit_file, units
from mirex_submission.features.parts import FEW_BYTES, Part, Stream, breaks_off
from mirex_submission.features.starts import after_padding, format_at, next_start
from mirex_submission.system.file_types import HEAD, file_type

_MOST_STREAMS = 1000  # and steps to find them: no joined audio has more, and the search for all would take long
_FEW_FRAMES = 2  # of MPEG: a length may count some more than there are


def streams_of(fd: int, size: int) -> tuple[list[Stream], list[str]]:
    """Divide an audio file of `size` bytes into its streams.

    Returns
    -------
    (list of Stream, list of str)
        The streams, none if the decoder has to take the file as it is; and notes on their problems.
    """
    streams: list[Stream] = []
    notes: list[str] = []
    first = mpeg.after_id3(fd, 0)
    n_others, position, search_at = 0, 0, 0
    n_steps = 0
    while position < size and max(n_steps, len(streams)) < _MOST_STREAMS:
        n_steps += 1
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
    if streams and max(n_steps, len(streams)) >= _MOST_STREAMS:
        del streams[_MOST_STREAMS:]
        n_others += size - streams[-1].stop
    if len(streams) > 1:
        text = f"{len(streams)} streams joined in one file: all that can be decoded are used"
        notes.insert(0, coded(text, code="audio.joined"))
    if streams and n_others > FEW_BYTES:
        text = f"{n_others:,} of {size:,} bytes belong to no stream and are not used"
        notes.append(coded(text, code="audio.left-out"))
    is_plain = len(streams) == 1 and not streams[0].head and streams[0].start == first and n_others <= FEW_BYTES
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


_PARTS: dict[str, Callable[[int, int, int], Part]] = {
    "chunks": chunk_file.part,
    "au": chunk_file.au_part,
    "flac": flac_file.part,
    "ogg": ogg_file.part,
    "mpeg": _mpeg,
    **{name: partial(unit_file.part, name=name) for name in units.ROWS},
}
