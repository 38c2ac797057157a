"""Train a classifier of views on labelled tracks: features, then the classifier, then the model."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mirex_submission.errors import ModelError
from mirex_submission.features import extraction
from mirex_submission.features.spec import ViewSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.features.views import OWN, PLUGINS, track_vector
from mirex_submission.models import bundle as bundles
from mirex_submission.models import card
from mirex_submission.models.bundle import CLASSIFIER, TrainedTrack, ViewBundle
from mirex_submission.models.prediction import ViewPredictor
from mirex_submission.protocol.lists import Track
from mirex_submission.runs import calibrating
from mirex_submission.runs.options import RunOptions, TrainingOptions
from mirex_submission.runs.training_tracks import groups_of, readable_tracks
from mirex_submission.system.atomic import clear_leftovers, digest, remove
from mirex_submission.system.progress import duration
from mirex_submission.system.runtime import versions
from mirex_submission.training import svm
from mirex_submission.training.checkpoint import clear_checkpoints
from mirex_submission.training.recipe import ViewRecipe

log = logging.getLogger(__name__)

_VERSION = 1  # raise it whenever the same vectors would give another classifier


def train(
    scratch: Path,
    tracks: Sequence[Track],
    recipe: ViewRecipe,
    specs: Sequence[ViewSpec],
    *,
    training: TrainingOptions,
    run: RunOptions,
    feature_paths: Sequence[str] = (),
    groups: Mapping[str, str] | None = None,
) -> Path:
    """Train a classifier of views on labelled tracks and put it into the scratch folder.

    Parameters
    ----------
    scratch : Path
        Folder for features and models.
    tracks : sequence of Track
        Paths and labels; unreadable tracks are left out.
    recipe, specs : ViewRecipe, sequence of ViewSpec
        Settings that decide the model, and its views.
    training, run : TrainingOptions, RunOptions
        How the training runs.
    feature_paths : sequence of str
        More tracks of the task, whose features are extracted too.
    groups : mapping of str to str, optional
        Group of each full path, such as the artist. Calibration and tuning hold out a group as a whole.

    Returns
    -------
    Path
        Folder of the model.

    Raises
    ------
    AudioError
        Too many tracks are unreadable, or all of a class.
    StorageError
        Features are damaged and cannot be extracted again.
    """
    clear_leftovers(scratch)
    folder = bundles.folder_of(scratch, training.name)
    stores = [FeatureStore(scratch, spec) for spec in specs]
    with bundles.locked(folder):
        readable = readable_tracks(tracks, feature_paths, stores, training, run)
        classes = tuple(sorted({track.label for track in tracks}))
        of_groups = groups_of(readable, groups or {})
        split = calibrating.split(readable, of_groups, calibrate=training.calibrate, seed=recipe.seed)
        key = _key(split.trained, specs, recipe, split.groups)
        model = _model(folder)
        same = model and (model.keys, model.tracks, model.classes) == ({CLASSIFIER: key}, split.trained, classes)
        if model and same and split.calibrated(model) and not training.restart:
            log.info("nothing to do: the model in %s was trained on these tracks with this recipe", folder)
            card.write(folder, model)
            return folder
        if (folder / "bundle.json").exists():
            log.info("new training: it will replace the model in %s", folder)
        _store(folder, recipe, stores, classes, split, key)
        log.info(
            "trained recipe %s on %d of %d tracks, %d classes; the model is in %s",
            recipe.name, len(split.trained), len(tracks), len(classes), folder,
        )  # fmt: skip
    return folder


def _key(tracks: Sequence[TrainedTrack], specs: Sequence[ViewSpec], recipe: ViewRecipe, groups: Sequence[str]) -> str:
    """Hash everything that decides a classifier: contents, labels, views, settings and groups."""
    of_tracks = [[track.content, track.label, group] for track, group in zip(tracks, groups, strict=True)]
    settings = [recipe.c, recipe.chosen_gamma, recipe.tune, recipe.seed]
    return digest(json.dumps([_VERSION, of_tracks, [spec.id for spec in specs], settings]).encode())


def _model(folder: Path) -> ViewBundle | None:
    """Load the model in a folder; None if there is no complete model of views."""
    with contextlib.suppress(ModelError):
        model = bundles.load(folder)
        if isinstance(model, ViewBundle):
            bundles.load_classifier(folder, model)
            return model
    return None


def _vectors(tracks: Sequence[TrainedTrack], store: FeatureStore[ViewSpec]) -> np.ndarray:
    """Read the vectors of all tracks in one view, float32 [n_tracks, length]. Raises StorageError."""
    vectors = np.empty((len(tracks), store.spec.length), np.float32)
    for row, track in zip(vectors, tracks, strict=True):
        row[:] = track_vector(extraction.read_or_fail(track.path, store)[1])
    return vectors


def _store(
    folder: Path,
    recipe: ViewRecipe,
    stores: Sequence[FeatureStore[ViewSpec]],
    classes: tuple[str, ...],
    split: calibrating.Split,
    key: str,
) -> None:
    """Fit the classifier and put the model into its folder, with the model card."""
    tracks, groups = split.trained, split.groups
    vectors = {store.spec.view: _vectors(tracks, store) for store in stores}
    started_s = time.monotonic()
    number_of = {label: k for k, label in enumerate(classes)}
    targets = [number_of[track.label] for track in tracks]
    c, gamma = recipe.c, recipe.chosen_gamma
    if recipe.tune:
        c, gamma = svm.tuned(vectors, targets, groups, c=c, gamma=gamma, seed=recipe.seed)
    machine = svm.fit(vectors, targets, groups, c=c, gamma=gamma, seed=recipe.seed)
    engine = f"scikit-learn and NumPy: {machine.description}"
    fit_s = time.monotonic() - started_s
    log.info("classifier: %s, C %g, gamma %g, in %s", machine.description, c, gamma, duration(fit_s))
    packages = {view: PLUGINS.package_of(view) for view in recipe.views if view not in OWN}
    file = bundles.save_weights(folder, machine.arrays())
    specs = tuple(store.spec for store in stores)
    model = ViewBundle(
        classes, specs, recipe, tracks, {CLASSIFIER: file}, {CLASSIFIER: key}, versions("scikit-learn"), engine,
        {"c": c, "gamma": gamma}, packages,
    )  # fmt: skip
    if split.held:
        model = calibrating.calibrated(folder, model, ViewPredictor(folder, model), stores, split)
    for name in ("history.csv", "history.png"):  # of a previous model of networks
        remove(folder / name)
    card.write(folder, model)
    bundles.save(folder, model)
    clear_checkpoints(folder)
