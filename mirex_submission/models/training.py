"""Training: packed frames -> standardisation -> mini-batches of segments -> a fitted network, the paper's way."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.errors import StorageError, TrainingError
from mirex_submission.features.extraction import read
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import architectures
from mirex_submission.models.checkpoint import State
from mirex_submission.models.engine import Engine
from mirex_submission.models.recipe import Recipe
from mirex_submission.models.segments import batches, cut, n_segments, segment_starts
from mirex_submission.system.atomic import storage_error
from mirex_submission.system.progress import Progress, duration

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSet:
    """All frames of the training tracks in one memory-mapped array, and the segments drawn from them.

    frames : float32 [shape=(all frames, n_bands)]; starts_of : epoch -> the first row of each segment, integers
    [shape=(n_segments,)]; targets : the class of each segment, uint16; mean, std : float64 [shape=(n_bands,)], of the
    frames.
    """

    frames: np.ndarray
    starts_of: Callable[[int], np.ndarray]
    targets: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def class_weights(self, n_classes: int) -> np.ndarray:
        """Inversely as each class's share of the segments, 1 on average over the segments; float32 [n_classes]."""
        counts = np.bincount(self.targets, minlength=n_classes)
        return np.asarray(len(self.targets) / (n_classes * np.maximum(counts, 1)), np.float32)


def pack(file: Path, store: FeatureStore, paths: Sequence[str], targets: Sequence[int], recipe: Recipe) -> TrainingSet:
    """Read and verify the features of every track into one array, mapped from `file`.

    A mapped file, so that a track takes only some bytes a segment in memory. It has no name: the system keeps it as
    long as it is mapped, and no longer, however the process ends. Raises StorageError.
    """
    spec = store.spec
    contents, lengths = [], []
    sums, squares = np.zeros(spec.n_bands), np.zeros(spec.n_bands)
    try:
        with open(file, "w+b") as f:
            file.unlink()  # now: a process that is killed leaves nothing
            for path in paths:
                stored = read(path, store)
                if stored is None:
                    raise StorageError(f"{store.file_of(path)}: the features of {path} are damaged or gone, for good")
                header, frames = stored
                f.write(frames.tobytes())
                sums += frames.sum(axis=0, dtype=np.float64)
                squares += np.square(frames, dtype=np.float64).sum(axis=0)
                contents.append(header.content)
                lengths.append(len(frames))
            f.flush()
            mapped = np.memmap(f, dtype="<f4", mode="r", shape=(sum(lengths), spec.n_bands))
    except OSError as error:
        raise storage_error(error, file) from error
    ends = np.cumsum(lengths)
    mean = sums / ends[-1]
    std = np.sqrt(np.maximum(squares / ends[-1] - np.square(mean), 0.0))
    # A band that never moves in training tells nothing: it is centred, not blown up.
    std[std < 1e-3] = 1.0

    counts = [n_segments(n, spec, recipe) for n in lengths]

    def drawn(epoch: int) -> np.ndarray:
        starts, filled = np.empty(sum(counts), np.min_scalar_type(ends[-1])), 0
        for end, n, content, count in zip(ends.tolist(), lengths, contents, counts, strict=True):
            starts[filled : filled + count] = end - n + segment_starts(n, content, spec, recipe, epoch=epoch)
            filled += count
        return starts

    first = drawn(0)
    starts_of = drawn if recipe.segments == "fresh" else lambda epoch: first
    return TrainingSet(mapped, starts_of, np.repeat(np.asarray(targets, np.uint16), counts), mean, std)


def train_network(
    architecture: str,
    data: TrainingSet,
    engine: Engine,
    *,
    n_classes: int,
    spec: FeatureSpec,
    recipe: Recipe,
    state: State | None = None,
    save: Callable[[State], None] = lambda state: None,
    save_every_s: float = 300.0,
    ends_s: float = math.inf,
) -> State:
    """Fit one network.

    state : to go on from; None starts a new training. save : called after an epoch, at most every `save_every_s`.
    ends_s : when to end (time.monotonic): no epoch is begun that would probably last longer. The first always is.

    Returns the state after the last epoch. Raises TrainingError if the loss is no number any more.
    """
    sizes = {"n_bands": spec.n_bands, "n_frames": spec.n_frames, "n_classes": n_classes}
    if state is None:
        weights = architectures.initial_weights(architecture, **sizes, mean=data.mean, std=data.std, seed=recipe.seed)
        state = State(weights)
    network = engine.network(architecture, state.weights, n_frames=spec.n_frames)
    history = list(state.history)
    n_drawn, n_done = len(data.targets), len(history)
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
    for epoch in range(n_done, recipe.epochs):
        began_s = time.monotonic()
        network.begin_epoch(recipe.seed, epoch)
        loss, n_right = 0.0, 0
        starts = data.starts_of(epoch)
        for batch in batches(n_drawn, recipe, epoch):
            targets = data.targets[batch]
            found = network.train(
                cut(data.frames, starts[batch], spec.n_frames),
                targets,
                learning_rate=recipe.learning_rate,
                weights=None if class_weights is None else class_weights[targets],
            )
            loss, n_right = loss + found[0], n_right + found[1]
            said = f"epoch {epoch + 1} of {recipe.epochs}"
            if history:
                said += f", loss {history[-1]['loss']:.4f}, accuracy {100 * history[-1]['accuracy']:.1f} %"
            progress.advance(len(batch), note=said)
        history.append({"loss": loss / n_drawn, "accuracy": n_right / n_drawn})
        # The loss is of the weights before each step.
        if not math.isfinite(loss) or not all(np.isfinite(weight).all() for weight in network.weights.values()):
            raise TrainingError(
                f"{task}: the loss is no number any more after epoch {epoch + 1}: choose a smaller --learning-rate"
            )
        now_s = time.monotonic()
        epoch_s, n_left = now_s - began_s, recipe.epochs - epoch - 1
        if epoch == n_done and n_left:
            log.info(
                "%s: an epoch takes %s, the %d left %s", task, duration(epoch_s), n_left, duration(epoch_s * n_left)
            )
            if now_s + epoch_s * n_left > ends_s:
                fit = int(max(0.0, ends_s - now_s) / epoch_s)
                log.warning("%s: the time limit leaves time for about %d of these %d epochs", task, fit, n_left)
        if n_left and now_s + 1.1 * epoch_s > ends_s:
            log.warning("%s: ends with epoch %d of %d for its time limit", task, epoch + 1, recipe.epochs)
            break
        if n_left and now_s - saved_s >= save_every_s:
            save(State(network.weights, list(history)))
            saved_s = time.monotonic()
    progress.close()
    state = State(network.weights, history)
    save(state)
    if history:
        log.info(
            "%s: done in %s, loss %.4f, training accuracy %.1f %%",
            task, duration(progress.elapsed_s), history[-1]["loss"], 100 * history[-1]["accuracy"],
        )  # fmt: skip
    return state
