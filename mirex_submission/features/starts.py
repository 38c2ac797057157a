"""Start positions of joined files: the signature of each format, and the bytes that must follow it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from mirex_submission.features import mpeg, units
from mirex_submission.features.parts import Window

BLOCK = 1 << 16
_HEAD = 64  # bytes in which a pattern matches
_MOST_TAGS = 20  # in a row: audio files have fewer
_ODD = b"".join(b"\\x%02x" % byte for byte in range(256) if byte & 8)
# Samples can contain any four bytes by chance: of each format, seven bytes or more are fixed.
_SIGNATURES = {
    rb"RIFF.{4}WAVE": "chunks",
    rb"RF64.{4}WAVE": "chunks",
    rb"RIFX.{4}WAVE": "chunks",
    rb"FORM.{4}AIF[FC]": "chunks",
    rb"caff\0\x01\0\0": "chunks",
    rb"\.snd\0\0.{2}.{4}\0\0\0[\x01-\x1b]\0[\0-\x0f].{2}\0\0\0[\x01-\xff]": "au",
    rb"fLaC[\0\x80]\0\0\x22": "flac",
    rb"OggS\0[\x02\x06]\0{8}": "ogg",
    rb"\0\0.[\x08-\xff]ftyp[ -~]{4}": "mp4",
    rb"\x1a\x45\xdf\xa3.{1,40}?\x42\x82[\x80-\x90](?:matroska|webm)": "matroska",
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c": "asf",
    # Its first block: no samples are before it, and no other channels.
    rb"wvpk.{3}\0[\x02-\x10]\x04.{6}\0{4}.{5}[" + _ODD + rb"]": "wavpack",
}
_TAGS = (rb"ID3[\x02-\x04]\0.[\0-\x7f]{4}", rb"APETAGEX[\xd0\xe8][\x03\x07]\0\0")
_NAMES = tuple(_SIGNATURES.values())
_START = re.compile(b"|".join(b"(%b)" % pattern for pattern in _SIGNATURES), re.DOTALL)
# Each branch begins with a byte and not with a group: else the search is several times as slow.
_START_OR_TAG = re.compile(b"|".join([*_SIGNATURES, *_TAGS]), re.DOTALL)
# The search for plain bytes is many times as fast: most blocks have none of them.
_WORDS = tuple(b"WAVE|AIF|caff|.snd|fLaC|OggS|ftyp|ID3|APETAGEX|webm|matroska|\x30\x26\xb2\x75|wvpk".split(b"|"))


def format_at(fd: int, start: int) -> str | None:
    """Name the format of a file that begins at this place of another one; None if none does."""
    head = os.pread(fd, _HEAD, start)
    match = _START.match(head)
    if match and match.lastindex:
        return _NAMES[match.lastindex - 1]
    if head[:1] == b"\xff" and mpeg.is_start(fd, start):
        return "mpeg"
    of_frames = (name for name, sync in units.FRAMES.items() if head.startswith(sync))
    return next((name for name in of_frames if units.is_row(Window(fd), start, name)), None)


def next_start(fd: int, start: int, size: int) -> int:
    """Return where the next file or its tag begins, from `start` on; `size` if there is none."""
    for block_start in range(start, size, BLOCK):
        block = os.pread(fd, min(BLOCK + mpeg.MOST_START_BYTES, size - block_start), block_start)
        match = None
        if any(word in block for word in _WORDS):
            match = _START_OR_TAG.search(block, 0, BLOCK + _HEAD)
        stop = min(match.start() if match else len(block), BLOCK)
        place = mpeg.first_start(block, stop)
        if place is None and match and match.start() < BLOCK:
            place = match.start()
        if place is not None:
            return block_start + place
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
    n = _HEAD  # most often there are no zeros
    while start < size:
        rest = os.pread(fd, min(n, size - start), start)
        n_zeros = len(rest) - len(rest.lstrip(b"\0"))
        start += n_zeros
        if n_zeros < len(rest) or not rest:
            break
        n = BLOCK
    return start


def after_padding(fd: int, start: int, size: int) -> int:
    """Return where tags and zeros that begin at `start` end."""
    for _ in range(_MOST_TAGS):
        if start >= size or format_at(fd, start):
            break
        after_tag = mpeg.after_tag(fd, start)
        after = after_zeros(fd, after_tag, size)
        if after == start:
            break
        # The size of an MP4 file's first box begins with zeros.
        zeros = range(max(after_tag, start + 1, after - 3), after)
        start = next((place for place in zeros if format_at(fd, place)), after)
    return min(start, size)
