"""An inverted index of fingerprints: the pairs of tracks that share sub-fingerprints at one offset in time.

Memory does not grow with the number of tracks: the fingerprints lie in a file, 344 bytes a second of audio, and the
index is made and used part by part, each with those sub-fingerprints that fall into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import numpy as np

from mirex_submission.evaluation.audit.fingerprints import bit_errors

_PART = 1 << 22  # sub-fingerprints in the index at a time: 32 MB
_NEIGHBOURS = 8  # that a sub-fingerprint votes for: one that thousands of tracks have costs no more than others
_BIN = 8  # frames; neighbouring frames share all but a thirtieth of their samples
_MOST_VOTES = 1 << 22  # kept, of all pairs and offsets
_PAIRS_A_TRACK, _CANDIDATES_A_TRACK = 16, 4  # whose bits are compared, and that are compared in full; most votes first
_MOST_BIT_ERRORS = 0.4  # of a pair that is worth a closer look; 0.5 is chance


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
        """Add the fingerprint of a track, uint32 [shape=(n_frames,)], in any order of tracks."""
        self._file.write(fingerprint.tobytes())
        self._starts[track], self._lengths[track] = self._n, len(fingerprint)
        self._n += len(fingerprint)

    def candidates(self) -> list[tuple[int, int, int]]:
        """Return pairs of tracks that may be copies, and by how many frames the second one begins later."""
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
        """Yield the sub-fingerprints of a part, each above its place in the order of the tracks, in 64 bits."""
        places = np.cumsum(self._lengths) - self._lengths
        for start, length, place in zip(self._starts, self._lengths, places, strict=True):
            keys = frames[start : start + length]
            # Of a run of equal ones the first counts; zero is silence.
            chosen = (keys != 0) & np.concatenate([[True], keys[1:] != keys[:-1]])[:length]
            if n_parts > 1:
                chosen &= (keys * np.uint32(2654435761) >> np.uint32(12)) % np.uint32(n_parts) == part
            where = np.flatnonzero(chosen)
            yield keys[where].astype(np.uint64) << np.uint64(32) | (where + place).astype(np.uint64)

    def _votes(self, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count the sub-fingerprints that each pair of tracks shares at each offset: code of pair and bin, number."""
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
        """Return each pair with the middle of the bin of its most votes, the pairs with the most votes first."""
        codes = codes[np.lexsort((codes, -votes))]
        _, first = np.unique(codes // self._n_bins, return_index=True)
        pairs, bins = np.divmod(codes[np.sort(first)], self._n_bins)
        offsets = bins * _BIN + _BIN // 2 - int(self._lengths.max())
        return list(zip(*(part.tolist() for part in (*np.divmod(pairs, len(self._lengths)), offsets)), strict=True))

    def _closest(self, frames: np.ndarray, first: int, second: int, offset: int) -> tuple[int, int, int] | None:
        """Return a pair with the offset at which the fewest bits differ, None if too many do."""
        a, b = (frames[self._starts[k] : self._starts[k] + self._lengths[k]] for k in (first, second))
        errors, best = min((bit_errors(a, b, offset + shift), offset + shift) for shift in (-_BIN, 0, _BIN))
        return (first, second, best) if errors < _MOST_BIT_ERRORS else None


def _merged(codes: np.ndarray, votes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sum the votes of equal codes; of very many keep those with the most."""
    distinct, inverse = np.unique(codes, return_inverse=True)
    sums = np.bincount(inverse, votes, len(distinct)).astype(np.int64)
    if len(sums) > _MOST_VOTES:
        most = np.sort(np.argpartition(-sums, _MOST_VOTES)[:_MOST_VOTES])
        distinct, sums = distinct[most], sums[most]
    return distinct, sums
