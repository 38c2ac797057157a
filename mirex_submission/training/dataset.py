"""The data of a training: frames of all tracks and the segments drawn from them, mapped from files.

Every array that grows with the number of tracks or segments is mapped from an unnamed file, so that the system can use
its memory for other programs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from mirex_submission.features.extraction import read_or_fail
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.system.atomic import storage_error, temporary_file
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import n_segments, segment_starts

_SUMMED_AT_ONCE = 1 << 15  # frames, 19 minutes: the squares of a long track would fill memory
_SMALLEST_STD = 1e-3  # a band that is constant in training is centred only, not scaled up


@dataclass(frozen=True)
class TrainingSet:
    """Frames and segments of the training tracks, in arrays that are mapped from files.

    Parameters
    ----------
    frames : np.ndarray
        Log-Mel frames of all tracks, float32 [n_all_frames, n_bands].
    starts_of : callable
        Function from the number of an epoch to the first row of each segment, integers [n_segments].
    targets : np.ndarray
        Class of each segment, uint16 or wider [n_segments].
    mean, std : np.ndarray
        Mean and standard deviation of the frames, float64 [n_bands].
    order_room : np.ndarray
        Buffer for the order of an epoch, uint32 [n_segments].
    """

    frames: np.ndarray
    starts_of: Callable[[int], np.ndarray]
    targets: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    order_room: np.ndarray

    def class_weights(self, n_classes: int) -> np.ndarray:
        """Return weights of classes: inverse to the class's share of the segments, with a mean of 1 over the segments.

        Returns
        -------
        np.ndarray
            float32 [n_classes].
        """
        counts = np.bincount(self.targets, minlength=n_classes)
        return np.asarray(len(self.targets) / (n_classes * np.maximum(counts, 1)), np.float32)


class _Frames(NamedTuple):
    """Frames of all tracks; the content hash and the number of frames of each; sum and sum of squares of each band."""

    mapped: np.ndarray
    contents: np.ndarray
    lengths: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


def pack(
    folder: Path, store: FeatureStore[FeatureSpec], paths: Iterable[str], targets: Sequence[int], recipe: Recipe
) -> TrainingSet:
    """Read and verify the features of every track into one array, and draw the segments.

    Parameters
    ----------
    folder : Path
        Folder for the mapped files.
    store : FeatureStore
        Features of the tracks.
    paths : iterable of str
        The tracks.
    targets : sequence of int
        Class of each track.
    recipe : Recipe
        How segments are chosen.

    Raises
    ------
    StorageError
        Features are damaged or gone, or the folder cannot be written.
    """
    try:
        packed = _copy_frames(folder, store, paths)
    except OSError as error:
        raise storage_error(error, folder) from error
    ends = np.cumsum(packed.lengths)
    counts = np.array([n_segments(n, store.spec, recipe) for n in packed.lengths])
    n_all, dtype = int(counts.sum()), np.min_scalar_type(ends[-1])

    def draw(epoch: int) -> np.ndarray:
        starts, filled = _room(folder, n_all, dtype), 0
        for end, n, content, count in zip(ends, packed.lengths, packed.contents, counts, strict=True):
            starts[filled : filled + count] = end - n + segment_starts(n, content, store.spec, recipe, epoch=epoch)
            filled += count
        return starts

    first = draw(0)
    starts_of = draw if recipe.segments == "fresh" else lambda epoch: first
    class_type = np.result_type(np.uint16, np.min_scalar_type(max(targets, default=0)))
    segment_targets, filled = _room(folder, n_all, class_type), 0
    for target, count in zip(targets, counts, strict=True):
        segment_targets[filled : filled + count] = target
        filled += count
    mean, std = _moments(packed.sums, packed.squares, int(ends[-1]))
    return TrainingSet(packed.mapped, starts_of, segment_targets, mean, std, _room(folder, n_all, np.uint32))


def _copy_frames(folder: Path, store: FeatureStore[FeatureSpec], paths: Iterable[str]) -> _Frames:
    """Copy the frames of all tracks into one mapped file."""
    n_bands = store.spec.n_bands
    contents, lengths = [], []
    sums, squares = np.zeros(n_bands), np.zeros(n_bands)
    with _unnamed_file(folder) as f:
        for path in paths:
            header, frames = read_or_fail(path, store)
            f.write(frames.data)
            for rows in np.split(frames, range(_SUMMED_AT_ONCE, len(frames), _SUMMED_AT_ONCE)):
                sums += rows.sum(axis=0, dtype=np.float64)
                squares += np.square(rows, dtype=np.float64).sum(axis=0)
            contents.append(header.content)
            lengths.append(len(frames))
        f.flush()
        mapped = np.memmap(f, dtype="<f4", mode="r", shape=(sum(lengths), n_bands))
    return _Frames(mapped, np.array(contents, "S"), np.array(lengths), sums, squares)


def _moments(sums: np.ndarray, squares: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each band."""
    mean = sums / n
    std = np.sqrt(np.maximum(squares / n - np.square(mean), 0.0))
    std[std < _SMALLEST_STD] = 1.0
    return mean, std


@contextlib.contextmanager
def _unnamed_file(folder: Path) -> Iterator[BinaryIO]:
    """Open an unnamed file, which the system deletes when it is closed and not mapped, however the process ends."""
    with temporary_file(folder) as f:
        os.unlink(f.name)
        yield f


def _room(folder: Path, n: int, dtype: npt.DTypeLike) -> np.ndarray:
    """Return an array [n] that is mapped from an unnamed file. Raises StorageError."""
    try:
        with _unnamed_file(folder) as f:
            # On a full disk this fails; writing to the mapped array would kill the process.
            os.posix_fallocate(f.fileno(), 0, n * np.dtype(dtype).itemsize)
            return np.asarray(np.memmap(f, dtype, "r+", shape=(n,)))
    except OSError as error:
        raise storage_error(error, folder) from error
