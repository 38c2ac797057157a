"""What a training will cost, from a second of it on this machine: printed by `train --dry-run`."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mirex_submission.errors import AudioError
from mirex_submission.features import audio
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import engine as engines
from mirex_submission.models.architectures import initial_weights, operations, weight_shapes
from mirex_submission.models.engine import Engine
from mirex_submission.models.holdout import SHARE
from mirex_submission.models.recipe import Recipe
from mirex_submission.models.segments import Epoch, n_segments
from mirex_submission.protocol.lists import Track
from mirex_submission.system.progress import duration
from mirex_submission.usable import enough_to_train

log = logging.getLogger(__name__)

_MEASURED_S = 1.0
_EPOCH_ON_GPU = 200  # steps, which are one call


def plan(
    scratch: Path,
    tracks: Sequence[Track],
    recipe: Recipe,
    spec: FeatureSpec,
    *,
    threads: int,
    max_bad: float = 0.1,
    device: str = "auto",
) -> list[str]:
    """What submission.train would do from the beginning, in lines to print; nothing is extracted, kept or written.

    Raises AudioError as it would, as far as the files' headers tell.
    """
    store = FeatureStore(scratch, spec)
    paths = dict.fromkeys(track.path for track in tracks)
    stored = {path: header for path in paths if (header := store.fresh(path))}
    unreadable = {path: reason for path in paths if path not in stored and (reason := _fault(path))}
    for path, reason in unreadable.items():
        log.warning("%s: %s", path, reason)
    enough_to_train(tracks, [track for track in tracks if track.path not in unreadable], max_bad)
    classes = Counter(track.label for track in tracks)
    counts = ", ".join(f"{n} {label!r}" for label, n in sorted(classes.items()))
    said = [
        f"tracks: {len(tracks)} of {len(classes)} classes ({counts})",
        f"features: {spec.rate_hz} Hz, {spec.n_bands} bands x {spec.n_frames} frames a segment; {len(stored)} tracks "
        f"stored already, {len(tracks) - len(stored)} to extract",
    ]
    a_track = 30 * spec.rate_hz // spec.hop  # MIREX's clips last 30 s
    if stored:
        a_track = sum(header.n_frames for header in stored.values()) // len(stored)
    a_track = max(a_track, spec.n_frames)
    n_held_out = len(tracks) // SHARE if recipe.patience else 0
    n_drawn = (len(tracks) - n_held_out) * n_segments(a_track, spec, recipe)
    frames_mb = 4e-6 * len(tracks) * a_track * spec.n_bands
    said.append(
        f"segments: {n_drawn} an epoch ({'as the stored tracks have them' if stored else 'if tracks last 30 s'}); "
        f"their frames are a mapped file of {frames_mb:.0f} MB in {scratch}/tmp while it trains"
    )
    if n_held_out:
        said.append(f"held out: about {n_held_out} tracks; the steps and times below are the most that there can be")
    engine = engines.start(device, threads=threads, seed=recipe.seed, precision=recipe.precision)
    return said + _network_lines(engine, recipe, spec, n_classes=len(classes), n_drawn=n_drawn)


def _fault(path: str) -> str:
    try:
        audio.native_rate(path)
    except AudioError as error:
        return str(error)
    return ""


def _network_lines(engine: Engine, recipe: Recipe, spec: FeatureSpec, *, n_classes: int, n_drawn: int) -> list[str]:
    """A line about each network: its size, its steps, and the time by what a second of it costs here.

    n_drawn : segments of an epoch.
    """
    sizes = {"n_bands": spec.n_bands, "n_frames": spec.n_frames, "n_classes": n_classes}
    rate, said, total_s = _matrix_rate(), [], 0.0
    for architecture in recipe.networks:
        a_segment_s = _segment_s(engine, architecture, recipe, spec, n_classes=n_classes)
        whole_s = a_segment_s * n_drawn * recipe.epochs
        total_s += whole_s
        steps = recipe.epochs * math.ceil(n_drawn / recipe.batch_size)
        shapes = weight_shapes(architecture, **sizes)
        n_weights = sum(math.prod(shape) for name, shape in shapes.items() if not name.startswith("standardise"))
        floor_s = operations(architecture, **sizes)[1] / (rate * engine.threads)
        said.append(
            f"model {architecture}: {n_weights} weights, {recipe.epochs} epochs, {steps} steps of {recipe.batch_size} "
            f"segments, {1e3 * a_segment_s:.2f} ms a segment (its operations at the rate of a matrix product: "
            f"{1e3 * floor_s:.2f}), about {duration(whole_s)}"
        )
    return [*said, f"training: about {duration(total_s)} in all, with {engine.said}"]


def _segment_s(engine: Engine, architecture: str, recipe: Recipe, spec: FeatureSpec, *, n_classes: int) -> float:
    """Seconds that training takes for a segment, measured on noise."""
    rng = np.random.default_rng(0)
    n = recipe.batch_size * (_EPOCH_ON_GPU if engine.on_gpu else 1)
    frames = rng.normal(size=(10 * spec.n_frames, spec.n_bands)).astype(np.float32)
    starts, targets = rng.integers(0, len(frames) - spec.n_frames, n), rng.integers(0, n_classes, n)
    weights = initial_weights(
        architecture, n_bands=spec.n_bands, n_frames=spec.n_frames, n_classes=n_classes,
        mean=np.zeros(spec.n_bands), std=np.ones(spec.n_bands), seed=0,
    )  # fmt: skip
    network = engine.network(architecture, weights, n_frames=spec.n_frames)
    epochs_s: list[float] = []
    while sum(epochs_s[1:]) < _MEASURED_S or len(epochs_s) < 4:  # the first one may compile
        started_s = time.perf_counter()
        for _ in network.train(Epoch(frames, spec.n_frames, starts, targets, None, recipe, len(epochs_s))):
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
