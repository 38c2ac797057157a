"""Estimate the time of a training from one second of it on this machine, for `train --dry-run` and `try`."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mirex_submission.features.headers import Headers
from mirex_submission.features.logmel import log_mel_of_blocks
from mirex_submission.features.spec import FeatureSpec, Spec, ViewSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.features.views import vectors_of_blocks
from mirex_submission.networks.engine import Engine, Network
from mirex_submission.networks.sizes import ARCHITECTURES, operations
from mirex_submission.preflight.checks import Survey, survey
from mirex_submission.protocol.lists import Track
from mirex_submission.system.progress import duration
from mirex_submission.training.holdout import CALIBRATION_SHARE, SHARE
from mirex_submission.training.recipe import Recipe, ViewRecipe
from mirex_submission.training.segments import make_epoch, n_segments

log = logging.getLogger(__name__)

_MEASURED_S = 1.0
_EPOCH_ON_GPU = 200  # steps, which a GPU computes in one call
_CLIP_S = 30
_SHOWN_CLASSES = 20
# Measured for a fit on views without tuning: its time, and the number of tracks that doubles it.
_FIT_S, _FIT_TRACKS = 2.0, 500


class Cost(NamedTuple):
    """The plan of a training in lines to print, and the estimated seconds of its extraction and of the training."""

    lines: list[str]
    extraction_s: float
    training_s: float


def plan(
    scratch: Path,
    tracks: Sequence[Track],
    paths: Sequence[str],
    recipe: Recipe,
    spec: FeatureSpec,
    headers: Headers,
    *,
    start: Callable[[], Engine],
    calibrate: bool = False,
) -> Cost:
    """Describe all steps of a training and estimate their time; write nothing.

    Parameters
    ----------
    scratch : Path
        Folder for features and models.
    tracks : sequence of Track
        Labelled training tracks.
    paths : sequence of str
        All tracks whose features are extracted.
    recipe, spec : Recipe, FeatureSpec
        Settings of the training.
    headers : Headers
        Headers of the audio files that were read already.
    start : callable
        Function that starts the engine.
    calibrate : bool
        Whether a fifth of the tracks is held out.

    Returns
    -------
    Cost
    """
    known = _survey(scratch, paths, [spec], headers)
    n_classes = len({track.label for track in tracks})
    frames = [known.frames[track.path] for track in tracks if track.path in known.frames]
    n_tracks, n_frames = len(frames), sum(frames)
    n_held_out = n_tracks // CALIBRATION_SHARE if calibrate else 0
    n_held_out += (n_tracks - n_held_out) // SHARE if recipe.patience else 0
    n_drawn = sum(n_segments(n, spec, recipe) for n in frames)
    n_drawn = n_drawn * (n_tracks - n_held_out) // max(n_tracks, 1)
    source = "according to the headers of the files" if known.new else "according to the stored features"
    lines = [
        f"tracks: {len(tracks)} of {n_classes} classes ({_counts(tracks)})",
        f"features: {spec.rate_hz} Hz, {spec.n_bands} bands x {spec.n_frames} frames a segment; {known.n_stored} "
        f"tracks stored already, {len(known.new)} to extract",
        f"segments: {n_drawn} an epoch ({source}); their frames are a mapped file of "
        f"{4e-6 * n_frames * spec.n_bands:.0f} MB in {scratch}/tmp while it trains",
    ]
    if n_held_out:
        lines.append(f"held out: about {n_held_out} tracks; the steps and times below are upper limits")
    engine = start()
    of_networks, training_s = _network_lines(engine, recipe, spec, n_classes=n_classes, n_drawn=n_drawn)
    extraction_s = _clip_s(spec.rate_hz, lambda samples: log_mel_of_blocks([samples], spec)) * known.new_s / _CLIP_S
    return Cost(lines + of_networks, extraction_s / engine.threads, training_s)


def plan_views(
    scratch: Path,
    tracks: Sequence[Track],
    paths: Sequence[str],
    recipe: ViewRecipe,
    specs: Sequence[Spec],
    headers: Headers,
    *,
    threads: int,
) -> Cost:
    """Describe all steps of a training on views and estimate their time; write nothing. Arguments as in `plan`."""
    known = _survey(scratch, paths, specs, headers)
    n_columns = sum(spec.n_columns for spec in specs)
    of_views = [spec for spec in specs if isinstance(spec, ViewSpec)]
    clip_s = _clip_s(specs[0].rate_hz, lambda samples: vectors_of_blocks([samples], of_views))
    extraction_s = clip_s * known.new_s / _CLIP_S / threads
    views = ", ".join(recipe.views)
    lines = [
        f"tracks: {len(tracks)} of {len({track.label for track in tracks})} classes ({_counts(tracks)})",
        f"features: {views} at {specs[0].rate_hz} Hz, {n_columns} numbers a track; {known.n_stored} tracks stored "
        f"already, {len(known.new)} to extract",
        f"views: {1e3 * clip_s:.0f} ms a clip of {_CLIP_S} s without decoding, about "
        f"{duration(extraction_s)} for {duration(known.new_s)} of audio",
        f"training: recipe {recipe.name}, {'tuned C and gamma' if recipe.tune else f'C {recipe.c:g}'}; not measured: "
        "seconds for some thousand tracks (docs/recipes.md)",
    ]
    return Cost(lines, extraction_s, _FIT_S * (1 + (len(tracks) / _FIT_TRACKS) ** 2))


def _survey(scratch: Path, paths: Sequence[str], specs: Sequence[Spec], headers: Headers) -> Survey:
    known = survey(paths, [FeatureStore(scratch, spec) for spec in specs], headers)
    for path, reason in known.reasons.items():
        log.warning("%s: %s", path, reason)
    return known


def _clip_s(rate_hz: int, compute: Callable[[np.ndarray], object]) -> float:
    """Measure the seconds for the features of a clip of noise."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, _CLIP_S * rate_hz).astype(np.float32)
    times_s = []
    for _ in range(3):  # the first time also makes the filters
        started_s = time.perf_counter()
        compute(samples)
        times_s.append(time.perf_counter() - started_s)
    return min(times_s)


