"""The calls of a MIREX submission as functions: extract, train, classify. Lists in, files in the scratch folder out.

Each function composes the layers in the order in which data flows: lists -> features -> models -> predictions.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mirex_submission import plotting
from mirex_submission.errors import AudioError, ModelError, UsageError
from mirex_submission.features import extraction, task
from mirex_submission.features.extraction import Extracted
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import bundle as bundles
from mirex_submission.models import curve
from mirex_submission.models import engine as engines
from mirex_submission.models.architectures import smallest_input
from mirex_submission.models.checkpoint import Checkpoints, State, clear_checkpoints, key_of
from mirex_submission.models.holdout import held_out
from mirex_submission.models.prediction import Predictor, overlap, vote
from mirex_submission.models.recipe import Recipe
from mirex_submission.models.training import TrainingSet, pack, train_network
from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import Track
from mirex_submission.system.atomic import check_writable, make_folder, temporary_file, write_file
from mirex_submission.system.progress import Progress
from mirex_submission.system.runtime import hosts, versions
from mirex_submission.system.workers import Workers

log = logging.getLogger(__name__)


def choose_spec(
    scratch: Path,
    paths: Sequence[str],
    *,
    rate: str,
    n_bands: int,
    n_frames: int,
    threads: int,
    whole_task: bool = False,
) -> FeatureSpec:
    """The FeatureSpec of a task.

    rate : a working rate in Hz, or "auto": the one that was chosen for the last whole task, if that holds all of
        `paths`, so that every fold has the rate of its task; else the one that the files' headers call for.
    whole_task : `paths` are all files of a task (a feature list), whose rate is chosen anew and remembered.
    """
    given_hz = None if rate == "auto" else int(rate)
    rate_hz = task.choose_rate(scratch, paths, threads=threads, whole_task=whole_task, given_hz=given_hz)
    return FeatureSpec(rate_hz, n_bands, n_frames)


def check_sizes(recipe: Recipe, *, n_bands: int, n_frames: int) -> None:
    """Raise UsageError if segments of this size are too small for a network of the recipe."""
    for architecture in recipe.networks:
        bands, frames = smallest_input(architecture)
        if n_bands < bands or n_frames < frames:
            raise UsageError(
                f"{n_bands} bands x {n_frames} frames are too few for model {architecture}: at least {bands} x {frames}"
            )


def extract(
    scratch: Path,
    paths: Sequence[str],
    spec: FeatureSpec,
    workers: Workers,
    *,
    shard: tuple[int, int] = (1, 1),
    verify: bool = False,
    plots: Path | None = None,
    strict: bool = False,
) -> dict[str, Extracted]:
    """Store the features of every track that can be heard; returns what became of each.

    shard : (i, n), the i-th of n shares of the tracks, counted from 1, which as many calls may extract side by side.
    plots : folder for a picture of each track's frames and of the segments that the paper's recipe draws.

    Raises AudioError, after the work, if more than half of the tracks cannot be used (with `strict`, if any).
    """
    store = FeatureStore(scratch, spec)
    if plots:
        make_folder(plots)  # now, and not only after the work
    share = list(dict.fromkeys(paths))[shard[0] - 1 :: shard[1]]
    if shard[1] > 1:
        log.info("shard %d of %d: %d of %d tracks", *shard, len(share), len(set(paths)))
    records = extraction.extract(share, store, workers, verify=verify)
    if plots:
        plotting.draw_all(_usable(records), store, plots, workers)
    _enough_usable(_usable(records), records, strict=strict)
    return records


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
    tensorboard: Path | None = None,
    groups: Mapping[str, str] | None = None,
) -> Path:
    """Train a model on labelled tracks and put its bundle into the scratch folder; returns the bundle's folder.

    feature_paths : further tracks of the task, whose features are extracted in the same go.
    restart : do not go on with what an earlier call for the same tracks and recipe has left, finished or not.
    save_every_s : how much of the training a kill may cost, beside an epoch.
    time_limit_s : of the whole call; the model is then that of the last epoch that fits.
    tensorboard : folder for the events of TensorBoard.
    groups : full path -> group, as its artist, which recipe.patience holds out whole; without one a track is its own.

    Of several hosts (system/runtime.py) the first one writes, into the scratch folder that all share. Tracks that
    cannot be used are left out. Raises AudioError before training if they are more than the share `max_bad` of all
    (with `strict`, if there are any), or all of a class.
    """
    ends_s = time.monotonic() + time_limit_s

    def start_engine() -> engines.Engine:
        return engines.start(device, threads=threads, seed=recipe.seed, precision=recipe.precision, together=True)

    engine = start_engine() if device.startswith("gpu") else None  # is there one? Now, and not only after hours
    store = FeatureStore(scratch, spec)
    folder, is_first = bundles.folder_of(scratch, name), hosts()[0] == 0
    with bundles.locked(folder) if is_first else contextlib.nullcontext():
        records = extraction.extract([*feature_paths, *(track.path for track in tracks)], store, Workers(threads))
        usable = [track for track in tracks if records[track.path].content]
        classes = sorted({track.label for track in tracks})
        if strict:
            _enough_usable(_usable(records), records, strict=True)
        enough_to_train(tracks, usable, max_bad)

        contents = [records[track.path].content for track in usable]
        trained = tuple(
            bundles.TrainedTrack(os.path.abspath(track.path), track.label, content)
            for track, content in zip(usable, contents, strict=True)
        )
        labels = [track.label for track in usable]
        out = np.zeros(len(usable), bool)
        if recipe.patience:
            of_tracks = [(groups or {}).get(track.path, track.content) for track in trained]
            out = held_out(labels, contents, of_tracks, seed=recipe.seed)
            log.info("%d of %d tracks are held out", out.sum(), len(out))
        keys = {network: key_of(network, contents, labels, out, spec, recipe) for network in recipe.networks}
        if restart and is_first:
            clear_checkpoints(folder)
        # Where the model is that of an earlier epoch, only its last state can go on.
        kept = list(keys.values()) if recipe.patience else []
        earlier = _bundle(folder)
        states = {} if restart else _earlier_states(folder, earlier, keys, recipe)
        finished = all(network in states and states[network].is_done(recipe) for network in keys)
        same = earlier and (earlier.recipe, earlier.tracks, earlier.classes) == (recipe, trained, tuple(classes))
        if finished and same:
            log.info("nothing to do: the model in %s is of these tracks and this recipe", folder)
            if is_first:
                clear_checkpoints(folder, but=kept)  # should it have been killed just before it could
            return folder
        if earlier and not states:
            log.info("a new training, which will replace the model in %s", folder)

        engine = engine or start_engine()
        log.info("%s", engine.said)
        for network, key in keys.items():
            n_done = len(states[network].history) if network in states else 0
            if len(set(engine.on_all_hosts(int(key[:12], 16) + n_done))) > 1:
                raise UsageError(
                    "the hosts do not begin with the same: give all of them the same lists, options and scratch folder"
                )

        def packed(which: bool) -> TrainingSet:
            part = [track for track, held in zip(usable, out, strict=True) if held == which]
            with temporary_file(scratch / "tmp") as file:
                targets = [classes.index(track.label) for track in part]
                return pack(file, store, [track.path for track in part], targets, recipe)

        data, validation = packed(False), packed(True) if recipe.patience else None
        weights, history = {}, {}
        for k, (network, key) in enumerate(keys.items()):
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
                save=Checkpoints(folder, key).save if is_first else lambda state: None,
                save_every_s=save_every_s,
                ends_s=time.monotonic() + share_s,
            )
            weights[network], history[network] = state.best or state.weights, state.history
        if not is_first:
            log.info("the model is written by the first host")
            return folder
        write_file(folder / "history.csv", curve.as_csv(history).encode())
        write_file(folder / "history.png", curve.draw(history))
        if tensorboard:
            curve.write_tensorboard(tensorboard, history)
        files = {network: bundles.save_weights(folder, found) for network, found in weights.items()}
        bundle = bundles.Bundle(tuple(classes), spec, recipe, trained, files, keys, versions(), engine.said, history)
        bundles.save(folder, bundle)
        clear_checkpoints(folder, but=kept)
    log.info(
        "trained model %s on %d of %d tracks, %d classes; it is in %s",
        recipe.model, len(usable), len(tracks), len(classes), folder,
    )  # fmt: skip
    return folder


def _bundle(folder: Path) -> bundles.Bundle | None:
    try:
        return bundles.load(folder)
    except ModelError:
        return None


def _earlier_states(
    folder: Path, bundle: bundles.Bundle | None, keys: Mapping[str, str], recipe: Recipe
) -> dict[str, State]:
    """What is left of an earlier training of each network: a checkpoint, or the model itself."""
    states = {}
    for network, key in keys.items():
        found = [Checkpoints(folder, key).load(epochs=recipe.epochs)]
        is_last = bundle and bundle.keys.get(network) == key and not recipe.patience
        if bundle and is_last and len(bundle.history[network]) <= recipe.epochs:
            with contextlib.suppress(ModelError):
                found.append(State(bundles.load_weights(folder, bundle, network), bundle.history[network]))
        whole = [state for state in found if state]
        if whole:
            states[network] = max(whole, key=lambda state: len(state.history))
    return states


def classify(
    scratch: Path,
    paths: Sequence[str],
    output: str | os.PathLike[str],
    *,
    threads: int,
    name: str | None = None,
    probabilities: str | os.PathLike[str] | None = None,
    strict: bool = False,
    device: str = "auto",
) -> list[Track]:
    """Write one label for every line of the test list to `output`; returns the same.

    A track that cannot be heard gets the most frequent label of the training. Raises ModelError without a usable
    model, and AudioError, after writing, if more than half of the tracks could not be heard (with `strict`, if any).
    """
    folder = bundles.folder_of(scratch, name)
    model = bundles.load(folder)
    check_writable(output)
    if probabilities:
        check_writable(probabilities)
    store = FeatureStore(scratch, model.spec)
    engine = engines.start(device, threads=threads, seed=model.recipe.seed)
    log.info("%s", engine.said)
    predictor = Predictor(folder, model, engine)
    records = extraction.extract(paths, store, Workers(threads))

    known = overlap(model, records.values())
    if known:
        shown = ", ".join(known[:3])
        log.warning("%d test track(s) were in the training list, by path or content: %s", len(known), shown)
    shares = model.class_shares
    usual = model.classes[int(shares.argmax())]
    heard = []
    decided: dict[str, tuple[str, np.ndarray]] = {}
    progress = Progress("classification", len(records), unit="tracks")
    for path, record in records.items():
        stored = extraction.read(path, store) if record.content else None
        if stored is None:
            decided[path] = (usual, shares)
        else:
            heard.append(path)
            chosen, mean = vote(predictor.segment_probabilities(*stored), model.recipe.vote)
            decided[path] = (model.classes[chosen], mean)
        progress.advance()
    progress.close()

    predictions = [Track(path, decided[path][0]) for path in paths]
    if probabilities:
        lists.write_probabilities(probabilities, model.classes, ((path, *decided[path]) for path in paths))
    lists.write_predictions(output, predictions)
    counts = Counter(track.label for track in predictions)
    log.info("classified %d tracks: %s", len(predictions), ", ".join(f"{n} {x!r}" for x, n in counts.most_common()))
    n_unheard = len(decided) - len(heard)
    if n_unheard:
        log.warning("%d track(s) cannot be heard (reasons above) and got the most frequent label, %r", n_unheard, usual)
    log.info("output: %s", output)
    _enough_usable(heard, records, strict=strict)
    return predictions


def _usable(records: Mapping[str, Extracted]) -> list[str]:
    return [path for path, record in records.items() if record.content]


def _enough_usable(usable: Collection[str], paths: Collection[str], *, strict: bool) -> None:
    n_bad = len(paths) - len(usable)
    if 2 * n_bad > len(paths) or (strict and n_bad):
        raise AudioError(
            f"{n_bad} of {len(paths)} tracks cannot be used (reasons above): finished work is kept, "
            "mend the files or the list and run the same command again"
        )


def enough_to_train(tracks: Sequence[Track], usable: Iterable[Track], max_bad: float) -> None:
    """Raise AudioError if more than the share `max_bad` of the tracks, or all of a class, cannot be used."""
    kept = Counter(track.label for track in usable)
    empty = sorted({track.label for track in tracks} - kept.keys())
    if empty:
        raise AudioError(
            f"no track of class {', '.join(map(repr, empty))} can be used (reasons above): mend the files or the list"
        )
    n_bad = len(tracks) - kept.total()
    if n_bad > max_bad * len(tracks):
        raise AudioError(
            f"{n_bad} of {len(tracks)} training tracks cannot be used, more than {max_bad:.0%} (reasons above): "
            "mend the files or the list, or allow more with --max-bad"
        )
