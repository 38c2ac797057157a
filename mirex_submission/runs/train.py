"""The call that trains: labelled tracks -> features -> a trained model in the scratch folder."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mirex_submission.errors import ModelError, UsageError
from mirex_submission.features import extraction
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import bundle as bundles
from mirex_submission.models import card
from mirex_submission.networks import engine as engines
from mirex_submission.networks import registry as networks
from mirex_submission.networks.sizes import ARCHITECTURES, weight_shapes
from mirex_submission.preflight.limits import check_readable, check_trainable
from mirex_submission.protocol.lists import Track
from mirex_submission.system.atomic import clear_leftovers, digest, make_folder, write_file
from mirex_submission.system.paths import full_path
from mirex_submission.system.runtime import hosts, versions
from mirex_submission.system.workers import Workers
from mirex_submission.training import history as curve
from mirex_submission.training.checkpoint import Checkpoints, State, clear_checkpoints, key_of
from mirex_submission.training.fit import TrainingSet, pack, train_network
from mirex_submission.training.holdout import held_out
from mirex_submission.training.recipe import Recipe

log = logging.getLogger(__name__)


def train(
    scratch: Path,
    tracks: Sequence[Track],
    recipe: Recipe,
    spec: FeatureSpec,
    *,
    threads: int,
    feature_paths: Sequence[str] = (),
    name: str | None = None,
    max_bad: float = 0.1,
    strict: bool = False,
    device: str = "auto",
    restart: bool = False,
    save_every_s: float = 300.0,
    time_limit_s: float = math.inf,
    picture: bool = True,
    tensorboard: Path | None = None,
    groups: Mapping[str, str] | None = None,
) -> Path:
    """Train a model on labelled tracks and put its bundle into the scratch folder; returns the bundle's folder.

    feature_paths : further tracks of the task, whose features are extracted in the same go.
    restart : do not go on with what an earlier call for the same tracks and recipe has left, finished or not.
    save_every_s : how much of the training a kill may cost, beside an epoch.
    time_limit_s : of the whole call; the model is then that of the last epoch that fits.
    picture : draw history.png beside history.csv.
    tensorboard : folder for the events of TensorBoard.
    groups : full path -> group, as its artist, which recipe.patience holds out whole; without one a track is its own.

    Of several hosts (system/runtime.py) the first one writes, into the scratch folder that all share. Tracks that
    cannot be used are left out. Raises AudioError before training if they are more than the share `max_bad` of all
    (with `strict`, if there are any), or all of a class.
    """
    ends_s = time.monotonic() + time_limit_s

    def start_engine() -> engines.Engine:
        return engines.start(
            device,
            threads=threads,
            seed=recipe.seed,
            networks=recipe.networks,
            precision=recipe.precision,
            together=True,
        )

    number, n_hosts = hosts()
    packages = {network: networks.package_of(network) for network in recipe.networks if network not in ARCHITECTURES}
    # Is the GPU there, are the hosts, can a network be built? Now, and not only after hours.
    engine = start_engine() if device.startswith("gpu") or n_hosts > 1 or packages else None
    classes = sorted({track.label for track in tracks})
    shapes = {network: _shapes(network, engine, spec, len(classes)) for network in recipe.networks}
    if tensorboard:
        make_folder(tensorboard)
    # Where the model may be that of an earlier epoch, only its last state can go on.
    n_kept = 1 if recipe.patience else 0
    clear_leftovers(scratch)
    store = FeatureStore(scratch, spec)
    folder, is_first = bundles.folder_of(scratch, name), number == 0
    with bundles.locked(folder) if is_first else contextlib.nullcontext():
        trained = _usable(tracks, feature_paths, store, threads=threads, max_bad=max_bad, strict=strict)
        out = _held_out(trained, recipe, groups or {})
        contents, labels = [track.content for track in trained], [track.label for track in trained]
        names = {network: networks.identity(network) if network in packages else network for network in recipe.networks}
        keys = {network: key_of(name, contents, labels, out, spec, recipe) for network, name in names.items()}
        checkpoints = {network: Checkpoints(folder, key, shapes[network]) for network, key in keys.items()}
        if restart and is_first:
            for each in checkpoints.values():
                each.clear()
        earlier = _bundle(folder)
        states = {} if restart else _earlier_states(folder, earlier, checkpoints, recipe)
        if engine:
            n_done = {network: len(state.history) for network, state in states.items()}
            _agree(engine, [keys, n_done, name, restart, asdict(recipe)])
        finished = all(network in states and states[network].is_done(recipe) for network in keys)
        same = earlier and (earlier.recipe, earlier.tracks, earlier.classes) == (recipe, trained, tuple(classes))
        if finished and earlier and same:
            log.info("nothing to do: the model in %s is of these tracks and this recipe", folder)
            if is_first:
                for each in checkpoints.values():  # should it have been killed just before it could
                    each.clear(but=n_kept)
                card.write(folder, earlier)  # should it be damaged or gone
                if tensorboard:
                    curve.write_tensorboard(tensorboard, earlier.history)
            return folder
        if earlier and not states:
            log.info("a new training, which will replace the model in %s", folder)

        engine = engine or start_engine()
        log.info("%s", engine.said)

        def packed(which: bool) -> TrainingSet:
            part = [track for track, held in zip(trained, out, strict=True) if held == which]
            targets = [classes.index(track.label) for track in part]
            return pack(scratch / "tmp", store, (track.path for track in part), targets, recipe)

        data, validation = packed(False), packed(True) if recipe.patience else None
        weights, history = {}, {}
        for k, network in enumerate(keys):
            share_s = (ends_s - time.monotonic()) / (len(keys) - k)  # of what is left, for each network as much
            state = train_network(
                network,
                data,
                engine,
                n_classes=len(classes),
                spec=spec,
                recipe=recipe,
                validation=validation,
                state=states.get(network),
                save=checkpoints[network].save if is_first else lambda state: None,
                save_every_s=save_every_s,
                ends_s=time.monotonic() + share_s,
            )
            weights[network], history[network] = state.best or state.weights, state.history
        if not is_first:
            log.info("the model is written by the first host")
            return folder
        write_file(folder / "history.csv", curve.as_csv(history).encode())
        if picture:
            _draw(history, folder / "history.png")
        files = {network: bundles.save_weights(folder, found) for network, found in weights.items()}
        bundle = bundles.Bundle(
            tuple(classes), spec, recipe, trained, files, keys, versions(), engine.said, history, packages
        )
        card.write(folder, bundle)
        bundles.save(folder, bundle)
        for each in checkpoints.values():
            each.clear(but=n_kept)
        clear_checkpoints(folder, but=list(keys.values()))  # of other trainings, which this one replaces
        if tensorboard:
            curve.write_tensorboard(tensorboard, history)
    log.info(
        "trained model %s on %d of %d tracks, %d classes; it is in %s",
        recipe.model, len(trained), len(tracks), len(classes), folder,
    )  # fmt: skip
    return folder


def _draw(history: Mapping[str, list[dict[str, float]]], file: Path) -> None:
    try:
        picture = curve.draw(history)
    except Exception as error:  # noqa: BLE001 - a picture is not to cost a model
        log.warning("%s is not drawn: %s", file, error)
    else:
        write_file(file, picture)


def _shapes(
    network: str, engine: engines.Engine | None, spec: FeatureSpec, n_classes: int
) -> dict[str, tuple[int, ...]]:
    """Of the network's weights. Raises UsageError where a package adds it and it cannot be built."""
    sizes = {"n_bands": spec.n_bands, "n_frames": spec.n_frames, "n_classes": n_classes}
    if network in ARCHITECTURES:
        return weight_shapes(network, **sizes)
    assert engine
    mean, std = np.zeros(spec.n_bands), np.ones(spec.n_bands)
    weights = engine.initial_weights(network, **sizes, mean=mean, std=std, seed=0)
    return {name: weight.shape for name, weight in weights.items()}


