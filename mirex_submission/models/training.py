"""Training: packed frames -> standardisation -> mini-batches of segments -> a fitted network, the paper's way."""

from __future__ import annotations

import functools
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from mirex_submission.errors import StorageError, TrainingError
from mirex_submission.features.extraction import read
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import architectures
from mirex_submission.models.recipe import Recipe
from mirex_submission.models.segments import batches, cut, segment_starts
from mirex_submission.system.atomic import storage_error
from mirex_submission.system.progress import Progress, duration
from mirex_submission.system.runtime import compile_with_xla, on_tensorflow_cpu

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSet:
    """All frames of the training tracks in one memory-mapped array, and the segments drawn from them.

    frames : float32 [shape=(all frames, n_bands)]; starts, targets : int64 [shape=(n_segments,)], the first row and
    the class of each segment; mean, std : float64 [shape=(n_bands,)], of the frames.
    """

    frames: np.ndarray
    starts: np.ndarray
    targets: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def pack(file: Path, store: FeatureStore, paths: Sequence[str], targets: Sequence[int], recipe: Recipe) -> TrainingSet:
    """Read and verify the features of every track into one array, mapped from `file`.

    A mapped file, so that a track takes only 16 bytes a segment in memory. It may be deleted at once: the system keeps
    it as long as it is mapped, and no longer, however the process ends. Raises StorageError.
    """
    spec = store.spec
    starts, classes = [], []
    sums, squares = np.zeros(spec.n_bands), np.zeros(spec.n_bands)
    n_rows = 0
    try:
        with open(file, "wb") as f:
            for path, target in zip(paths, targets, strict=True):
                stored = read(path, store)
                if stored is None:
                    raise StorageError(f"{store.file_of(path)}: the features of {path} are damaged or gone, for good")
                header, frames = stored
                f.write(frames.tobytes())
                sums += frames.sum(axis=0, dtype=np.float64)
                squares += np.square(frames, dtype=np.float64).sum(axis=0)
                starts.append(n_rows + segment_starts(len(frames), header.content, spec, recipe))
                classes.append(np.full(len(starts[-1]), target))
                n_rows += len(frames)
    except OSError as error:
        raise storage_error(error, file) from error
    mean = sums / n_rows
    std = np.sqrt(np.maximum(squares / n_rows - np.square(mean), 0.0))
    # A band that never moves in training tells nothing: it is centred, not blown up.
    std[std < 1e-3] = 1.0
    mapped = np.memmap(file, dtype="<f4", mode="r", shape=(n_rows, spec.n_bands))
    return TrainingSet(mapped, np.concatenate(starts), np.concatenate(classes), mean, std)


def fused_layers(architecture: str) -> architectures.Fuse | None:
    """Our own kernels for convolution and pooling where they are the faster ones: on a CPU with TensorFlow.

    Their gain is with the large filters of models 2 and 3; on model 1 Keras' own layers were 4 to 10 % faster.
    """
    if architecture == "1" or not on_tensorflow_cpu():
        return None
    from mirex_submission.models.fused import ConvolutionMaxPool

    return ConvolutionMaxPool


def train_network(
    architecture: str, data: TrainingSet, *, n_classes: int, spec: FeatureSpec, recipe: Recipe
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Fit one network; returns it with the loss and accuracy of every epoch."""
    build = functools.partial(
        architectures.build,
        architecture,
        n_bands=spec.n_bands,
        n_frames=spec.n_frames,
        n_classes=n_classes,
        seed=recipe.seed,
    )
    model = build(fuse=fused_layers(architecture))
    architectures.set_standardisation(model, data.mean, data.std)
    model.compile(
        optimizer=keras.optimizers.SGD(recipe.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=compile_with_xla(),
    )
    n_segments = len(data.starts)
    task = f"training model {architecture}"
    log.info(
        "%s: %d classes, %d segments an epoch, %d epochs of %d steps, %d weights",
        task, n_classes, n_segments, recipe.epochs, math.ceil(n_segments / recipe.batch_size), model.count_params(),
    )  # fmt: skip
    progress = Progress(task, n_segments * recipe.epochs, unit="segments")
    history: list[dict[str, float]] = []
    ends_s: list[float] = []
    for epoch in range(recipe.epochs):
        sums: Counter[str] = Counter()
        for batch in batches(n_segments, recipe, epoch):
            x = cut(data.frames, data.starts[batch], spec.n_frames)
            logs = model.train_on_batch(x, data.targets[batch], return_dict=True)
            sums.update({name: float(value) * len(batch) for name, value in logs.items()})
            said = f"epoch {epoch + 1} of {recipe.epochs}"
            if history:
                said += f", loss {history[-1]['loss']:.4f}, accuracy {100 * history[-1]['accuracy']:.1f} %"
            progress.advance(len(batch), note=said)
        history.append({name: total / n_segments for name, total in sums.items()})
        if not math.isfinite(history[-1]["loss"]):
            raise TrainingError(
                f"{task}: the loss is no number any more after epoch {epoch + 1}: choose a smaller --learning-rate"
            )
        ends_s.append(progress.elapsed_s)
        if len(ends_s) == 2:  # the first epoch also holds the compiling
            left_s = (ends_s[1] - ends_s[0]) * (recipe.epochs - 2)
            log.info("%s: 2 epochs took %s, about %s left", task, duration(ends_s[1]), duration(left_s))
    progress.close()
    log.info(
        "%s: done in %s, loss %.4f, training accuracy %.1f %%",
        task, duration(progress.elapsed_s), history[-1]["loss"], 100 * history[-1]["accuracy"],
    )  # fmt: skip
    trained = build()
    trained.set_weights(model.get_weights())
    architectures.set_standardisation(trained, data.mean, data.std)  # puts the weights of that layer to use
    return trained, history
