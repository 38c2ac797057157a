"""The streams of an MPEG audio file (ISO 11172-3, 13818-3), by its frames.

libsndfile's decoder ends where the first Xing frame, or where its own estimate, says that the stream ends, and where
frames have another rate or number of channels.
"""

from __future__ import annotations

import functools
import os
import struct
from typing import NamedTuple

import numpy as np

from mirex_submission.features.parts import Window

_KBIT = {  # by whether the version is 1, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version bits
_HEAD = 48  # bytes from a frame's begin to the end of a Xing tag's number of frames, at most
_LEAST_START = 4  # frames that begin a stream: a single one is often there by chance
MOST_START_BYTES = (_LEAST_START - 1) * 2881 + 4  # of these, up to the head of the last one
_MOST_DAMAGE = 1024  # bytes behind which libmpg123 looks for no other frame
_LEAST_FRAMES = 10  # fewer are damage, or what a Xing frame did not count


class _Frame(NamedTuple):
    """A frame: what is the same in all frames of a stream, bytes, kbit/s, and where a Xing frame has its tag."""

    kind: tuple[int, int, int, bool]  # version bits, layer, rate, whether mono
    size: int
    kbit: int
    tag_at: int

    def tagged(self, head: bytes) -> int | None:
        """Return the number of frames that a Xing frame promises, 0 if it promises none; None for other frames."""
        if self.kind[1] != 3 or head[self.tag_at : self.tag_at + 4] not in (b"Xing", b"Info"):
            return None
        return int.from_bytes(head[self.tag_at + 8 : self.tag_at + 12], "big") if head[self.tag_at + 7] & 1 else 0


@functools.lru_cache(4096)  # a file has few of the 2^32
def _frame(head: bytes) -> _Frame | None:
    """Read the frame with these 4 bytes at its begin; None if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, kbit_index, rate_index = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbit_index in (0, 15) or rate_index == 3:
        return None
    kbit, rate_hz, padding = _KBIT[version == 3, layer][kbit_index], _RATES_HZ[version][rate_index], head[2] >> 1 & 1
    if layer == 1:
        size = (12000 * kbit // rate_hz + padding) * 4
    else:
        size = (144000 if version == 3 or layer == 2 else 72000) * kbit // rate_hz + padding
    is_mono = head[3] >> 6 == 3
    tag_at = 4 + ((17 if is_mono else 32) if version == 3 else (9 if is_mono else 17))
    return _Frame((version, layer, rate_hz, is_mono), size, kbit, tag_at)


class MpegStream:
    """Frames of one kind that follow each other.

    Attributes
    ----------
    start, stop : int
        Where the stream begins and ends in the file.
    n_frames : int
        Frames with sound.
    n_tagged : int
        Frames with sound that its Xing frame promises, 0 if none does.
    """

    def __init__(self, start: int, first: _Frame, head: bytes) -> None:
        self.start = self.stop = start
        self.n_frames = 0
        self._first, self._head, self._is_variable = first, head[:4], False
        self.n_tagged = first.tagged(head) or 0

    def ends_before(self, frame: _Frame, n_tagged: int | None) -> bool:
        """Tell whether another stream begins with this frame."""
        is_complete = 0 < self.n_frames == self.n_tagged
        return is_complete or n_tagged is not None or frame.kind != self._first.kind

    def add(self, start: int, frame: _Frame, n_tagged: int | None) -> None:
        """Add the frame at `start`."""
        self.stop = start + frame.size
        self.n_frames += n_tagged is None
        self._is_variable |= frame.kbit != self._first.kbit

    def length_frame(self) -> bytes:
        """Make a Xing frame with the stream's length, where the decoder would have to estimate it; else b""."""
        first = self._first
        tag = struct.pack(">4sII", b"Xing", 1, self.n_frames)
        if self.n_tagged or not self._is_variable or first.kind[1] != 3 or first.tag_at + len(tag) > first.size:
            return b""
        frame = bytearray(first.size)
        frame[:4] = self._head
        frame[1] |= 1  # no checksum follows
        frame[first.tag_at : first.tag_at + len(tag)] = tag
        return bytes(frame)


def streams(fd: int, start: int, size: int) -> tuple[list[MpegStream], int, int, int]:
    """Divide frames into streams: a new one begins at a Xing frame, behind its frames, and at frames of another kind.

    Parameters
    ----------
    fd : int
        Descriptor of the file.
    start, size : int
        Where the first frame begins, and the bytes of the whole file.

    Returns
    -------
    (list of MpegStream, int, int, int)
        The streams; where the frames and their tags end, or are damaged so that the decoder would give up; where the
        last frame begins; and the number of bytes before that are neither frames nor tags.
    """
    streams: list[MpegStream] = []
    window = Window(fd)
    n_others, position, last_at, in_step = 0, start, start, False
    while position < size:
        head = window.at(position, _HEAD)
        frame = _frame(head[:4])
        if frame and (in_step or _frame(window.at(position + frame.size, 4))):
            n_tagged = frame.tagged(head)
            if not streams or streams[-1].ends_before(frame, n_tagged):
                streams.append(MpegStream(position, frame, head))
            streams[-1].add(position, frame, n_tagged)
            last_at, position, in_step = position, position + frame.size, True
            continue
        in_step, after = False, after_tag(fd, position)
        if after == position:
            after = _next_frame(fd, position + 1, min(size, position + _MOST_DAMAGE))
            if not after:
                break
            n_others += after - position
        position = after
    return [stream for stream in streams if stream.n_frames >= _LEAST_FRAMES], position, last_at, n_others


def is_start(fd: int, start: int) -> bool:
    """Tell whether some frames of one kind follow each other from `start` on."""
    kind = None
    for _ in range(_LEAST_START):
        frame = _frame(os.pread(fd, 4, start))
        if not frame or (kind and frame.kind != kind):
            return False
        kind, start = frame.kind, start + frame.size
    return True


def header(fd: int, start: int, size: int) -> tuple[int, float] | None:
    """Read rate in Hz and duration in s of the stream that begins at `start`; None if none begins there."""
    head = os.pread(fd, _HEAD, start)
    frame = _frame(head[:4])
    if not frame or not _frame(os.pread(fd, 4, start + frame.size)):
        return None
    _, layer, rate_hz, _ = frame.kind
    n_samples = 384 if layer == 1 else 576 if layer == 3 and frame.kind[0] != 3 else 1152
    n_tagged = frame.tagged(head)
    return rate_hz, n_tagged * n_samples / rate_hz if n_tagged else (size - start) / (125 * frame.kbit)


def after_id3(fd: int, start: int) -> int:
    """Return where an ID3v2 tag at `start` ends; `start` if there is none."""
    head = os.pread(fd, 10, start)
    if len(head) < 10 or not head.startswith(b"ID3"):
        return start
    return start + 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))


