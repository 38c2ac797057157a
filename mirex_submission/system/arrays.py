"""Named arrays as bytes and back: NumPy's .npz, whose reading runs nothing that it holds."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np


def to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays as bytes: the same bytes for the same arrays."""
    file = io.BytesIO()
    # It dates every entry 1980. No array is named like its own argument.
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def from_bytes(data: bytes) -> dict[str, np.ndarray]:
    """Read named arrays. Raises ValueError if the bytes are none, or are packed: they could unpack to any size."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
        if any(entry.compress_type for entry in entries) or sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("larger than its file")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    # A dozen kinds: NumPy's, zipfile's, zlib's and the tokenizer's, for what is no archive of arrays, or a forged one.
    except Exception as error:
        raise ValueError(f"no .npz file: {error}") from error
