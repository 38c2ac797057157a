"""The extent of a FLAC stream (RFC 9639), by its last frame: libsndfile decodes as much as its header promises."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from mirex_submission.features.parts import FEW_BYTES, Part, Stream, breaks_off, too_short, with_length
from mirex_submission.features.starts import BLOCK, next_start, places

_MARKER = b"fLaC\0\0\0\x22"  # the marker, and the type and size of the first block of metadata
_TOTAL_AT = 21  # of five bytes, whose last 36 bits are the number of samples
_HEAD = 42
_FRAME = re.compile(rb"\xff[\xf8\xf9](?=[\x10-\xff][\0-\xaf])")
_MOST_HEAD = 16  # bytes of a frame's header
_BLOCK_SAMPLES = {1: 192, **{k: 576 << k - 2 for k in range(2, 6)}, **{k: 256 << k - 8 for k in range(8, 16)}}
_MOST_CANDIDATES = 200  # for a frame in a block of the file: by chance there are few
_BITS = (0, 8, 12, 0, 16, 20, 24, 32)


def _crc8_of(byte: int) -> int:
    for _ in range(8):
        byte = byte << 1 & 0xFF ^ (7 if byte & 0x80 else 0)
    return byte


_CRC8 = bytes(map(_crc8_of, range(256)))


class _Info(NamedTuple):
    """Fields of the first metadata block."""

    block_samples: int
    frame_bytes: int  # of the largest frame, or what it cannot exceed
    rate_hz: int
    n_channels: int
    bits: int
    n_samples: int


def part(fd: int, start: int, size: int) -> Part:
    """Read the FLAC stream at `start` of a file of `size` bytes."""
    head = os.pread(fd, _HEAD, start)
    if len(head) < _HEAD:
        return Part([Stream(start, size)], size)
    info = _info(head)
    stop = next(places(fd, _MARKER, start + 1, size), size)
    tail = info.frame_bytes + FEW_BYTES
    last_at, n = _last_frame(fd, max(start, stop - tail), stop, info)
    if info.n_samples and n == info.n_samples:
        stop = next_start(fd, last_at + _MOST_HEAD, stop)
        return Part([Stream(start, stop)], stop)
    stop = next_start(fd, start + _HEAD, stop)
    block_stop = stop
    last_at, n = 0, 0
    while not n and block_stop > start:
        last_at, n = _last_frame(fd, max(start, block_stop - BLOCK), block_stop + _MOST_HEAD, info)
        block_stop -= BLOCK
    if not n:
        return Part([Stream(start, stop)], stop)
    part = Part([Stream(start, stop)], stop, n_others=max(0, stop - last_at - info.frame_bytes))
    if info.n_samples < n:
        total = int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 5], "big") >> 36 << 36 | n
        part.streams[0] = with_length(fd, part.streams[0], _TOTAL_AT, total.to_bytes(5, "big"))
        if info.n_samples:  # else it was unknown
            part.notes.append(too_short(f"{info.n_samples:,} samples, but {n:,} follow"))
    elif n < info.n_samples:
        part.notes.append(breaks_off(f"{n:,} of {info.n_samples:,} samples are there"))
    return part


def _info(head: bytes) -> _Info:
    block_samples = int.from_bytes(head[10:12], "big")
    fields = int.from_bytes(head[18:26], "big")
    n_channels, bits = (fields >> 41 & 7) + 1, (fields >> 36 & 31) + 1
    frame_bytes = int.from_bytes(head[15:18], "big") or block_samples * n_channels * (bits + 1) // 8 + 64
    return _Info(block_samples, frame_bytes, fields >> 44, n_channels, bits, fields & (1 << 36) - 1)


def _last_frame(fd: int, start: int, stop: int, info: _Info) -> tuple[int, int]:
    """Return where the last frame between two places begins, and the number of samples up to its end; else 0, 0."""
    data = os.pread(fd, stop - start, start)
    for match in reversed(list(_FRAME.finditer(data))[-_MOST_CANDIDATES:]):
        n = _samples_after(data[match.start() : match.start() + _MOST_HEAD], info)
        if n:
            return start + match.start(), n
    return 0, 0


def _samples_after(head: bytes, info: _Info) -> int:
    """Return the number of samples up to the end of this frame; 0 if the header is not one of this stream's frames."""
    if len(head) < _MOST_HEAD:
        head = head.ljust(_MOST_HEAD, b"\0")
    of_block, of_rate = head[2] >> 4, head[2] & 15
    n_channels = (head[3] >> 4) + 1 if head[3] < 0x80 else 2
    bits = _BITS[head[3] >> 1 & 7]
    if head[3] & 1 or n_channels != info.n_channels or (bits and bits != info.bits) or of_rate == 15:
        return 0
    n_more = next((k for k in range(8) if not head[4] << k & 0x80), 0)  # as in UTF-8
    if n_more in (1, 8):
        return 0
    number = head[4] & (0x7F >> n_more)
    for byte in head[5 : 4 + max(n_more, 1)]:
        if byte >> 6 != 2:
            return 0
        number = number << 6 | byte & 63
    at = 4 + max(n_more, 1)
    if of_block in (6, 7):
        n_samples = int.from_bytes(head[at : at + of_block - 5], "big") + 1
        at += of_block - 5
    else:
        n_samples = _BLOCK_SAMPLES[of_block]
    at += {12: 1, 13: 2, 14: 2}.get(of_rate, 0)
    if _crc8(head[:at]) != head[at]:
        return 0
    return (number if head[1] & 1 else number * info.block_samples) + n_samples


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc
