"""The weights of a network as bytes and back: NumPy's .npz, whose reading runs nothing that it holds."""

from __future__ import annotations

import io

import numpy as np

from mirex_submission.networks.sizes import Weights


def to_bytes(weights: Weights) -> bytes:
    """Return weights as bytes: the same bytes for the same weights."""
    file = io.BytesIO()
    # It dates every entry 1980. No weight is named like its own argument.
    np.savez(file, **weights)  # type: ignore[arg-type]
    return file.getvalue()


def from_bytes(data: bytes) -> Weights:
    """Read weights. Raises ValueError if the bytes are not weights."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            weights = {name: file[name] for name in file.files}
    # A dozen kinds: NumPy's, zipfile's, zlib's and the tokenizer's, for what is no archive of arrays, or a forged one.
    except Exception as error:
        raise ValueError(f"no .npz file: {error}") from error
    if not all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in weights.values()):
        raise ValueError("not only float32 arrays")
    return weights
