"""Audio fingerprints that identify copies of one recording with any codec, level, rate and length.

The fingerprints follow Haitsma and Kalker (2002): one sub-fingerprint of 32 bits every 11.6 ms. A bit is the sign of
the change in time of the power difference of two neighbouring bands, for 33 Mel bands from 300 Hz to 2.8 kHz and
windows of 0.37 s. There are two differences from the paper. Powers lower than 50 dB below the maximum are raised to
that level, so that the noise of a codec in silent bands has no influence. And a match is verified by the correlation of
the values (differences of logarithmic powers) whose signs are the bits: for different clips of synthetic music, the
signs can agree, but the values do not.

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
MOST_S = 600  # longest part of a track that is used; limits the memory
_RANGE = 1e-5  # dynamic range of powers: 50 dB
_FRAMES_AT_ONCE = 4096
_WANTED = 256  # shared frames of two tracks: three seconds, as in the paper, or half of the shorter track
_LEAST = 32
_STEP = 4  # only every fourth frame is compared: neighbouring frames have nearly the same bits
_DRIFT = 16  # maximum error of an offset from the index, in frames
SAME = 0.6  # from this correlation on, two tracks are one recording


def changes(path: str) -> np.ndarray:
    """Compute the changes in time of the differences of neighbouring bands.

    Parameters
    ----------
    path : str
        An audio file; the first MOST_S seconds are used.

    Returns
    -------
    np.ndarray [shape=(n_frames, N_BITS), float32]
        In log10 of power; may be empty for a track shorter than two windows.

    Raises
    ------
    AudioError
        The file cannot be decoded, or is empty or silent.
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
    """Return the first `n_most` samples of a recording as float32; the recording is still read to its end."""
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
    """Return the number of frames that two tracks of these lengths must share to be compared."""
    return max(_LEAST, min(_WANTED, n_first // 2, n_second // 2))


def overlap(first: np.ndarray, second: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the overlapping frames of two tracks if the second track begins `offset` frames after the first."""
    first, second = (first[offset:], second) if offset >= 0 else (first, second[-offset:])
    n = min(len(first), len(second))
    return first[:n], second[:n]


def bit_errors(first: np.ndarray, second: np.ndarray, offset: int) -> float:
    """Estimate the share of bits in which two fingerprints differ; 1 if they share too few frames."""
    a, b = overlap(first, second, offset)
    if len(a) < least_overlap(len(first), len(second)):
        return 1.0
    differences = a[::_STEP] ^ b[::_STEP]
    return int(np.unpackbits(differences.view(np.uint8)).sum()) / (N_BITS * len(differences))


@without_output()
def correlation(pair: tuple[str, str, int]) -> tuple[float, int]:
    """Compare two tracks at full resolution.

    Parameters
    ----------
    pair : (str, str, int)
        The paths of both, and the approximate number of frames by which the second track begins later.

    Returns
    -------
    (float, int)
        The highest correlation of their `changes`, and the number of frames by which the second track begins later.
    """
    first, second = changes(pair[0]), changes(pair[1])
    least = least_overlap(len(first), len(second))
    scores = []
    for offset in range(pair[2] - _DRIFT, pair[2] + _DRIFT + 1):
        a, b = overlap(first, second, offset)
        scale = np.sqrt(float(np.vdot(a, a)) * float(np.vdot(b, b)))
        scores.append((float(np.vdot(a, b)) / scale if scale and len(a) >= least else 0.0, offset))
    return max(scores)
