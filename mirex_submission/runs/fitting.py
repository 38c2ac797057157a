"""Train networks on labelled tracks: features, then networks, then the model in the scratch folder."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.errors import ModelError, UsageError, coded
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import bundle as bundles
from mirex_submission.models import card
from mirex_submission.models.bundle import Bundle, TrainedTrack
from mirex_submission.models.prediction import NetworkPredictor
from mirex_submission.networks import engine as engines
from mirex_submission.networks.engine import Engine
from mirex_submission.networks.registry import NETWORKS
from mirex_submission.networks.sizes import ARCHITECTURES, weight_shapes
from mirex_submission.protocol.lists import Track
from mirex_submission.runs import calibrating
from mirex_submission.runs.options import RunOptions, TrainingOptions
from mirex_submission.runs.training_tracks import groups_of, readable_tracks
from mirex_submission.system.atomic import clear_leftovers, make_folder, remove, write_file
from mirex_submission.system.inner import inner_folder
from mirex_submission.system.runtime import check_one_host, versions
from mirex_submission.training import history as histories
from mirex_submission.training.checkpoint import Checkpoint, Checkpoints, clear_checkpoints, key_of
from mirex_submission.training.dataset import TrainingSet, pack
from mirex_submission.training.fit import Task, train_network
from mirex_submission.training.holdout import held_out
from mirex_submission.training.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """A training whose features are extracted: everything that decides its model, and how it runs.

    `split` has the tracks to train on and those that are held out to calibrate the model. `out` marks the tracks to
    train on that recipe.patience holds out. `packages` has name and version of the package of each added network.
    """

    scratch: Path
    recipe: Recipe
    spec: FeatureSpec
    training: TrainingOptions
    run: RunOptions
    classes: tuple[str, ...]
    split: calibrating.Split
    out: np.ndarray
    packages: dict[str, tuple[str, str]]

    @property
    def tracks(self) -> tuple[TrainedTrack, ...]:
        """Return the tracks to train on."""
        return self.split.trained

    @property
    def folder(self) -> Path:
        """Return the folder of the model."""
        return bundles.folder_of(self.scratch, self.training.name)

    @property
    def n_kept(self) -> int:
        """Return how many checkpoints to keep: with patience, the model may be from an epoch before the last."""
        return 1 if self.recipe.patience else 0

    def keys(self) -> dict[str, str]:
        """Return the key of each network's training."""
        contents, labels = [track.content for track in self.tracks], [track.label for track in self.tracks]
        names = {name: NETWORKS.identity(name) if name in self.packages else name for name in self.recipe.networks}
        return {
            network: key_of(name, contents, labels, self.out, self.spec, self.recipe) for network, name in names.items()
        }

    def has_trained(self, model: Bundle) -> bool:
        """Return whether a model was trained on these tracks with this recipe."""
        same = (model.recipe, model.tracks, model.classes) == (self.recipe, self.tracks, self.classes)
        return same and self.split.calibrated(model)


def train(
    scratch: Path,
    tracks: Sequence[Track],
    recipe: Recipe,
    spec: FeatureSpec,
    *,
    training: TrainingOptions,
    run: RunOptions,
    feature_paths: Sequence[str] = (),
    groups: Mapping[str, str] | None = None,
) -> Path:
    """Train a model on labelled tracks and put it into the scratch folder.

    Parameters
    ----------
    scratch : Path
        Folder for features and models.
    tracks : sequence of Track
        Paths and labels; unreadable tracks are left out.
    recipe, spec : Recipe, FeatureSpec
        Settings that decide the model.
    training, run : TrainingOptions, RunOptions
        How the training runs.
    feature_paths : sequence of str
        More tracks of the task, whose features are extracted too.
    groups : mapping of str to str, optional
        Group of each full path, such as the artist. A group is held out as a whole; a track without one is its own.

    Returns
    -------
    Path
        Folder of the model.

    Raises
    ------
    AudioError
        Too many tracks are unreadable, or all of a class.
    UsageError
        $TF_CONFIG names several hosts, or a network cannot be built.
    """
    ends_s = time.monotonic() + (math.inf if training.time_limit is None else training.time_limit)
    check_one_host()
    packages = {network: NETWORKS.package_of(network) for network in recipe.networks if network not in ARCHITECTURES}
    # Start the engine before extraction, as it may fail. Keras on a CPU never fails, and starts only when needed.
    keras = engines.needs_keras(run.chosen_device, recipe.networks, run.engine)
    engine = start_engine(recipe, run) if packages or not keras or run.chosen_device.startswith("gpu") else None
    classes = tuple(sorted({track.label for track in tracks}))
    shapes = {network: _shapes(network, engine, spec, len(classes)) for network in recipe.networks}
    if training.tensorboard:
        make_folder(training.tensorboard)
    clear_leftovers(scratch)
    store = FeatureStore(scratch, spec)
    with bundles.locked(bundles.folder_of(scratch, training.name)):
        readable = readable_tracks(tracks, feature_paths, [store], training, run)
        of_groups = groups_of(readable, groups or {})
        split = calibrating.split(readable, of_groups, calibrate=training.calibrate, seed=recipe.seed)
        out = _held_out(split.trained, recipe, split.groups)
        job = _Job(scratch, recipe, spec, training, run, classes, split, out, packages)
        if _train_job(job, engine, shapes, store, ends_s):
            counts = len(split.trained), len(tracks), len(classes)
            text = "trained model %s on %d of %d tracks, %d classes; the model is in %s"
            log.info(text, recipe.model, *counts, job.folder)
    return job.folder