def _usable(
    tracks: Sequence[Track],
    feature_paths: Sequence[str],
    store: FeatureStore,
    *,
    threads: int,
    max_bad: float,
    strict: bool,
) -> tuple[bundles.TrainedTrack, ...]:
    """Those tracks that have features, after extracting what is missing. Raises AudioError if they are too few."""
    records = extraction.extract([*feature_paths, *(track.path for track in tracks)], store, Workers(threads))
    usable = [track for track in tracks if records[track.path].content]
    if strict:
        check_readable([path for path, record in records.items() if record.content], records, strict=True)
    check_trainable(tracks, usable, max_bad)
    return tuple(
        bundles.TrainedTrack(full_path(track.path), track.label, records[track.path].content) for track in usable
    )


def _held_out(trained: Sequence[bundles.TrainedTrack], recipe: Recipe, groups: Mapping[str, str]) -> np.ndarray:
    """Which tracks recipe.patience holds out, bool [shape=(n_tracks,)]."""
    if not recipe.patience:
        return np.zeros(len(trained), bool)
    n_alone = sum(track.path not in groups for track in trained)
    if groups and n_alone == len(trained):
        raise UsageError("--groups: has none of the tracks: write the paths as the training list has them")
    if groups and n_alone:
        log.warning("%d of %d tracks have no group: each is its own", n_alone, len(trained))
    contents = [track.content for track in trained]
    of_tracks = [groups.get(track.path, track.content) for track in trained]
    out = held_out([track.label for track in trained], contents, of_tracks, seed=recipe.seed)
    log.info("%d of %d tracks are held out", out.sum(), len(out))
    return out


def _agree(engine: engines.Engine, begins: object) -> None:
    """Raise UsageError on every host if one of them begins with other than the others."""
    number = int(digest(json.dumps(begins).encode())[:12], 16)  # a float64 holds it exactly
    if len(set(engine.on_all_hosts(number))) > 1:
        raise UsageError(
            "the hosts do not begin with the same: give all of them the same lists, options and scratch folder"
        )


def _bundle(folder: Path) -> bundles.Bundle | None:
    try:
        return bundles.load(folder)
    except ModelError:
        return None


def _earlier_states(
    folder: Path, bundle: bundles.Bundle | None, checkpoints: Mapping[str, Checkpoints], recipe: Recipe
) -> dict[str, State]:
    """What is left of an earlier training of each network: a checkpoint, or the model itself."""
    states = {}
    for network, kept in checkpoints.items():
        found = [kept.load(recipe)]
        is_last = bundle and bundle.keys.get(network) == kept.key and not recipe.patience
        if bundle and is_last and len(bundle.history[network]) <= recipe.epochs:
            with contextlib.suppress(ModelError):
                found.append(State(bundles.load_weights(folder, bundle, network), bundle.history[network]))
        whole = [state for state in found if state]
        if whole:
            states[network] = max(whole, key=lambda state: len(state.history))
    return states