def _counts(tracks: Sequence[Track]) -> str:
    counts = sorted(Counter(track.label for track in tracks).items())
    more = f", and {len(counts) - _SHOWN_CLASSES:,} more" if len(counts) > _SHOWN_CLASSES else ""
    return ", ".join(f"{n} {label!r}" for label, n in counts[:_SHOWN_CLASSES]) + more


def _network_lines(
    engine: Engine, recipe: Recipe, spec: FeatureSpec, *, n_classes: int, n_drawn: int
) -> tuple[list[str], float]:
    """Describe size, steps and time of each network for epochs of `n_drawn` segments; also return the total time."""
    shape = {"n_bands": spec.n_bands, "n_frames": spec.n_frames, "n_classes": n_classes}
    rate, lines, total_s = _matrix_rate(), [], 0.0
    n_steps = recipe.epochs * math.ceil(n_drawn / recipe.batch_size)
    for architecture in recipe.networks:
        mean, std = np.zeros(spec.n_bands), np.ones(spec.n_bands)
        weights = engine.initial_weights(architecture, **shape, mean=mean, std=std, seed=0)
        network = engine.network(architecture, weights, n_frames=spec.n_frames)
        n_at_once = _EPOCH_ON_GPU if engine.on_gpu else 1
        segment_s = _segment_s(network, recipe, spec, n_classes=n_classes, n_steps=n_at_once)
        network_s = segment_s * n_drawn * recipe.epochs
        total_s += network_s
        n_weights = sum(weight.size for name, weight in weights.items() if not name.startswith("standardise"))
        floor = ""
        if architecture in ARCHITECTURES:
            floor_s = operations(architecture, **shape)[1] / (rate * engine.threads)
            floor = f" ({1e3 * floor_s:.2f} at the speed of a matrix product)"
        lines.append(
            f"model {architecture}: {n_weights} weights, {recipe.epochs} epochs, {n_steps} steps of "
            f"{recipe.batch_size} segments, {1e3 * segment_s:.2f} ms a segment{floor}, about {duration(network_s)}"
        )
    return [*lines, f"training: about {duration(total_s)} in all, with {engine.description}"], total_s


def _segment_s(network: Network, recipe: Recipe, spec: FeatureSpec, *, n_classes: int, n_steps: int) -> float:
    """Measure the seconds to train on one segment of noise, in epochs of `n_steps` steps."""
    rng = np.random.default_rng(0)
    n = recipe.batch_size * n_steps
    frames = rng.normal(size=(10 * spec.n_frames, spec.n_bands)).astype(np.float32)
    starts, targets = rng.integers(0, len(frames) - spec.n_frames, n), rng.integers(0, n_classes, n)
    epochs_s: list[float] = []
    while sum(epochs_s[1:]) < _MEASURED_S or len(epochs_s) < 4:  # the first epoch may compile code
        started_s = time.perf_counter()
        epoch = make_epoch(frames, starts, targets, recipe, n_frames=spec.n_frames, number=len(epochs_s))
        for _ in network.train(epoch):
            pass
        epochs_s.append(time.perf_counter() - started_s)
    return float(np.median(epochs_s[1:])) / n


def _matrix_rate() -> float:
    """Measure the float32 operations per second of a matrix product on one thread."""
    a = np.random.default_rng(0).random((1024, 1024), np.float32)
    times_s = []
    for _ in range(4):
        started_s = time.perf_counter()
        a @ a
        times_s.append(time.perf_counter() - started_s)
    return float(2 * len(a) ** 3 / min(times_s))
