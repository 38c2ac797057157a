"""Training: packed frames -> standardisation -> mini-batches of segments -> a fitted network, the paper's way."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mirex_submission.errors import StorageError, TrainingError
from mirex_submission.features.extraction import read
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.networks.engine import Engine, Network
from mirex_submission.networks.epoch import Epoch, cut
from mirex_submission.system.atomic import storage_error, temporary_file
from mirex_submission.system.progress import Progress, duration
from mirex_submission.training.checkpoint import State
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import make_epoch, n_segments, segment_starts

log = logging.getLogger(__name__)

_VALIDATED_AT_ONCE = 1000  # segments
_SUMMED_AT_ONCE = 1 << 15  # frames, 19 minutes: the squares of a long track would fill memory


@dataclass(frozen=True)
class TrainingSet:
    """All frames of the training tracks, and the segments drawn from them, in arrays that are mapped from files.

    frames : float32 [shape=(all frames, n_bands)]; starts_of : epoch -> the first row of each segment, integers
    [shape=(n_segments,)]; targets : the class of each segment, uint16; mean, std : float64 [shape=(n_bands,)], of the
    frames; order_room : uint32 [shape=(n_segments,)], for an epoch's order.
    """

    frames: np.ndarray
    starts_of: Callable[[int], np.ndarray]
    targets: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    order_room: np.ndarray

    def class_weights(self, n_classes: int) -> np.ndarray:
        """Inversely as each class's share of the segments, 1 on average over the segments; float32 [n_classes]."""
        counts = np.bincount(self.targets, minlength=n_classes)
        return np.asarray(len(self.targets) / (n_classes * np.maximum(counts, 1)), np.float32)


def pack(
    folder: Path, store: FeatureStore, paths: Iterable[str], targets: Sequence[int], recipe: Recipe
) -> TrainingSet:
    """Read and verify the features of every track into one array, mapped from a file in `folder`.

    Mapped files, here and for all that grows with the segments, so that many tracks take no memory that the system
    could not use otherwise. Raises StorageError.
    """
    spec = store.spec
    contents, lengths = [], []
    sums, squares = np.zeros(spec.n_bands), np.zeros(spec.n_bands)
    try:
        with _nameless(folder) as f:
            for path in paths:
                stored = read(path, store)
                if stored is None:
                    raise StorageError(f"{store.file_of(path)}: the features of {path} are damaged or gone, for good")
                header, frames = stored
                f.write(frames.data)
                for rows in np.split(frames, range(_SUMMED_AT_ONCE, len(frames), _SUMMED_AT_ONCE)):
                    sums += rows.sum(axis=0, dtype=np.float64)
                    squares += np.square(rows, dtype=np.float64).sum(axis=0)
                contents.append(header.content)
                lengths.append(len(frames))
            f.flush()
            mapped = np.memmap(f, dtype="<f4", mode="r", shape=(sum(lengths), spec.n_bands))
    except OSError as error:
        raise storage_error(error, folder) from error
    hashes, sizes = np.array(contents, "S"), np.array(lengths)  # a quarter of the lists' memory
    del contents, lengths
    ends = np.cumsum(sizes)
    mean = sums / ends[-1]
    std = np.sqrt(np.maximum(squares / ends[-1] - np.square(mean), 0.0))
    # A band that never moves in training tells nothing: it is centred, not blown up.
    std[std < 1e-3] = 1.0

    counts = np.array([n_segments(n, spec, recipe) for n in sizes])
    n_all, type_of_starts = int(counts.sum()), np.min_scalar_type(ends[-1])

    def drawn(epoch: int) -> np.ndarray:
        starts, filled = _room(folder, n_all, type_of_starts), 0
        for end, n, content, count in zip(ends, sizes, hashes, counts, strict=True):
            starts[filled : filled + count] = end - n + segment_starts(n, content, spec, recipe, epoch=epoch)
            filled += count
        return starts

    first = drawn(0)
    starts_of = drawn if recipe.segments == "fresh" else lambda epoch: first
    of_segments, filled = _room(folder, n_all, np.uint16), 0
    for target, count in zip(targets, counts, strict=True):
        of_segments[filled : filled + count] = target
        filled += count
    return TrainingSet(mapped, starts_of, of_segments, mean, std, _room(folder, n_all, np.uint32))


@contextlib.contextmanager
def _nameless(folder: Path) -> Iterator[BinaryIO]:
    """A file without a name: the system keeps it as long as it is mapped, and no longer, however the process ends."""
    with temporary_file(folder) as f:
        os.unlink(f.name)
        yield f


def _room(folder: Path, n: int, dtype: npt.DTypeLike) -> np.ndarray:
    """An array [shape=(n,)] mapped from a nameless file. Raises StorageError."""
    try:
        with _nameless(folder) as f:
            os.posix_fallocate(f.fileno(), 0, n * np.dtype(dtype).itemsize)  # a full disk is to be an error, no SIGBUS
            return np.asarray(np.memmap(f, dtype, "r+", shape=(n,)))
    except OSError as error:
        raise storage_error(error, folder) from error


