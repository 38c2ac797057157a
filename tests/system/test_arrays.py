"""Named arrays as bytes: read back to the bit, and never more than the bytes hold."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from mirex_submission.system.arrays import from_bytes, to_bytes


def test_arrays_are_read_back_to_the_bit():
    arrays = {"a/kernel": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.array(2.5), "c": np.zeros((0, 3))}
    read = from_bytes(to_bytes(arrays))
    assert list(read) == list(arrays)
    assert all(np.array_equal(read[name], arrays[name]) and read[name].dtype == arrays[name].dtype for name in arrays)


def packed(method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.npy", npy(np.zeros(1 << 23, np.float32)))
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def twice():
    """One entry of 64 MB that the directory names 40 times."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", npy(np.zeros(1 << 20, np.float32)))
        (entry,) = archive.filelist
        archive.filelist += [entry] * 40
    return file.getvalue()


def of_shape(n):
    """An array whose header names more numbers than follow."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({n},)}}\n".encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))
    return file.getvalue()


BOMBS = {
    "deflated": lambda: packed(zipfile.ZIP_DEFLATED),
    "bzip2": lambda: packed(zipfile.ZIP_BZIP2),
    "lzma": lambda: packed(zipfile.ZIP_LZMA),
    "named often": twice,
    "a shape of terabytes": lambda: of_shape(1 << 40),
    "a shape of gigabytes": lambda: of_shape(1 << 28),
    "a negative shape": lambda: of_shape(-1),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_arrays_larger_than_their_file_are_refused(kind):
    data = BOMBS[kind]()
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"not an \.npz file"):
        from_bytes(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(data) + 1_000_000