def _train_job(
    job: _Job,
    engine: Engine | None,
    shapes: Mapping[str, dict[str, tuple[int, ...]]],
    store: FeatureStore[FeatureSpec],
    ends_s: float,
) -> bool:
    """Train and store the model, unless it exists already; return whether it was trained."""
    keys, model = job.keys(), _model(job.folder)
    checkpoints = {network: Checkpoints(job.folder, key, shapes[network]) for network, key in keys.items()}
    if job.training.restart:
        for kept in checkpoints.values():
            kept.clear()
    resumed = {} if job.training.restart else _resumed(job, model, checkpoints)
    finished = all(network in resumed and resumed[network].is_done(job.recipe) for network in keys)
    is_done = model is not None and finished and job.has_trained(model)
    if model and is_done:
        log.info("nothing to do: the model in %s was trained on these tracks with this recipe", job.folder)
        # An earlier run may have been killed before it wrote these files, or they were deleted.
        card.write(job.folder, model)
        _write_history(job, model.history)
        if job.training.tensorboard:
            histories.write_tensorboard(job.training.tensorboard, model.history)
    else:
        if model and not resumed:
            log.info("new training: it will replace the model in %s", job.folder)
        engine = engine or start_engine(job.recipe, job.run)
        log.info("%s", engine.description)
        trained = _train_networks(job, engine, store, checkpoints, resumed, ends_s)
        _store(job, engine, store, trained, keys)
        clear_checkpoints(job.folder, but=list(keys.values()))  # removes those of trainings that this one replaces
    for kept in checkpoints.values():
        kept.clear(but=job.n_kept)
    return not is_done


def start_engine(recipe: Recipe, run: RunOptions) -> Engine:
    """Start the engine that trains. Raises UsageError where several GPUs cannot share a mini-batch."""
    engine = engines.start(
        run.chosen_device,
        threads=run.threads,
        seed=recipe.seed,
        networks=recipe.networks,
        precision=recipe.precision,
        together=True,
        engine=run.engine,
    )
    if recipe.batch_size % engine.n_replicas:
        raise UsageError(
            f"{engine.n_replicas} GPUs cannot share mini-batches of {recipe.batch_size} segments: give a multiple of "
            f"{engine.n_replicas} as --batch-size, or fewer GPUs",
            code="usage.several-gpus",
        )
    return engine