def train_network(
    architecture: str,
    data: TrainingSet,
    engine: Engine,
    *,
    n_classes: int,
    spec: FeatureSpec,
    recipe: Recipe,
    validation: TrainingSet | None = None,
    state: State | None = None,
    save: Callable[[State], None] = lambda state: None,
    save_every_s: float = 300.0,
    ends_s: float = math.inf,
) -> State:
    """Fit one network.

    validation : of held-out tracks: after every epoch their loss is measured, the best weights are kept, and the
        training ends as recipe.patience says.
    state : to go on from; None starts a new training. save : called after an epoch, at most every `save_every_s`.
    ends_s : when to end (time.monotonic): no epoch is begun that would probably last longer. The first always is.

    Returns the state after the last epoch. Raises TrainingError if the loss is no number any more.
    """
    sizes = {"n_bands": spec.n_bands, "n_frames": spec.n_frames, "n_classes": n_classes}
    if state is None:
        weights = engine.initial_weights(architecture, **sizes, mean=data.mean, std=data.std, seed=recipe.seed)
        state = State(weights)
    network = engine.network(architecture, state.weights, n_frames=spec.n_frames)
    n_drawn, n_done = len(data.targets), len(state.history)
    task = f"training model {architecture}"
    n_weights = sum(weight.size for name, weight in state.weights.items() if not name.startswith("standardise"))
    log.info(
        "%s: %d classes, %d segments an epoch, %d epochs of %d steps, %d weights",
        task, n_classes, n_drawn, recipe.epochs, math.ceil(n_drawn / recipe.batch_size), n_weights,
    )  # fmt: skip
    if n_done:
        log.info("%s: goes on after epoch %d of %d", task, n_done, recipe.epochs)
    class_weights = data.class_weights(n_classes) if recipe.class_weights == "balanced" else None
    progress = Progress(task, n_drawn * (recipe.epochs - n_done), unit="segments")
    saved_s = time.monotonic()
    while not state.is_done(recipe):
        began_s, n = time.monotonic(), len(state.history)
        epoch = make_epoch(
            data.frames, data.starts_of(n), data.targets, recipe,
            n_frames=spec.n_frames, number=n, class_weights=class_weights, room=data.order_room,
        )  # fmt: skip
        found = _pass(network, epoch, progress, f"epoch {n + 1} of {recipe.epochs}{_as_text(state.history)}")
        weights = network.weights
        # The loss is of the weights before each step.
        if not math.isfinite(found["loss"]) or not all(np.isfinite(weight).all() for weight in weights.values()):
            raise TrainingError(
                f"{task}: the loss is no number any more after epoch {n + 1}: choose a smaller --learning-rate"
            )
        best = state.best
        if validation:
            found |= _validate(network, validation, spec.n_frames)
            if not state.history or found["validation_loss"] < state.history[state.best_epoch]["validation_loss"]:
                best = weights
        state = State(weights, [*state.history, found], best)
        now_s, n_left = time.monotonic(), recipe.epochs - n - 1
        epoch_s = now_s - began_s
        if n == n_done and n_left:
            log.info(
                "%s: an epoch takes %s, the %d left %s%s",
                task, duration(epoch_s), n_left, duration(epoch_s * n_left), " at most" if validation else "",
            )  # fmt: skip
            if now_s + epoch_s * n_left > ends_s:
                fit = int(max(0.0, ends_s - now_s) / epoch_s)
                log.warning("%s: the time limit leaves time for about %d of these %d epochs", task, fit, n_left)
        # Should hosts differ in their clocks or their last bits, one that ends must not leave the others waiting.
        ends = engine.on_all_hosts(state.is_done(recipe) or now_s + 1.1 * epoch_s > ends_s)
        if any(ends):
            if not state.is_done(recipe):
                log.warning("%s: ends with epoch %d of %d for its time limit", task, n + 1, recipe.epochs)
            break
        if now_s - saved_s >= save_every_s:
            save(state)
            saved_s = time.monotonic()
    progress.close()
    save(state)
    if len(state.history) > n_done:
        log.info("%s: done in %s%s", task, duration(progress.elapsed_s), _as_text(state.history))
    if validation:
        log.info("%s: the model is that of epoch %d, the best on the held-out tracks", task, state.best_epoch + 1)
    return state


def _pass(network: Network, epoch: Epoch, progress: Progress, said: str) -> dict[str, float]:
    loss, n_right = 0.0, 0
    for n_done, losses, right in network.train(epoch):
        loss, n_right = loss + losses, n_right + right
        progress.advance(n_done, note=said)
    return {"loss": loss / len(epoch.starts), "accuracy": n_right / len(epoch.starts)}


def _validate(network: Network, data: TrainingSet, n_frames: int) -> dict[str, float]:
    starts, loss, n_right = data.starts_of(0), 0.0, 0
    for first in range(0, len(starts), _VALIDATED_AT_ONCE):
        part = slice(first, first + _VALIDATED_AT_ONCE)
        found, targets = network.probabilities(cut(data.frames, starts[part], n_frames)), data.targets[part]
        of_target = found[np.arange(len(targets)), targets].astype(np.float64)
        loss -= float(np.log(np.maximum(of_target, np.finfo(np.float32).tiny)).sum())
        n_right += int((found.argmax(axis=1) == targets).sum())
    return {"validation_loss": loss / len(starts), "validation_accuracy": n_right / len(starts)}


def _as_text(history: Sequence[Mapping[str, float]]) -> str:
    """The last epoch's figures."""
    if not history:
        return ""
    last = history[-1]
    said = f", loss {last['loss']:.4f}, training accuracy {100 * last['accuracy']:.1f} %"
    if "validation_loss" in last:
        said += f", held-out {last['validation_loss']:.4f}, {100 * last['validation_accuracy']:.1f} %"
    return said
