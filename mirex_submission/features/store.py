"""Feature files in the scratch folder: one for each track, verified when read, and replaced when the audio changed.

A file is named by the hash of the track's full path (two folders may have files of the same name) and has
    line 1  "mirex-features 3 <XXH3-128 of line 2> <XXH3-128 of everything after line 1>"
    line 2  JSON header: origin (path, size, times and content hash of the audio, the spec) and shape of the matrix
    rest    the matrix, float32 little-endian, row by row: log-Mel frames, or the vectors of a view's windows
There is no pickle, and reading a file runs no code.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import numpy as np
import xxhash

from mirex_submission.errors import UsageError
from mirex_submission.features.audio import MAX_DURATION_H
from mirex_submission.features.spec import FeatureSpec, Spec, ViewSpec
from mirex_submission.system.atomic import digest, write_file
from mirex_submission.system.inner import inner_folder, open_inner
from mirex_submission.system.paths import full_path

SpecType = TypeVar("SpecType", bound=Spec, covariant=True)

SUFFIXES = (FeatureSpec.suffix, ViewSpec.suffix)
_MAGIC = b"mirex-features 3 "
_HEADER_BYTES = 16384  # enough for a header with the longest possible path


@dataclass(frozen=True)
class AudioState:
    """Size and times in nanoseconds of an audio file, which show a change without reading it."""

    size: Annotated[int, msgspec.Meta(ge=0)]
    modified_ns: int  # negative before 1970
    changed_ns: int

    @classmethod
    def of(cls, file: str | int) -> AudioState:
        """Return the present state of a file, by its path or descriptor. Raises OSError."""
        s = os.stat(file)
        return cls(s.st_size, s.st_mtime_ns, s.st_ctime_ns)


@dataclass(frozen=True)
class Header:
    """Origin and shape of stored features.

    Parameters
    ----------
    path : str
        Full path of the audio file.
    audio : AudioState
    content : str
        XXH3-128 of the audio file's bytes, in hexadecimal.
    spec : Spec
    n_frames : int
        Rows of the matrix.
    duration_s : float
        Duration of the decoded audio.
    note : str
        Problems of the audio, or "".
    """

    path: str
    audio: AudioState
    content: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]+$")]
    spec: Spec
    n_frames: int
    duration_s: float
    note: str = ""

    @property
    def n_bytes(self) -> int:
        """Size of the matrix in bytes."""
        return 4 * self.n_frames * self.spec.n_columns


def content_hash(file: str | int) -> str:
    """Hash the bytes of a file, given by its path or descriptor, with XXH3-128, in hexadecimal.

    XXH3 is as fast as memory; BLAKE2b took a third of the time of an extraction.
    """
    whole = xxhash.xxh3_128()
    with open(file, "rb", closefd=isinstance(file, str)) as f:
        f.seek(0)
        while block := f.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()


class FeatureStore(Generic[SpecType]):
    """The features of one spec in one scratch folder."""

    def __init__(self, scratch: str | os.PathLike[str], spec: SpecType) -> None:
        self.spec, self._scratch = spec, Path(scratch)
        self.folder = self._scratch / "features" / spec.id

    def file_of(self, path: str) -> Path:
        """Return the path of the feature file of the track at `path`, which need not exist."""
        name = digest(full_path(path).encode("utf-8", "surrogateescape"))
        return self.folder / name[:2] / f"{name}{self.spec.suffix}"

    def fresh(self, path: str, *, content_decides: bool = True) -> Header | None:
        """Read the header of stored features, if they still belong to the audio at `path`.

        They do not if the audio's size or modification time has changed. If only the inode's change time differs, as
        after a chmod or after a copy that restores the modification time, the content decides. Without
        `content_decides` no audio is read, and such features count as fresh.
        """
        header = self._header(path)
        if header is None or not self._belongs(header, path):
            return None
        try:
            now = AudioState.of(header.path)
            if (now.size, now.modified_ns) != (header.audio.size, header.audio.modified_ns):
                return None
            touched = now.changed_ns != header.audio.changed_ns
            if touched and content_decides and content_hash(header.path) != header.content:
                return None
        except OSError:
            return None
        return header

    def verified(self, path: str) -> Header | None:
        """Read the header like `fresh`, after checking every bit of the stored features and of the audio."""
        header = self.fresh(path) if self.read(path) else None
        return header if header and content_hash(header.path) == header.content else None

    def write(self, header: Header, matrix: np.ndarray) -> None:
        """Store the matrix of a track. Raises StorageError."""
        line = json.dumps(dataclasses.asdict(header), ensure_ascii=True).encode("ascii") + b"\n"
        raw = np.ascontiguousarray(matrix, dtype="<f4").data.cast("B")
        start = b"%s%s %s\n%s" % (_MAGIC, _digest(line), _digest(line, raw), line)
        file = self.file_of(header.path)
        inner_folder(self._scratch, "features", self.spec.id, file.parent.name)
        write_file(file, start, raw, durable=False)

    def read(self, path: str) -> tuple[Header, np.ndarray] | None:
        """Read and verify header and matrix [shape=(n_frames, n_columns), float32]; None if missing or damaged."""
        stored = read_file(self.file_of(path))
        return stored if stored and self._belongs(stored[0], path) else None

    def _belongs(self, header: Header, path: str) -> bool:
        """Return whether features with this header are of this spec and of the track at `path`."""
        return header.spec == self.spec and header.path == full_path(path)

    def _header(self, path: str) -> Header | None:
        """Read and verify the header alone, if the matrix has the right size; `read` verifies the matrix."""
        try:
            with _opened(self.file_of(path)) as f:
                start = _start_of(f)
        except OSError:
            return None
        return start[0] if start else None


def read_file(file: Path) -> tuple[Header, np.ndarray] | None:
    """Read and verify header and matrix of one stored file; None if it is missing or damaged."""
    try:
        with _opened(file) as f:
            start = _start_of(f)
            data = f.read(start[2] + start[0].n_bytes) if start else b""
    except OSError:
        return None
    if start is None:
        return None
    header, whole, n = start
    raw = memoryview(data)[n:]  # no copy, for long tracks
    if len(raw) != header.n_bytes or _digest(data[:n].partition(b"\n")[2], raw) != whole:
        return None
    return header, np.frombuffer(raw, "<f4").reshape(header.n_frames, header.spec.n_columns)


def _digest(*parts: bytes | memoryview) -> bytes:
    return digest(*parts).encode("ascii")


def _opened(file: Path) -> BufferedReader:
    return BufferedReader(FileIO(open_inner(file)), _HEADER_BYTES)


def _start_of(f: BufferedReader) -> tuple[Header, bytes, int] | None:
    """Return the verified header, the digest of header and matrix, and where the matrix begins.

    The file is peeked at, not read. The result is None if the header is damaged, or does not fit the size of the file.
    """
    first, _, rest = f.peek(_HEADER_BYTES).partition(b"\n")
    line, newline, _ = rest.partition(b"\n")
    line_digest, _, whole = first.removeprefix(_MAGIC).partition(b" ")
    header = _parse(line) if first.startswith(_MAGIC) and line_digest == _digest(line + newline) else None
    n = len(first) + len(line) + 2
    return (header, whole, n) if header and os.fstat(f.fileno()).st_size == n + header.n_bytes else None


def _parse(line: bytes) -> Header | None:
    """Decode the header strictly; None if `write` cannot have made it."""
    try:
        # A path may have surrogates (bytes that are not UTF-8), which json keeps and msgspec's decoder drops.
        header = msgspec.convert(json.loads(line), Header, dec_hook=lambda _, record: spec_of(record))
    except (ValueError, RecursionError, msgspec.MsgspecError, UsageError):
        return None
    most_rows = header.spec.rows_in(3600 * MAX_DURATION_H + 1)  # resampling may add a sample
    return header if header.spec.least_rows <= header.n_frames <= most_rows else None


def spec_of(record: Any) -> Spec:
    """Make a spec from its JSON record. Raises msgspec.ValidationError or UsageError."""
    kind = ViewSpec if isinstance(record, dict) and "view" in record else FeatureSpec
    return msgspec.convert(record, kind)
