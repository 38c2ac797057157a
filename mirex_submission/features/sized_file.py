"""Files whose headers tell their sizes: what follows is another file, or junk that a decoder may take for samples."""

from __future__ import annotations

import os
import re
import struct

from mirex_submission.features.parts import Part, Stream
from mirex_submission.features.starts import next_start

_HEAD = 1024
_NIST_FIELD = re.compile(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d+)", re.MULTILINE)
_MOST_TTA_FRAMES = 1 << 20


def part(fd: int, start: int, size: int) -> Part:
    """Read the file that begins at `start` in a file of `size` bytes; one of unknown size ends before the next one."""
    head = os.pread(fd, _HEAD, start)
    n = _tta_bytes(fd, start, head) if head.startswith(b"TTA1") else _bytes(head)
    stop = start + n if 0 < n <= size - start else next_start(fd, start + 4, size)
    return Part([Stream(start, stop)], stop)


def _bytes(head: bytes) -> int:
    """Return the size of the file with these first bytes, 0 if they do not tell it."""
    if head.startswith(b"NIST_1A"):
        fields = dict(_NIST_FIELD.findall(head))
        n_samples, n_channels, n_bytes = (
            int(fields.get(name, 0)) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
        )
        return 1024 + n_samples * n_channels * n_bytes if n_samples * n_channels * n_bytes else 0
    for magic, form, at, n_before in _SIZES:
        if head.startswith(magic) and len(head) >= at + struct.calcsize(form):
            return int(sum(struct.unpack_from(form, head, at))) + n_before
    if head.startswith(b".SoX") and len(head) >= 16:
        n_head, n_samples = struct.unpack_from("<IQ", head, 4)
        return int(4 + n_head + 4 * n_samples)
    if head.startswith(b"2BIT"):  # AVR
        is_stereo, n_bits, n_samples = head[12] > 0, head[15], int.from_bytes(head[26:30], "big")
        return 128 + n_samples * (1 + is_stereo) * n_bits // 8
    return 0


# Where a header has the size: its form (of which all numbers are added), place, and what it does not count.
_SIZES = (
    (b"riff\x2e\x91\xcf\x11", "<Q", 16, 0),  # Wave64
    (b"FORM", ">I", 4, 8),
    (b"FRM8", ">Q", 4, 12),
    (b"DSD ", "<Q", 12, 0),
    (b"MAC ", "<6IxxxxI", 8, 0),
)


def _tta_bytes(fd: int, start: int, head: bytes) -> int:
    """Return the size of a True Audio file: a table behind its header tells that of each frame."""
    rate_hz, n_samples = struct.unpack_from("<II", head, 10)
    n_frames = -(-n_samples // max(1, 256 * rate_hz // 245))
    table = os.pread(fd, 4 * min(n_frames, _MOST_TTA_FRAMES), start + 22)
    sizes = struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])
    return int(22 + len(table) + 4 + sum(sizes))
