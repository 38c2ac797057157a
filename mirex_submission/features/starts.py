"""Where files that are joined in one file begin: by the magic of each format, with what must follow it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from mirex_submission.features import mpeg

BLOCK = 1 << 16
_HEAD = 64  # bytes in which a pattern matches
# Samples can contain any four bytes by chance: of each format, eight bytes or more are fixed.
_FORMATS = {
    rb"RIFF.{4}WAVE": "chunks",
    rb"RF64.{4}WAVE": "chunks",
    rb"RIFX.{4}WAVE": "chunks",
    rb"FORM.{4}AIF[FC]": "chunks",
    rb"caff\0\x01\0\0": "chunks",
    rb"\.snd\0\0.{2}.{4}\0\0\0[\x01-\x1b]\0[\0-\x0f].{2}\0\0\0[\x01-\xff]": "au",
    rb"fLaC[\0\x80]\0\0\x22": "flac",
    rb"OggS\0[\x02\x06]\0{8}": "ogg",
    rb"\0\0.[\x08-\xff]ftyp[ -~]{4}": "mp4",
}
_TAGS = (rb"ID3[\x02-\x04]\0.[\0-\x7f]{4}", rb"APETAGEX[\xd0\xe8][\x03\x07]\0\0")
_BY_FORMAT = tuple((re.compile(pattern, re.DOTALL), name) for pattern, name in _FORMATS.items())
# Each branch begins with a byte and not with a group: else the search is several times as slow.
_START_OR_TAG = re.compile(b"|".join([*_FORMATS, *_TAGS]), re.DOTALL)
# The search for plain bytes is many times as fast: most blocks have none of them.
_WORDS = (b"WAVE", b"AIF", b"caff", b".snd", b"fLaC", b"OggS", b"ftyp", b"ID3", b"APETAGEX")
# Frames of layer III, whose bit rate and sampling rate are valid.
_FRAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb](?=[\x10-\xeb])")


def format_at(fd: int, start: int) -> str | None:
    """Name the format of a file that begins at this place of another one; None if none does."""
    head = os.pread(fd, _HEAD, start)
    if head[:1] == b"\xff":
        return "mpeg" if mpeg.is_start(fd, start) else None
    return next((name for pattern, name in _BY_FORMAT if pattern.match(head)), None)


def next_start(fd: int, start: int, size: int) -> int:
    """Return where the next file or its tag begins, from `start` on; `size` if there is none."""
    for block_start in range(start, size, BLOCK):
        block = os.pread(fd, min(BLOCK + _HEAD, size - block_start), block_start)
        match = _START_OR_TAG.search(block) if any(word in block for word in _WORDS) else None
        stop = min(match.start() if match else len(block), BLOCK)
        for frame in _FRAME.finditer(block, 0, stop):
            if mpeg.is_start(fd, block_start + frame.start()):
                return block_start + frame.start()
        if match and match.start() < BLOCK:
            return block_start + match.start()
    return size


def places(fd: int, marker: bytes, start: int, size: int) -> Iterator[int]:
    """Yield the places of a marker."""
    for block_start in range(start, size, BLOCK):
        block = os.pread(fd, BLOCK + len(marker) - 1, block_start)
        place = block.find(marker)
        while place >= 0:
            yield block_start + place
            place = block.find(marker, place + 1)


def after_zeros(fd: int, start: int, size: int) -> int:
    """Return the place of the first byte from `start` on that is not zero."""
    for block_start in range(start, size, BLOCK):
        rest = os.pread(fd, BLOCK, block_start).lstrip(b"\0")
        if rest:
            return min(block_start + BLOCK, size) - len(rest)
    return size


def after_padding(fd: int, start: int, size: int) -> int:
    """Return where tags and zeros that begin at `start` end."""
    while start < size and format_at(fd, start) is None:
        after = after_zeros(fd, mpeg.after_tag(fd, start), size)
        if after == start:
            break
        # The size of an MP4 file's first box begins with zeros.
        start = next((place for place in range(max(start + 1, after - 3), after) if format_at(fd, place)), after)
    return min(start, size)
