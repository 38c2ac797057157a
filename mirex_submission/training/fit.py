"""Training of one network: epochs of mini-batches of segments, until the recipe or the time limit ends it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mirex_submission.errors import TrainingError, coded
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.networks.engine import Engine, Network
from mirex_submission.networks.epoch import Epoch, cut
from mirex_submission.system.progress import Progress, duration
from mirex_submission.training.checkpoint import Checkpoint
from mirex_submission.training.dataset import TrainingSet
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import make_epoch

log = logging.getLogger(__name__)

_VALIDATED_AT_ONCE = 1000  # segments
_TIME_MARGIN = 1.1  # an epoch may take longer than the one before


@dataclass(frozen=True)
class Task:
    """One network, its training data and its settings.

    Parameters
    ----------
    architecture : str
        Name of the network.
    data : TrainingSet
        Segments to train on.
    n_classes : int
        Number of classes.
    spec : FeatureSpec
        Size of a segment.
    recipe : Recipe
        Settings of the training.
    validation : TrainingSet, optional
        Segments of held-out tracks: their loss is measured after every epoch, the best weights are kept, and the
        training ends as `recipe.patience` says.
    """

    architecture: str
    data: TrainingSet
    n_classes: int
    spec: FeatureSpec
    recipe: Recipe
    validation: TrainingSet | None = None

    def __str__(self) -> str:
        return f"training model {self.architecture}"


def train_network(
    task: Task,
    engine: Engine,
    *,
    checkpoint: Checkpoint | None = None,
    save: Callable[[Checkpoint], None] = lambda checkpoint: None,
    save_every_s: float = 300.0,
    ends_s: float = math.inf,
) -> Checkpoint:
    """Train one network.

    Parameters
    ----------
    task : Task
        The network and its data.
    engine : Engine
        Engine that computes the network.
    checkpoint : Checkpoint, optional
        Checkpoint to resume from; None starts a new training.
    save, save_every_s : callable, float
        Function that stores a checkpoint. It is called at the end, and before that at most once in `save_every_s`
        seconds.
    ends_s : float
        Time limit, by `time.monotonic`: an epoch starts only if it will probably end before. The first one always
        starts.

    Returns
    -------
    Checkpoint
        Weights and history after the last epoch.

    Raises
    ------
    TrainingError
        The loss became NaN or infinite.
    """
    checkpoint = checkpoint or _initial(task, engine)
    network = engine.network(task.architecture, checkpoint.weights, n_frames=task.spec.n_frames)
    n_epochs, n_resumed = task.recipe.epochs, len(checkpoint.history)
    _log_start(task, checkpoint)
    progress = Progress(str(task), len(task.data.targets) * (n_epochs - n_resumed), unit="segments")
    saved_s = time.monotonic()
    while not checkpoint.is_done(task.recipe):
        began_s = time.monotonic()
        checkpoint = _train_epoch(task, network, checkpoint, progress)
        now_s, n_done = time.monotonic(), len(checkpoint.history)
        epoch_s = now_s - began_s
        if n_done == n_resumed + 1 and n_done < n_epochs:
            _log_expected(task, epoch_s, n_epochs - n_done, ends_s - now_s)
        if checkpoint.is_done(task.recipe):
            break
        if now_s + _TIME_MARGIN * epoch_s > ends_s:
            text = f"{task}: stopped after epoch {n_done} of {n_epochs}: another epoch would exceed the time limit"
            log.warning("%s", coded(text, code="training.time-limit"))
            break
        if now_s - saved_s >= save_every_s:
            save(checkpoint)
            saved_s = time.monotonic()
    progress.close()
    save(checkpoint)
    _log_end(task, checkpoint, n_resumed, progress.elapsed_s)
    return checkpoint


def _initial(task: Task, engine: Engine) -> Checkpoint:
    data, spec = task.data, task.spec
    shape = {"n_bands": spec.n_bands, "n_frames": spec.n_frames, "n_classes": task.n_classes}
    return Checkpoint(
        engine.initial_weights(task.architecture, **shape, mean=data.mean, std=data.std, seed=task.recipe.seed)
    )


def _train_epoch(task: Task, network: Network, checkpoint: Checkpoint, progress: Progress) -> Checkpoint:
    """Train one more epoch, and measure the loss on held-out tracks."""
    data, recipe, number = task.data, task.recipe, len(checkpoint.history)
    epoch = make_epoch(
        data.frames,
        data.starts_of(number),
        data.targets,
        recipe,
        n_frames=task.spec.n_frames,
        number=number,
        class_weights=data.class_weights(task.n_classes) if recipe.class_weights == "balanced" else None,
        room=data.order_room,
    )
    note = f"epoch {number + 1} of {recipe.epochs}{_figures(checkpoint.history)}"
    figures = _train_batches(network, epoch, progress, note)
    weights = network.weights
    # Each loss is computed before its step, so the loss cannot show that the last step diverged.
    if not math.isfinite(figures["loss"]) or not all(np.isfinite(weight).all() for weight in weights.values()):
        raise TrainingError(
            f"{task}: the loss became NaN or infinite in epoch {number + 1}: choose a smaller --learning-rate",
            code="training.diverged",
        )
    best = checkpoint.best
    if task.validation:
        figures |= _validate(network, task.validation, task.spec.n_frames)
        history = checkpoint.history
        if not history or figures["validation_loss"] < history[checkpoint.best_epoch]["validation_loss"]:
            best = weights
    return Checkpoint(weights, [*checkpoint.history, figures], best)


def _train_batches(network: Network, epoch: Epoch, progress: Progress, note: str) -> dict[str, float]:
    """Train on all mini-batches of an epoch; return the mean loss and the accuracy."""
    loss, n_correct = 0.0, 0
    for n_segments, loss_sum, n in network.train(epoch):
        loss, n_correct = loss + loss_sum, n_correct + n
        progress.advance(n_segments, note=note)
    return {"loss": loss / len(epoch.starts), "accuracy": n_correct / len(epoch.starts)}


def _validate(network: Network, data: TrainingSet, n_frames: int) -> dict[str, float]:
    """Compute the mean loss and the accuracy on held-out segments."""
    starts, loss, n_correct = data.starts_of(0), 0.0, 0
    for first in range(0, len(starts), _VALIDATED_AT_ONCE):
        part = slice(first, first + _VALIDATED_AT_ONCE)
        probabilities, targets = network.probabilities(cut(data.frames, starts[part], n_frames)), data.targets[part]
        target_probabilities = probabilities[np.arange(len(targets)), targets].astype(np.float64)
        loss -= float(np.log(np.maximum(target_probabilities, np.finfo(np.float32).tiny)).sum())
        n_correct += int((probabilities.argmax(axis=1) == targets).sum())
    return {"validation_loss": loss / len(starts), "validation_accuracy": n_correct / len(starts)}


def _log_start(task: Task, checkpoint: Checkpoint) -> None:
    n_weights = sum(w.size for name, w in checkpoint.weights.items() if not name.startswith("standardise"))
    n_segments, recipe, n_resumed = len(task.data.targets), task.recipe, len(checkpoint.history)
    log.info(
        "%s: %d classes, %d segments an epoch, %d epochs of %d steps, %d weights",
        task, task.n_classes, n_segments, recipe.epochs, math.ceil(n_segments / recipe.batch_size), n_weights,
    )  # fmt: skip
    if n_resumed:
        log.info("%s: resumes after epoch %d of %d", task, n_resumed, recipe.epochs)


def _log_expected(task: Task, epoch_s: float, n_left: int, left_s: float) -> None:
    """Log the time that the remaining epochs will take, and warn if the time limit is shorter."""
    limit = "at most " if task.validation else ""
    left = duration(epoch_s * n_left)
    log.info("%s: an epoch takes %s, the remaining %d take %s%s", task, duration(epoch_s), n_left, limit, left)
    if epoch_s * n_left > left_s:
        n_fit = int(max(0.0, left_s) / epoch_s)
        text = f"{task}: the time limit leaves time for about {n_fit} of these {n_left} epochs"
        log.warning("%s", coded(text, code="training.time-limit"))


def _log_end(task: Task, checkpoint: Checkpoint, n_resumed: int, elapsed_s: float) -> None:
    if len(checkpoint.history) > n_resumed:
        log.info("%s: done in %s%s", task, duration(elapsed_s), _figures(checkpoint.history))
    if task.validation:
        best = checkpoint.best_epoch + 1
        log.info("%s: the model has the weights of epoch %d, the best on the held-out tracks", task, best)


def _figures(history: Sequence[Mapping[str, float]]) -> str:
    """Format the figures of the last epoch."""
    if not history:
        return ""
    last = history[-1]
    text = f", loss {last['loss']:.4f}, training accuracy {100 * last['accuracy']:.1f} %"
    if "validation_loss" in last:
        text += f", held-out {last['validation_loss']:.4f}, {100 * last['validation_accuracy']:.1f} %"
    return text
