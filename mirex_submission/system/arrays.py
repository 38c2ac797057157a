"""Named arrays as bytes and back: NumPy's .npz, read without pickle, so that reading runs no code."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping

import numpy as np


def to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays as bytes: the same bytes for the same arrays."""
    file = io.BytesIO()
    # NumPy dates every entry 1980, so equal arrays give equal bytes. No array has the name of savez's own argument.
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def from_bytes(data: bytes) -> dict[str, np.ndarray]:
    """Read named arrays. Raises ValueError if the bytes are not arrays, or would need more memory than their size."""
    try:
        if data.startswith(b"\x93NUMPY"):
            raise ValueError("a single array, or pickled objects")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if sum(entry.file_size for entry in file.zip.infolist()) > len(data):
                raise ValueError("larger than its file")
            for entry in file.zip.infolist():
                _check_size(file.zip, entry)
            return {name: file[name] for name in file.files}
    # For an invalid or forged archive NumPy, zipfile, zlib and the tokenizer raise a dozen types of errors.
    except Exception as error:
        raise ValueError(f"not an .npz file: {error}") from error


def _check_size(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Check that an array has the size of its entry: NumPy allocates whatever size the header names."""
    with archive.open(entry) as f:
        np.lib.format.read_magic(f)
        shape, _, dtype = np.lib.format.read_array_header_1_0(f)
        if dtype.hasobject:
            raise ValueError("pickled objects")
        if math.prod(shape) * dtype.itemsize != entry.file_size - f.tell():
            raise ValueError("an array of another size than its entry")
