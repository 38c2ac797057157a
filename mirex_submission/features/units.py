"""Formats whose files are rows of units (boxes, elements, blocks, frames), each of which gives its own size."""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable
from typing import NamedTuple

from mirex_submission.features.parts import Window

_HEAD = 32  # bytes of a unit that tell its size
TO_THE_END = 1 << 62  # the size of a unit that does not tell it, as while it is recorded


class Unit(NamedTuple):
    """A unit: its bytes, 0 if it is none, and what is the same in all units of a stream."""

    size: int
    kind: Hashable = None


_NONE = Unit(0)


def _box(head: bytes) -> Unit:
    """Read a box of MP4 (ISO 14496-12)."""
    n, name, n_long = struct.unpack_from(">I4sQ", head)
    if not name.isalnum() or n in range(2, 8):
        return _NONE
    return Unit({0: TO_THE_END, 1: n_long}.get(n, n))


# The elements of a file, of a segment and of a cluster: those of an unknown size are entered.
_ELEMENTS = {
    *(b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b"),
    *(b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b", b"\x19\x41\xa4\x69", b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67"),
    *(b"\xec", b"\xbf", b"\xe7", b"\xa3", b"\xa0", b"\xa7", b"\xab", b"\x58\x54"),
}


def _element(head: bytes) -> Unit:
    """Read an element of Matroska or WebM (RFC 8794)."""
    n_name = 9 - head[0].bit_length()
    n_size = 9 - head[n_name].bit_length() if n_name < 5 else 9
    if n_size > 8 or head[:n_name] not in _ELEMENTS:
        return _NONE
    mask = (1 << 7 * n_size) - 1
    size = int.from_bytes(head[n_name : n_name + n_size], "big") & mask
    return Unit(n_name + n_size + (0 if size == mask else size))


# The first bytes of the names of header, data and indexes.
_ASF_OBJECTS = (
    *(b"\x30\x26\xb2\x75", b"\x36\x26\xb2\x75", b"\x90\x08\0\x33"),
    *(b"\xd3\x29\xe2\xd6", b"\xf8\x03\xb1\xfe", b"\xd0\x3f\xb7\x3c"),
)


def _asf_object(head: bytes) -> Unit:
    size = int.from_bytes(head[16:24], "little")
    return Unit(size if size >= 24 else TO_THE_END) if head.startswith(_ASF_OBJECTS) else _NONE


def _wavpack_block(head: bytes) -> Unit:
    return Unit(8 + int.from_bytes(head[4:8], "little")) if head.startswith(b"wvpk") else _NONE


def _adts_frame(head: bytes) -> Unit:
    size = int.from_bytes(head[3:6], "big") >> 5 & 0x1FFF
    is_frame = head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and size > 7
    return Unit(size, (head[1] & 8, head[2] & 0x3D, head[3] & 0xC0)) if is_frame else _NONE


def _transport_packet(head: bytes) -> Unit:
    return Unit(188) if head[0] == 0x47 else _NONE


ROWS: dict[str, Callable[[bytes], Unit]] = {
    "mp4": _box,
    "matroska": _element,
    "asf": _asf_object,
    "wavpack": _wavpack_block,
    "adts": _adts_frame,
    "transport": _transport_packet,
}
# Of these, single units are often there by chance.
FRAMES = {"adts": b"\xff", "transport": b"\x47"}
_LEAST_FRAMES = 4


def is_row(window: Window, start: int, name: str) -> bool:
    """Tell whether some units of one kind follow each other from `start` on."""
    kinds = set()
    for _ in range(_LEAST_FRAMES):
        unit = unit_at(window, start, name)
        kinds.add(unit.kind)
        if not unit.size or len(kinds) > 1:
            return False
        start += unit.size
    return True


def unit_at(window: Window, start: int, name: str) -> Unit:
    """Read the unit of this format that begins at `start`."""
    head = window.at(start, _HEAD)
    return ROWS[name](head.ljust(_HEAD, b"\0")) if head else _NONE
