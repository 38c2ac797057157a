"""The channels of decoded audio to one: by the compiled kernel, or by NumPy where there is none."""

from __future__ import annotations

import numpy as np

from mirex_submission.features.compiled import kernel

MAX_SAMPLE = 2.0**31  # float files scaled like integers are odd but can be heard; beyond is no audio


def mix(block: np.ndarray, mono: np.ndarray) -> int:
    """Fill `mono` with the mean of the channels; a mean that is no audio (NaN, infinite, beyond MAX_SAMPLE) is zero.

    block : np.ndarray [shape=(n, n_channels)], C-contiguous, float32 with full scale 1.0, or int16.
    mono : np.ndarray [shape=(n,)], C-contiguous, float32 with full scale 1.0.

    Returns the number of samples that are no audio.
    """
    is_int16 = block.dtype == np.int16
    scale = (2.0**-15 if is_int16 else 1.0) / block.shape[1]
    if not is_int16:
        block = block.astype(np.float32, copy=False)
    if kernel:
        return int(kernel.mix(block, is_int16, block.shape[1], scale, MAX_SAMPLE, mono))
    with np.errstate(invalid="ignore", over="ignore"):  # what is no number is counted below
        np.dot(block.astype(np.float32, copy=False), np.full(block.shape[1], scale, np.float32), out=mono)
        bad = ~(np.abs(mono) <= MAX_SAMPLE)
    mono[bad] = 0.0
    return int(bad.sum())