def _shapes(network: str, engine: Engine | None, spec: FeatureSpec, n_classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's weights. Raises UsageError where an added network cannot be built."""
    sizes = {"n_bands": spec.n_bands, "n_frames": spec.n_frames, "n_classes": n_classes}
    if network in ARCHITECTURES:
        return weight_shapes(network, **sizes)
    assert engine
    mean, std = np.zeros(spec.n_bands), np.ones(spec.n_bands)
    weights = engine.initial_weights(network, **sizes, mean=mean, std=std, seed=0)
    return {name: weight.shape for name, weight in weights.items()}


def _held_out(tracks: Sequence[TrainedTrack], recipe: Recipe, groups: Sequence[str]) -> np.ndarray:
    """Return which tracks recipe.patience holds out, bool [n_tracks]."""
    if not recipe.patience:
        return np.zeros(len(tracks), bool)
    contents = [track.content for track in tracks]
    out = held_out([track.label for track in tracks], contents, groups, seed=recipe.seed)
    log.info("%d of %d tracks are held out", out.sum(), len(out))
    return out


def _model(folder: Path) -> Bundle | None:
    """Load the networks in a folder; None if there are none."""
    with contextlib.suppress(ModelError):
        model = bundles.load(folder)
        return model if isinstance(model, Bundle) else None
    return None


def _resumed(job: _Job, model: Bundle | None, checkpoints: Mapping[str, Checkpoints]) -> dict[str, Checkpoint]:
    """Return where the training of each network resumes: its newest checkpoint, or the model itself."""
    resumed = {}
    for network, kept in checkpoints.items():
        candidates = [kept.load(job.recipe)]
        # With patience, the weights of the model may be from an epoch before the last.
        if model and model.keys.get(network) == kept.key and not job.recipe.patience:
            history = model.history[network]
            if len(history) <= job.recipe.epochs:
                with contextlib.suppress(ModelError):
                    candidates.append(Checkpoint(bundles.load_weights(job.folder, model, network), history))
        whole = [checkpoint for checkpoint in candidates if checkpoint]
        if whole:
            resumed[network] = max(whole, key=lambda checkpoint: len(checkpoint.history))
    return resumed


def _train_networks(
    job: _Job,
    engine: Engine,
    store: FeatureStore[FeatureSpec],
    checkpoints: Mapping[str, Checkpoints],
    resumed: Mapping[str, Checkpoint],
    ends_s: float,
) -> dict[str, Checkpoint]:
    """Train the networks of the recipe one after the other; each gets the same share of the remaining time."""
    data = _pack(job, store, held_out=False)
    validation = _pack(job, store, held_out=True) if job.recipe.patience else None
    trained = {}
    for k, (network, kept) in enumerate(checkpoints.items()):
        now_s = time.monotonic()
        trained[network] = train_network(
            Task(network, data, len(job.classes), job.spec, job.recipe, validation),
            engine,
            checkpoint=resumed.get(network),
            save=kept.save,
            save_every_s=job.training.checkpoint_every,
            ends_s=now_s + (ends_s - now_s) / (len(checkpoints) - k),
        )
    return trained


def _pack(job: _Job, store: FeatureStore[FeatureSpec], *, held_out: bool) -> TrainingSet:
    tracks = [track for track, is_out in zip(job.tracks, job.out, strict=True) if is_out == held_out]
    targets = [job.classes.index(track.label) for track in tracks]
    return pack(inner_folder(job.scratch, "tmp"), store, (track.path for track in tracks), targets, job.recipe)


def _store(
    job: _Job,
    engine: Engine,
    store: FeatureStore[FeatureSpec],
    trained: Mapping[str, Checkpoint],
    keys: dict[str, str],
) -> None:
    """Put the model into its folder, with the history and the model card."""
    folder, history = job.folder, {network: checkpoint.history for network, checkpoint in trained.items()}
    for name in ("history.csv", "history.png"):  # of the previous model
        remove(folder / name)
    _write_history(job, history)
    files = {name: bundles.save_weights(folder, last.best or last.weights) for name, last in trained.items()}
    model = Bundle(
        job.classes, job.spec, job.recipe, job.tracks, files, keys, versions(), engine.description, history,
        job.packages,
    )  # fmt: skip
    if job.split.held:
        predictor = NetworkPredictor(folder, model, engine)
        model = calibrating.calibrated(folder, model, predictor, [store], job.split)
    card.write(folder, model)
    bundles.save(folder, model)
    if job.training.tensorboard:
        histories.write_tensorboard(job.training.tensorboard, history)


def _write_history(job: _Job, history: histories.Histories) -> None:
    """Write the table and the picture of the history where they are missing."""
    table, picture = job.folder / "history.csv", job.folder / "history.png"
    if not table.exists():
        write_file(table, histories.as_csv(history).encode())
    if not job.training.no_picture and not picture.exists():
        _draw(history, picture)


def _draw(history: histories.Histories, file: Path) -> None:
    try:
        picture = histories.draw(history)
    except Exception as error:  # noqa: BLE001 - a failed picture must not stop the training
        log.warning("%s", coded(f"{file} is not drawn: {error}", code="training.no-picture"))
    else:
        write_file(file, picture)
