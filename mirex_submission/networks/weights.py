"""The weights of a network, read from bytes."""

from __future__ import annotations

import numpy as np

from mirex_submission.networks.sizes import Weights
from mirex_submission.system import arrays


def from_bytes(data: bytes) -> Weights:
    """Read weights. Raises ValueError if the bytes are not weights."""
    weights = arrays.from_bytes(data)
    if not all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in weights.values()):
        raise ValueError("some of its arrays are not float32")
    return weights