def after_tag(fd: int, start: int) -> int:
    """Return where an ID3 or APE tag at `start` ends; `start` if there is none."""
    head = os.pread(fd, 32, start)
    if head.startswith(b"TAG"):
        return start + 128
    if head.startswith(b"APETAGEX") and len(head) >= 32:
        n, _, flags = struct.unpack_from("<III", head, 12)
        return start + 32 + (n if flags & 1 << 29 else 0)  # its header, or else its footer
    return after_id3(fd, start)


def _next_frame(fd: int, start: int, stop: int) -> int:
    """Return where the next frame begins from which on some follow each other; 0 if none does before `stop`."""
    place = first_start(os.pread(fd, stop - start + MOST_START_BYTES, start), stop - start, layers=(1, 2, 3))
    return 0 if place is None else start + place


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return bytes, layer and a number of the kind of the frames, by the last 13 bits of their bytes 2 and 3."""
    frames = [_frame(bytes([0xFF, 0xE0 | k >> 8, k & 0xFF, 0])) for k in range(1 << 13)]
    kinds = {frame.kind: number for number, frame in enumerate(filter(None, frames), start=1)}
    return (
        np.array([frame.size if frame else 0 for frame in frames]),
        np.array([frame.kind[1] if frame else 0 for frame in frames]),
        np.array([kinds[frame.kind] if frame else 0 for frame in frames]),
    )


def first_start(block: bytes, stop: int, layers: tuple[int, ...] = (3,)) -> int | None:
    """Return the first place before `stop` from which on some frames of one kind follow each other in a block.

    All places are tried at once: repeated heads of frames may make a candidate of every fourth byte.
    """
    sizes, of_layers, kinds = _tables()
    data = np.frombuffer(block, np.uint8)
    starts = np.flatnonzero(data[: max(0, min(stop, len(data) - 3))] == 0xFF)
    places, of_starts = starts, None
    for _ in range(_LEAST_START):
        inside = places < len(data) - 3
        starts, places = starts[inside], places[inside]
        numbers = (data[places + 1].astype(np.intp) & 0x1F) << 8 | data[places + 2]
        is_head = (data[places] == 0xFF) & (data[places + 1] >= 0xE0) & np.isin(of_layers[numbers], layers)
        of_places = 2 * kinds[numbers] + (data[places + 3] >= 0xC0)  # whether it is mono
        if of_starts is not None:
            is_head &= of_places == of_starts[inside]
        starts, of_starts = starts[is_head], of_places[is_head]
        places = places[is_head] + sizes[numbers[is_head]]
    return int(starts[0]) if len(starts) else None
