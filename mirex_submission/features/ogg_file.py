"""The links of an Ogg file (RFC 3533), by its pages."""

from __future__ import annotations

import itertools
import os
import struct

from mirex_submission.errors import coded
from mirex_submission.features.parts import Part, Stream, breaks_off
from mirex_submission.features.starts import next_start, places

_PAGE = struct.Struct("<4sBBqIIIB")  # the head of a page, up to the number of its segments
_FIRST_PAGE, _LAST_PAGE = 2, 4  # flags of the first and last page of a logical stream


def part(fd: int, start: int, size: int) -> Part:
    """Divide the pages from `start` on into links: each begins with a first page that follows a page of another kind.

    The part ends where a file of another format begins.
    """
    starts, n_others, position, last, after_first = [], 0, start, start, False
    n_damaged = 0
    expected: dict[int, int] = {}  # of each serial number, the number of its next page
    ends: list[bool] = []  # of each link, whether its last page says so
    while position < size:
        head = os.pread(fd, _PAGE.size + 255, position)
        if len(head) < _PAGE.size and head.startswith(b"OggS"):  # cut within the head of its last page
            ends[-1], position = False, size
            break
        if not head.startswith(b"OggS"):
            # The last page may be cut, and the next one begin within the length that it gives.
            next_page = next(places(fd, b"OggS\0", last + 1, size), size)
            other = next_start(fd, last + 1, next_page)
            n_others += max(0, other - position) if other < next_page else max(0, next_page - position)
            ends[-1] &= position <= other
            position = other
            if other < next_page:
                break
            n_damaged += other < size
            continue
        last = position
        _, _, flags, _, serial, number, _, n_segments = _PAGE.unpack_from(head)
        is_first = bool(flags & _FIRST_PAGE)
        n_damaged += not is_first and number != expected.get(serial, number)
        expected[serial] = number + 1
        if is_first and not after_first:
            starts.append(position)
            ends.append(False)
        after_first = is_first
        ends[-1] = bool(flags & _LAST_PAGE)
        position += _PAGE.size + n_segments + sum(head[_PAGE.size : _PAGE.size + n_segments])
    ends[-1] &= position <= size
    stop = min(position, size)
    links = [Stream(*ends_at) for ends_at in itertools.pairwise([*starts, stop])]
    notes = [breaks_off("its last page is missing")] if not all(ends) else []
    if n_damaged:
        notes.append(coded(f"damaged in {n_damaged:,} places: pages are missing there", code="audio.truncated"))
    return Part(links, stop, notes, n_others, last)
