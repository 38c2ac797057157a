"""An inverted index of fingerprints, to find pairs of tracks that share sub-fingerprints at one offset in time.

Memory does not grow with the number of tracks: the fingerprints are in a file (344 bytes per second of audio), and the
index is built and used in parts, each for a part of all possible sub-fingerprints.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import numpy as np

from mirex_submission.evaluation.audit.fingerprints import bit_errors

_PART = 1 << 22  # sub-fingerprints in a part of the index: 32 MB
_NEIGHBOURS = 8  # votes per sub-fingerprint: limits the cost of one that thousands of tracks share
_BIN = 8  # frames per bin of offsets; neighbouring frames share all but a thirtieth of their samples
_MOST_VOTES = 1 << 22  # kept counts, over all pairs and offsets
# Pairs per track whose bits are compared, and pairs per track that are compared in full; those with most votes first.
_PAIRS_A_TRACK, _CANDIDATES_A_TRACK = 16, 4
_MOST_BIT_ERRORS = 0.4  # of a candidate; 0.5 is chance


class Index:
    """Fingerprints in a file, and their inverted index.

    Parameters
    ----------
    file : binary file
        Open for reading and writing; the fingerprints are appended to it.
    n_tracks : int
        Number of tracks.
    """

    def __init__(self, file: BinaryIO, n_tracks: int) -> None:
        self._file = file
        self._starts, self._lengths = np.zeros(n_tracks, np.int64), np.zeros(n_tracks, np.int64)
        self._n = 0

    def add(self, track: int, fingerprint: np.ndarray) -> None:
        """Add the fingerprint of a track, uint32 [shape=(n_frames,)]; tracks may come in any order."""
        self._file.write(fingerprint.tobytes())
        self._starts[track], self._lengths[track] = self._n, len(fingerprint)
        self._n += len(fingerprint)

    def candidates(self) -> list[tuple[int, int, int]]:
        """Return pairs of tracks that may be copies, with the number of frames by which the second begins later."""
        if not self._n:
            return []
        self._file.flush()
        frames = np.memmap(self._file, np.uint32, "r", shape=(self._n,))
        codes, votes = np.zeros(0, np.int64), np.zeros(0, np.int64)
        n_parts = -(-self._n // _PART)
        for part in range(n_parts):
            more = self._votes(np.sort(np.concatenate(list(self._entries(frames, part, n_parts)))))
            codes, votes = _merged(np.concatenate([codes, more[0]]), np.concatenate([votes, more[1]]))
        pairs = self._best_bins(codes, votes)
        n_tracks = len(self._starts)
        close = (self._closest(frames, *pair) for pair in pairs[: _PAIRS_A_TRACK * n_tracks])
        return list(islice(filter(None, close), _CANDIDATES_A_TRACK * n_tracks))

    @property
    def _n_bins(self) -> int:
        return 2 * int(self._lengths.max()) // _BIN + 2

    def _entries(self, frames: np.ndarray, part: int, n_parts: int) -> Iterator[np.ndarray]:
        """Yield the sub-fingerprints of a part as 64 bits: the sub-fingerprint, then its position in all tracks."""
        places = np.cumsum(self._lengths) - self._lengths
        for start, length, place in zip(self._starts, self._lengths, places, strict=True):
            keys = frames[start : start + length]
            # Of consecutive equal sub-fingerprints only the first counts; zero is silence.
            chosen = (keys != 0) & np.concatenate([[True], keys[1:] != keys[:-1]])[:length]
            if n_parts > 1:
                chosen &= (keys * np.uint32(2654435761) >> np.uint32(12)) % np.uint32(n_parts) == part
            where = np.flatnonzero(chosen)
            yield keys[where].astype(np.uint64) << np.uint64(32) | (where + place).astype(np.uint64)

    def _votes(self, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count the shared sub-fingerprints of each pair of tracks and offset; return codes of pair and bin, counts."""
        ends = np.cumsum(self._lengths)
        keys, places = (entries >> np.uint64(32)).astype(np.uint32), (entries & np.uint64(0xFFFFFFFF)).astype(np.int64)
        tracks = np.searchsorted(ends, places, side="right")
        places -= (ends - self._lengths)[tracks]
        codes = []
        for step in range(1, min(_NEIGHBOURS, len(keys) - 1) + 1):
            same = np.flatnonzero((keys[step:] == keys[:-step]) & (tracks[step:] != tracks[:-step]))
            first, second = tracks[same], tracks[same + step]
            bins = (places[same] - places[same + step] + self._lengths.max()) // _BIN
            codes.append((first * len(ends) + second) * self._n_bins + bins)
        return _merged(np.concatenate(codes) if codes else np.zeros(0, np.int64))

    def _best_bins(self, codes: np.ndarray, votes: np.ndarray) -> list[tuple[int, int, int]]:
        """Return each pair with the offset of the bin with most votes, sorted by votes, highest first."""
        codes = codes[np.lexsort((codes, -votes))]
        _, first = np.unique(codes // self._n_bins, return_index=True)
        pairs, bins = np.divmod(codes[np.sort(first)], self._n_bins)
        offsets = bins * _BIN + _BIN // 2 - int(self._lengths.max())
        return list(zip(*(part.tolist() for part in (*np.divmod(pairs, len(self._lengths)), offsets)), strict=True))

    def _closest(self, frames: np.ndarray, first: int, second: int, offset: int) -> tuple[int, int, int] | None:
        """Return a pair with the offset at which the fewest bits differ, or None if too many bits differ."""
        a, b = (frames[self._starts[k] : self._starts[k] + self._lengths[k]] for k in (first, second))
        errors, best = min((bit_errors(a, b, offset + shift), offset + shift) for shift in (-_BIN, 0, _BIN))
        return (first, second, best) if errors < _MOST_BIT_ERRORS else None


def _merged(codes: np.ndarray, votes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sum the votes of equal codes; keep at most _MOST_VOTES codes, those with most votes."""
    distinct, inverse = np.unique(codes, return_inverse=True)
    sums = np.bincount(inverse, votes, len(distinct)).astype(np.int64)
    if len(sums) > _MOST_VOTES:
        most = np.sort(np.argpartition(-sums, _MOST_VOTES)[:_MOST_VOTES])
        distinct, sums = distinct[most], sums[most]
    return distinct, sums
