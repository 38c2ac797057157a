"""Fingerprints by which two copies of one recording are recognised, whatever their coding, level, rate and length.

They are those of Haitsma and Kalker (2002): every 11.6 ms one sub-fingerprint of 32 bits, the signs of how the power
difference of neighbouring bands changes in time, of 33 Mel bands from 300 Hz to 2.8 kHz and windows of 0.37 s. Two
differences: what is quieter than 50 dB below the loudest cell counts as that, so that the noise of a coder in silent
bands is no sign of anything; and a match is verified by the correlation of the values whose signs the bits are, of
logarithmic powers. In synthetic music the signs of different clips can agree, but their values do not.

References
----------
J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from mirex_submission.features import audio
from mirex_submission.features.audio import Recording
from mirex_submission.features.logmel import band_powers
from mirex_submission.features.scan import without_output
from mirex_submission.features.spec import MelSpec

N_BITS = 32
_SPEC = MelSpec(rate_hz=5512, window=2048, hop=64, n_bands=N_BITS + 1, lowest_hz=300.0)
HOP_S = _SPEC.hop / _SPEC.rate_hz
MOST_S = 600  # of a track: so that memory does not grow with its length
_RANGE = 1e-5  # of powers that count: 50 dB
_FRAMES_AT_ONCE = 4096
_WANTED = 256  # frames that two tracks share, or half of the shorter one: three seconds, as in the paper
_LEAST = 32
_STEP = 4  # of the frames whose bits are compared: neighbours have nearly the same
_DRIFT = 16  # frames by which the index may be wrong
SAME = 0.6  # correlation from which two tracks are one recording


def changes(path: str) -> np.ndarray:
    """Compute how the differences of neighbouring bands change in time.

    Parameters
    ----------
    path : str
        An audio file, of which MOST_S are used.

    Returns
    -------
    np.ndarray [shape=(n_frames, N_BITS), float32]
        In log10 of power; of a track shorter than two windows there may be none.

    Raises
    ------
    AudioError
        It cannot be decoded, is empty or silent.
    """
    samples, _ = audio.decoded(partial(beginning, n_most=MOST_S * _SPEC.rate_hz), path, rate_hz=_SPEC.rate_hz)
    n_frames = max(0, 1 + (len(samples) - _SPEC.window) // _SPEC.hop)
    powers = np.empty((n_frames, _SPEC.n_bands), np.float32)
    for first in range(0, n_frames, _FRAMES_AT_ONCE):
        n = min(_FRAMES_AT_ONCE, n_frames - first)
        start = first * _SPEC.hop
        powers[first : first + n] = band_powers(samples[start : start + (n - 1) * _SPEC.hop + _SPEC.window], _SPEC)
    levels = np.log10(np.maximum(powers, max(powers.max(initial=0.0) * _RANGE, 1e-12)))
    return np.diff(np.diff(levels, axis=1), axis=0)


def beginning(recording: Recording, *, n_most: int) -> np.ndarray:
    """Return the first `n_most` samples of a recording, which is read to its end, as float32."""
    blocks, n_left = [np.zeros(0, np.float32)], n_most
    for block in recording:
        if n_left > 0:
            scale = np.float32(2.0**-15 if block.dtype == np.int16 else 1.0)
            blocks.append(block[:n_left] * scale)
            n_left -= len(block)
    return np.concatenate(blocks)


@without_output()
def fingerprint(path: str) -> np.ndarray:
    """Compute the sub-fingerprints of a track, uint32 [shape=(n_frames,)]. Raises AudioError."""
    return np.packbits(changes(path) > 0, axis=1).view(">u4").ravel().astype(np.uint32)


def least_overlap(n_first: int, n_second: int) -> int:
    """Return how many frames two tracks of these lengths must share to be compared."""
    return max(_LEAST, min(_WANTED, n_first // 2, n_second // 2))


def overlap(first: np.ndarray, second: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames of two tracks that coincide if the second one begins `offset` frames after the first one."""
    first, second = (first[offset:], second) if offset >= 0 else (first, second[-offset:])
    n = min(len(first), len(second))
    return first[:n], second[:n]


def bit_errors(first: np.ndarray, second: np.ndarray, offset: int) -> float:
    """Return the share of bits in which two fingerprints differ, about; 1 where they share too few frames."""
    a, b = overlap(first, second, offset)
    if len(a) < least_overlap(len(first), len(second)):
        return 1.0
    differences = a[::_STEP] ^ b[::_STEP]
    return int(np.unpackbits(differences.view(np.uint8)).sum()) / (N_BITS * len(differences))


@without_output()
def correlation(pair: tuple[str, str, int]) -> tuple[float, int]:
    """Compare two tracks in full.

    Parameters
    ----------
    pair : (str, str, int)
        Their paths, and by how many frames the second one begins later, about.

    Returns
    -------
    (float, int)
        The highest correlation of their changes, and by how many frames the second one begins later.
    """
    first, second = changes(pair[0]), changes(pair[1])
    least = least_overlap(len(first), len(second))
    scores = []
    for offset in range(pair[2] - _DRIFT, pair[2] + _DRIFT + 1):
        a, b = overlap(first, second, offset)
        scale = np.sqrt(float(np.vdot(a, a)) * float(np.vdot(b, b)))
        scores.append((float(np.vdot(a, b)) / scale if scale and len(a) >= least else 0.0, offset))
    return max(scores)
