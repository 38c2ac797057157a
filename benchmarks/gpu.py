#!/usr/bin/env python3
"""Time training and prediction on a GPU, with any backend of Keras.

    [KERAS_BACKEND=jax] gpu.py [--tracks N] [--device gpu]

Each network is measured in float32 and with --precision auto, on noise of the size of GTZAN: 900 tracks of 30 s with 30
segments each, in batches of 40. `first epoch` includes compilation; `epoch` is the median of the later epochs; `150
epochs` is computed from it. `fit` is an epoch of Keras' model.fit, one step at a time, on the same segments in memory;
both are timed in turn. On TensorFlow our training starts many steps at once. `prediction` is one call for the 30
segments of a track. Compare only ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

N_CLASSES, SEGMENTS, N_BANDS, N_FRAMES = 10, 30, 40, 80
FRAMES_A_TRACK = 30 * 22050 // 768


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def stock_fit(architecture, epoch, xla):
    """Return a function that trains one epoch with Keras' model.fit, on a copy of the segments."""
    import keras
    import numpy as np

    from mirex_submission.networks.epoch import cut
    from mirex_submission.networks.keras_network import build

    model = build(architecture, n_bands=N_BANDS, n_frames=N_FRAMES, n_classes=N_CLASSES)
    jit = "auto" if xla else False
    model.compile(keras.optimizers.SGD(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=jit)
    segments = np.ascontiguousarray(cut(epoch.frames, epoch.starts, N_FRAMES))
    return lambda: model.fit(segments, epoch.targets, batch_size=epoch.batch_size, verbose=0)


def measure(architecture, engines, args):
    import numpy as np

    from mirex_submission.networks.epoch import cut
    from mirex_submission.networks.sizes import initial_weights
    from mirex_submission.training.recipe import Recipe
    from mirex_submission.training.segments import make_epoch

    rng = np.random.default_rng(0)
    frames = rng.normal(-2, 1, (args.tracks * FRAMES_A_TRACK, N_BANDS)).astype(np.float32)
    n = args.tracks * SEGMENTS
    starts, targets = rng.integers(0, len(frames) - N_FRAMES, n), rng.integers(0, N_CLASSES, n)
    epoch = make_epoch(frames, starts, targets, Recipe(), n_frames=N_FRAMES)
    sizes = {"n_bands": N_BANDS, "n_frames": N_FRAMES, "n_classes": N_CLASSES}
    weights = initial_weights(architecture, **sizes, mean=frames.mean(axis=0), std=frames.std(axis=0), seed=0)
    track = cut(frames, starts[:SEGMENTS], N_FRAMES)
    work, predictions = {}, {}
    for precision, engine in engines.items():
        network = engine.network(architecture, weights, n_frames=N_FRAMES)
        work[precision] = lambda network=network: list(network.train(epoch))
        predictions[precision] = lambda network=network: network.probabilities(track)
    work["fit"] = stock_fit(architecture, epoch, next(iter(engines.values())).on_gpu)
    first = {name: seconds(run) for name, run in work.items()}
    rounds = [{name: seconds(run) for name, run in work.items()} for _ in range(args.rounds)]
    for run in predictions.values():
        run()
    result = {}
    for name in work:
        epoch_s = statistics.median(times[name] for times in rounds)
        result[name] = {"first_s": first[name], "epoch_s": epoch_s, "step_ms": 1e3 * epoch_s / -(-n // 40)}
        if name in predictions:
            result[name]["prediction_ms"] = 1e3 * statistics.median(seconds(predictions[name]) for _ in range(50))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--tracks", type=int, default=900)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="123")
    args = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # selects the Keras engine even without a GPU

    from mirex_submission.networks import engine as engine_of

    choices = ("float32", "auto")
    engines = {p: engine_of.start(args.device, threads=os.cpu_count() or 1, seed=0, precision=p) for p in choices}
    for precision, engine in engines.items():
        print(f"--precision {precision}: {engine.description}")
    print(f"\n{args.tracks} tracks, {args.tracks * SEGMENTS} segments an epoch\n")
    print("| model | computed by | first epoch, s | epoch, s | ms a step | of fit | 150 epochs, s | prediction, ms |")
    print("|---|---|---|---|---|---|---|---|")
    result = {}
    for architecture in args.models:
        result[architecture] = measure(architecture, engines, args)
        for name, one in result[architecture].items():
            ratio = one["epoch_s"] / result[architecture]["fit"]["epoch_s"]
            prediction = f"{one['prediction_ms']:.2f}" if "prediction_ms" in one else ""
            print(
                f"| {architecture} | {name} | {one['first_s']:.2f} | {one['epoch_s']:.3f} | {one['step_ms']:.3f} | "
                f"{ratio:.2f} | {150 * one['epoch_s']:.0f} | {prediction} |",
                flush=True,
            )
    print("\nCompare only ratios within one run: on a shared machine, the milliseconds of two runs differ.")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
