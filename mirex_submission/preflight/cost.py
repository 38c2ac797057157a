"""What a training will cost, from a second of it on this machine: printed by `train --dry-run`."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.networks import engine as engines
from mirex_submission.networks.engine import Engine, Network
from mirex_submission.networks.sizes import ARCHITECTURES, operations
from mirex_submission.preflight.checks import survey
from mirex_submission.protocol.lists import Track
from mirex_submission.system.progress import duration
from mirex_submission.training.holdout import SHARE
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import make_epoch, n_segments

log = logging.getLogger(__name__)

_MEASURED_S = 1.0
_EPOCH_ON_GPU = 200  # steps, which are one call


def plan(
    scratch: Path,
    tracks: Sequence[Track],
    recipe: Recipe,
    spec: FeatureSpec,
    headers: Headers,
    *,
    threads: int,
    device: str = "auto",
) -> list[str]:
    """What submission.train would do from the beginning, in lines to print; nothing is extracted, kept or written."""
    known = survey((track.path for track in tracks), FeatureStore(scratch, spec), headers)
    for path, reason in known.reasons.items():
        log.warning("%s: %s", path, reason)
    classes = Counter(track.label for track in tracks)
    counts = ", ".join(f"{n} {label!r}" for label, n in sorted(classes.items()))
    said = [
        f"tracks: {len(tracks)} of {len(classes)} classes ({counts})",
        f"features: {spec.rate_hz} Hz, {spec.n_bands} bands x {spec.n_frames} frames a segment; {known.n_stored} "
        f"tracks stored already, {len(known.new)} to extract",
    ]
    n_tracks, frames = len(known.frames), known.frames.values()
    n_held_out = n_tracks // SHARE if recipe.patience else 0
    n_drawn = sum(n_segments(n, spec, recipe) for n in frames) * (n_tracks - n_held_out) // max(n_tracks, 1)
    source = "as the files' headers say" if known.new else "as the stored tracks have them"
    said.append(
        f"segments: {n_drawn} an epoch ({source}); "
        f"their frames are a mapped file of {4e-6 * sum(frames) * spec.n_bands:.0f} MB in {scratch}/tmp while it trains"
    )
    if n_held_out:
        said.append(f"held out: about {n_held_out} tracks; the steps and times below are the most that there can be")
    engine = engines.start(
        device, threads=threads, seed=recipe.seed, networks=recipe.networks, precision=recipe.precision
    )
    return said + _network_lines(engine, recipe, spec, n_classes=len(classes), n_drawn=n_drawn)


def _network_lines(engine: Engine, recipe: Recipe, spec: FeatureSpec, *, n_classes: int, n_drawn: int) -> list[str]:
    """A line about each network: its size, its steps, and the time by what a second of it costs here.

    n_drawn : segments of an epoch.
    """
    sizes = {"n_bands": spec.n_bands, "n_frames": spec.n_frames, "n_classes": n_classes}
    rate, said, total_s = _matrix_rate(), [], 0.0
    for architecture in recipe.networks:
        weights = engine.initial_weights(
            architecture, **sizes, mean=np.zeros(spec.n_bands), std=np.ones(spec.n_bands), seed=0
        )
        network = engine.network(architecture, weights, n_frames=spec.n_frames)
        a_segment_s = _segment_s(
            network, recipe, spec, n_classes=n_classes, at_once=_EPOCH_ON_GPU if engine.on_gpu else 1
        )
        whole_s = a_segment_s * n_drawn * recipe.epochs
        total_s += whole_s
        steps = recipe.epochs * math.ceil(n_drawn / recipe.batch_size)
        n_weights = sum(weight.size for name, weight in weights.items() if not name.startswith("standardise"))
        floor = ""
        if architecture in ARCHITECTURES:
            floor_s = operations(architecture, **sizes)[1] / (rate * engine.threads)
            floor = f" (its operations at the rate of a matrix product: {1e3 * floor_s:.2f})"
        said.append(
            f"model {architecture}: {n_weights} weights, {recipe.epochs} epochs, {steps} steps of {recipe.batch_size} "
            f"segments, {1e3 * a_segment_s:.2f} ms a segment{floor}, about {duration(whole_s)}"
        )
    return [*said, f"training: about {duration(total_s)} in all, with {engine.said}"]


def _segment_s(network: Network, recipe: Recipe, spec: FeatureSpec, *, n_classes: int, at_once: int) -> float:
    """Seconds that training takes for a segment, measured on noise; at_once : steps."""
    rng = np.random.default_rng(0)
    n = recipe.batch_size * at_once
    frames = rng.normal(size=(10 * spec.n_frames, spec.n_bands)).astype(np.float32)
    starts, targets = rng.integers(0, len(frames) - spec.n_frames, n), rng.integers(0, n_classes, n)
    epochs_s: list[float] = []
    while sum(epochs_s[1:]) < _MEASURED_S or len(epochs_s) < 4:  # the first one may compile
        started_s = time.perf_counter()
        epoch = make_epoch(frames, starts, targets, recipe, n_frames=spec.n_frames, number=len(epochs_s))
        for _ in network.train(epoch):
            pass
        epochs_s.append(time.perf_counter() - started_s)
    return float(np.median(epochs_s[1:])) / len(starts)


def _matrix_rate() -> float:
    """float32 operations a second of a matrix product on one thread."""
    a = np.random.default_rng(0).random((1024, 1024), np.float32)
    took_s = []
    for _ in range(4):
        started_s = time.perf_counter()
        a @ a
        took_s.append(time.perf_counter() - started_s)
    return float(2 * len(a) ** 3 / min(took_s))
