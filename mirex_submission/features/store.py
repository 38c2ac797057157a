"""Feature files in the scratch folder: one a track, verified when read, made again when anything about it changed.

A file is named by the hash of the track's full path - not by the file name, which two folders may share - and is
    line 1  "mirex-features 3 <XXH3-128 of line 2> <XXH3-128 of all that follows line 1>"
    line 2  JSON header: what it was made from (path, size, times and content hash of the audio, the spec) and its shape
    rest    the frames, float32 little-endian, row by row
There is no pickle and nothing to run in it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from mirex_submission.errors import UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.system.atomic import digest, write_file
from mirex_submission.system.paths import full_path

SUFFIX = ".logmel"
_MAGIC = b"mirex-features 3 "
_HEADER_BYTES = 16384  # enough for a header with the longest path that a system takes


@dataclass(frozen=True)
class AudioState:
    """What tells one state of an audio file from another without reading it: size and times in nanoseconds."""

    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: str) -> AudioState:
        s = os.stat(path)
        return cls(s.st_size, s.st_mtime_ns, s.st_ctime_ns)


@dataclass(frozen=True)
class Header:
    """Where features come from. `content` is the hash of the audio file's bytes; `note` what was odd about it."""

    path: str
    audio: AudioState
    content: str
    spec: FeatureSpec
    n_frames: int
    duration_s: float
    note: str = ""

    @property
    def n_bytes(self) -> int:
        """Of the frames."""
        return 4 * self.n_frames * self.spec.n_bands


def content_hash(path: str) -> str:
    """XXH3-128 of a file's bytes, in hexadecimal: read at the speed of memory, where BLAKE2b cost a third of all."""
    whole = xxhash.xxh3_128()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()


class FeatureStore:
    """The features of one spec in one scratch folder."""

    def __init__(self, scratch: str | os.PathLike[str], spec: FeatureSpec) -> None:
        self.spec = spec
        self.folder = Path(scratch) / "features" / spec.id

    def file_of(self, path: str) -> Path:
        """The file that holds (or would hold) the features of the track at `path`."""
        name = digest(full_path(path).encode("utf-8", "surrogateescape"))
        return self.folder / name[:2] / f"{name}{SUFFIX}"

    def fresh(self, path: str, *, content_decides: bool = True) -> Header | None:
        """The header of stored features that still belong to the audio at `path`, or None.

        Size or modification time changed: None. Only the inode's change time differs, as after a copy-over that puts
        the old time back, or a mere chmod: the content decides. Without `content_decides` no audio is read, and such
        features count as fresh.
        """
        header = self._header(path)
        if header is None or header.spec != self.spec or header.path != full_path(path):
            return None
        try:
            now = AudioState.of(path)
            if (now.size, now.modified_ns) != (header.audio.size, header.audio.modified_ns):
                return None
            touched = now.changed_ns != header.audio.changed_ns
            if touched and content_decides and content_hash(path) != header.content:
                return None
        except OSError:
            return None
        return header

    def verified(self, path: str) -> Header | None:
        """The same, after reading all of it: neither the stored features nor the audio have changed in any bit."""
        stored = self.read(path)
        header = self.fresh(path) if stored else None
        return header if header and content_hash(path) == header.content else None

    def write(self, header: Header, frames: np.ndarray) -> None:
        """Store the frames of a track. Raises StorageError."""
        line = json.dumps(dataclasses.asdict(header), ensure_ascii=True).encode("ascii") + b"\n"
        raw = np.ascontiguousarray(frames, dtype="<f4").data.cast("B")
        start = b"%s%s %s\n%s" % (_MAGIC, _digest(line), _digest(line, raw), line)
        write_file(self.file_of(header.path), start, raw, durable=False)

    def read(self, path: str) -> tuple[Header, np.ndarray] | None:
        """The verified header and frames [shape=(n_frames, n_bands), float32], or None if missing or damaged."""
        stored = read_file(self.file_of(path))
        if stored is None or stored[0].spec != self.spec or stored[0].path != full_path(path):
            return None
        return stored

    def _header(self, path: str) -> Header | None:
        """The verified header alone, if what follows is as long as it says; the frames are verified when read."""
        try:
            with open(self.file_of(path), "rb") as f:
                start = f.read(_HEADER_BYTES)
                size = os.fstat(f.fileno()).st_size
        except OSError:
            return None
        found = _start_of(start)
        return found[0] if found and size == found[2] + found[0].n_bytes else None


def read_file(file: Path) -> tuple[Header, np.ndarray] | None:
    """The verified header and frames of one stored file, or None if it is missing or damaged."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    found = _start_of(data[:_HEADER_BYTES])
    if found is None:
        return None
    header, whole, n = found
    raw = memoryview(data)[n:]  # of a long track there is one copy in memory
    if len(raw) != header.n_bytes or _digest(data[:n].partition(b"\n")[2], raw) != whole:
        return None
    return header, np.frombuffer(raw, "<f4").reshape(header.n_frames, header.spec.n_bands)


def _digest(*parts: bytes | memoryview) -> bytes:
    return digest(*parts).encode("ascii")


def _start_of(data: bytes) -> tuple[Header, bytes, int] | None:
    """The verified header, the digest of header and frames, and where the frames begin; None if it is damaged."""
    first, _, rest = data.partition(b"\n")
    line, newline, _ = rest.partition(b"\n")
    of_line, _, whole = first.removeprefix(_MAGIC).partition(b" ")
    header = _parse(line) if first.startswith(_MAGIC) and of_line == _digest(line + newline) else None
    return (header, whole, len(first) + len(line) + 2) if header else None


def _parse(line: bytes) -> Header | None:
    """The header in a line, or None if anything about it is not as `write` has it."""
    try:
        fields = json.loads(line)
        header = Header(**{**fields, "audio": AudioState(**fields["audio"]), "spec": FeatureSpec(**fields["spec"])})
    except (ValueError, TypeError, KeyError, RecursionError, UsageError):
        return None
    is_sound = (
        all(type(text) is str for text in (header.path, header.content, header.note))
        and all(type(n) is int for n in (header.n_frames, *dataclasses.astuple(header.audio)))
        and header.audio.size >= 0  # times may lie before 1970
        and type(header.duration_s) in (int, float)
        and re.fullmatch("[0-9a-f]+", header.content)
        and header.n_frames >= header.spec.n_frames
    )
    return header if is_sound else None
