"""The calls of a MIREX submission as functions: extract, train, classify. Lists in, files in the scratch folder out.

Each function composes the layers in the order in which data flows: lists -> features -> models -> predictions.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.errors import ModelError, UsageError
from mirex_submission.features import extraction
from mirex_submission.features import rate as task
from mirex_submission.features.extraction import Extracted
from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import bundle as bundles
from mirex_submission.models.prediction import Predictor, overlap, vote
from mirex_submission.networks import engine as engines
from mirex_submission.networks import registry as networks
from mirex_submission.networks.sizes import ARCHITECTURES, smallest_input
from mirex_submission.preflight.limits import enough_usable, usable_of
from mirex_submission.protocol import outputs
from mirex_submission.protocol.lists import Track
from mirex_submission.runs import pictures as plotting
from mirex_submission.runs.train import train
from mirex_submission.system.atomic import check_writable, clear_leftovers, make_folder
from mirex_submission.system.progress import Progress
from mirex_submission.system.workers import Workers
from mirex_submission.training.recipe import Recipe

__all__ = ["Classification", "check_sizes", "choose_spec", "classify", "extract", "share_of", "train"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Classification:
    """What became of a test list, line by line: tracks, each with its label, and their class probabilities.

    classes : as the columns of probabilities, float64 [shape=(n_tracks, n_classes)].
    unheard : the paths that could not be heard, which have the most frequent training label and the classes' shares.
    """

    tracks: list[Track]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    unheard: list[str]


def choose_spec(
    scratch: Path,
    paths: Sequence[str],
    *,
    rate: str,
    n_bands: int,
    n_frames: int,
    threads: int,
    whole_task: bool = False,
    headers: Headers | None = None,
) -> FeatureSpec:
    """The FeatureSpec of a task.

    rate : a working rate in Hz, or "auto": the one that was chosen for the last whole task, if that holds all of
        `paths`, so that every fold has the rate of its task; else the one that the files' headers call for.
    whole_task : `paths` are all files of a task (a feature list), whose rate is chosen anew and remembered.
    headers : what has been read already, and takes up what is read now.
    """
    given_hz = None if rate == "auto" else int(rate)
    rate_hz = task.choose_rate(
        scratch, paths, threads=threads, whole_task=whole_task, given_hz=given_hz, headers=headers
    )
    return FeatureSpec(rate_hz, n_bands, n_frames)


def check_sizes(recipe: Recipe, *, n_bands: int, n_frames: int) -> None:
    """Raise UsageError if segments of this size are too small for a network of the recipe, or none has its name."""
    for architecture in recipe.networks:
        if architecture not in ARCHITECTURES:
            networks.package_of(architecture)  # what it needs is known when it is built
            continue
        bands, frames = smallest_input(architecture)
        if n_bands < bands or n_frames < frames:
            raise UsageError(
                f"{n_bands} bands x {n_frames} frames are too few for model {architecture}: at least {bands} x {frames}"
            )


def share_of(paths: Sequence[str], shard: tuple[int, int]) -> list[str]:
    """The i-th of n shares of the distinct paths, counted from 1; shard : (i, n)."""
    return list(dict.fromkeys(paths))[shard[0] - 1 :: shard[1]]


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
    clear_leftovers(scratch)
    store = FeatureStore(scratch, spec)
    if plots:
        make_folder(plots)  # now, and not only after the work
    share = share_of(paths, shard)
    if shard[1] > 1:
        log.info("shard %d of %d: %d of %d tracks", *shard, len(share), len(set(paths)))
    records = extraction.extract(share, store, workers, verify=verify)
    if plots:
        plotting.draw_all(usable_of(records), store, plots, workers)
    enough_usable(usable_of(records), records, strict=strict)
    return records


def classify(
    scratch: Path,
    paths: Sequence[str],
    output: str | os.PathLike[str] | None = None,
    *,
    threads: int,
    name: str | None = None,
    probabilities: str | os.PathLike[str] | None = None,
    strict: bool = False,
    device: str = "auto",
    network: str | None = None,
    voting: str | None = None,
) -> Classification:
    """Give every line of the test list a label; written to `output`, if that is given, and returned.

    network : one of several that were trained as one model. voting : how segments decide, if not as in the recipe.

    A track that cannot be heard gets the most frequent label of the training. Raises ModelError without a usable
    model, and AudioError, after writing, if more than half of the tracks could not be heard (with `strict`, if any).
    """
    folder = bundles.folder_of(scratch, name)
    model = bundles.load(folder)
    trained = model.recipe
    recipe = dataclasses.replace(trained, model=network or trained.model, vote=voting or trained.vote)
    if not set(recipe.networks) <= set(trained.networks):
        raise ModelError(f"{folder}: is of model {trained.model}: train model {recipe.model} with bin/train.sh")
    model = dataclasses.replace(model, recipe=recipe)
    for file in (output, probabilities):
        if file:
            check_writable(file)
    clear_leftovers(scratch)
    store = FeatureStore(scratch, model.spec)
    for added, package in model.packages.items():
        now = networks.package_of(added)
        if now != package:
            said = "model %s was trained with %s, and is computed with %s"
            log.warning(said, added, " ".join(package), " ".join(now))
    engine = engines.start(device, threads=threads, seed=model.recipe.seed, networks=model.recipe.networks)
    log.info("%s", engine.said)
    predictor = Predictor(folder, model, engine)
    records = extraction.extract(paths, store, Workers(threads))

    known = overlap(model, records.values())
    if known:
        shown = ", ".join(known[:3])
        log.warning("%d test track(s) were in the training list, by path or content: %s", len(known), shown)
    shares = model.class_shares
    usual = model.classes[int(shares.argmax())]
    unheard = []
    decided: dict[str, tuple[str, np.ndarray]] = {}
    progress = Progress("classification", len(records), unit="tracks")
    for path, record in records.items():
        stored = extraction.read(path, store) if record.content else None
        if stored is None:
            decided[path] = (usual, shares)
            unheard.append(path)
        else:
            chosen, mean = vote(predictor.segment_probabilities(*stored), model.recipe.vote)
            decided[path] = (model.classes[chosen], mean)
        progress.advance()
    progress.close()

    predictions = [Track(path, decided[path][0]) for path in paths]
    if probabilities:
        outputs.write_probabilities(probabilities, model.classes, ((path, *decided[path]) for path in paths))
    if output:
        outputs.write_predictions(output, predictions)
    counts = Counter(track.label for track in predictions)
    log.info("classified %d tracks: %s", len(predictions), ", ".join(f"{n} {x!r}" for x, n in counts.most_common()))
    if unheard:
        said = "%d track(s) cannot be heard (reasons above) and got the most frequent label, %r"
        log.warning(said, len(unheard), usual)
    if output:
        log.info("output: %s", output)
    enough_usable(records.keys() - set(unheard), records, strict=strict)
    return Classification(predictions, model.classes, np.stack([decided[path][1] for path in paths]), unheard)
