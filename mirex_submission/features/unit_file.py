"""The extent of a file that is a row of units, such as MP4, Matroska, Windows Media or AAC."""

from __future__ import annotations

import itertools

from mirex_submission.features.parts import FEW_BYTES, Part, Stream, Window, breaks_off
from mirex_submission.features.starts import after_padding, format_at, next_start
from mirex_submission.features.units import FRAMES, TO_THE_END, is_row, unit_at

_MOST_DAMAGE = 1024  # bytes behind which no other frame is looked for
_MOST_DAMAGES = 1000
_MOST_UNITS = 300_000  # frames of two hours: the decoder gets whatever follows


def part(fd: int, start: int, size: int, name: str) -> Part:
    """Read the units of this format from `start` on, in a file of `size` bytes."""
    return _frames(fd, start, size, name) if name in FRAMES else _units(fd, start, size, name)


def _units(fd: int, start: int, size: int, name: str) -> Part:
    window, position = Window(fd), start
    for _ in range(_MOST_UNITS):
        unit = unit_at(window, position, name)
        if position >= size or not unit.size or (position > start and format_at(fd, position)):
            break
        position += unit.size
    else:
        position = size
    stop, n_others, notes = min(position, size), 0, []
    if size + FEW_BYTES < position < TO_THE_END:
        notes.append(breaks_off(f"{size - start:,} of {position - start:,} bytes are there"))
    after = after_padding(fd, stop, size)
    if after < size and not format_at(fd, after):
        stop = next_start(fd, after, size)
        n_others = stop - after
    return Part([Stream(start, stop)], stop, notes, n_others)


def _frames(fd: int, start: int, size: int, name: str) -> Part:
    """Read frames: some of another kind, as of another rate, begin another stream."""
    window, position, kind = Window(fd), start, None
    starts: list[int] = []
    n_others, n_damages = 0, 0
    for _ in range(_MOST_UNITS):
        if position >= size:
            break
        unit = unit_at(window, position, name)
        if starts and unit.size and unit.kind == kind:
            position += unit.size
            continue
        after = _next_row(window, position, name)
        n_damages += after != position
        if after is None or n_damages > _MOST_DAMAGES:
            break
        n_others += after - position
        position = after
        if not starts or unit_at(window, position, name).kind != kind:
            starts.append(position)
            kind = unit_at(window, position, name).kind
    else:
        position = size
    stop = min(position, size)
    streams = [Stream(*of_stream) for of_stream in itertools.pairwise([*starts, stop])]
    return Part(streams, stop, n_others=n_others)


def _next_row(window: Window, start: int, name: str) -> int | None:
    """Return where the next frame begins from which on some follow each other; None if none does nearby."""
    block = window.at(start, _MOST_DAMAGE)
    place = block.find(FRAMES[name])
    while place >= 0 and not is_row(window, start + place, name):
        place = block.find(FRAMES[name], place + 1)
    return start + place if place >= 0 else None
