#!/usr/bin/env python3
"""Time several ways to train with Keras on a CPU.

    [KERAS_BACKEND=jax] keras_fit.py [--rounds N]

Epochs of mini-batches of 40 segments of 40 x 80 are timed in turn within one process, after a first epoch that
compiles. `loop` is the earlier training loop (models/keras_steps.py of commit 156b048, read from git): one call per
epoch, compiled on TensorFlow and JAX. `fit` is the current training. `30 steps` is the same with
steps_per_execution=30 (TensorFlow only). `PyDataset` is Keras' `fit` with one mini-batch cut at a time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT, COMMIT, EARLIER = Path(__file__).resolve().parents[1], "156b048", "earlier_submission"
N_CLASSES, N_BANDS, N_FRAMES = 10, 40, 80


def unpack_earlier(folder):
    """Make the package of the commit COMMIT importable under the name EARLIER."""
    archive = ["git", "-C", PROJECT, "archive", COMMIT, "mirex_submission"]
    subprocess.run(["tar", "-x", "-C", folder], input=subprocess.check_output(archive), check=True)
    (folder / "mirex_submission").rename(folder / EARLIER)
    for file in folder.rglob("*.py"):
        file.write_text(file.read_text().replace("mirex_submission", EARLIER))
    sys.path.insert(0, str(folder))


def train_from_py_dataset(network, epoch):
    """Train one epoch with `fit` of the network's own model, on mini-batches that are cut one at a time."""
    import keras
    import numpy as np

    from mirex_submission.networks.epoch import cut, draw_kept
    from mirex_submission.networks.sizes import DROPOUT_RATE

    batches, dropout = list(epoch.batches()), epoch.dropout_rng()

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, k):
            batch = batches[k]
            segments = np.ascontiguousarray(cut(epoch.frames, epoch.starts[batch], epoch.n_frames))
            kept = draw_kept(dropout, len(batch)) / np.float32(1 - DROPOUT_RATE)
            return (segments, kept), epoch.targets[batch].astype(np.int32), epoch.weights(batch) / len(batch)

    network._trained.fit(Batches(), shuffle=False, verbose=0)


def contenders(architecture, n_batches):
    """Return {name: function that trains one epoch}."""
    import keras
    import numpy as np

    from mirex_submission.networks.keras_network import KerasNetwork
    from mirex_submission.networks.sizes import initial_weights
    from mirex_submission.training.recipe import Recipe
    from mirex_submission.training.segments import make_epoch

    earlier = {name: importlib.import_module(f"{EARLIER}.models.{name}") for name in ("keras_network", "segments")}
    earlier_recipe = importlib.import_module(f"{EARLIER}.models.recipe").Recipe()
    rng = np.random.default_rng(0)
    frames = rng.normal(-2, 1, (50_000, N_BANDS)).astype(np.float32)
    n = n_batches * Recipe().batch_size
    starts, targets = rng.integers(0, len(frames) - N_FRAMES, n), rng.integers(0, N_CLASSES, n)
    epoch = make_epoch(frames, starts, targets, Recipe(), n_frames=N_FRAMES)
    of_loop = earlier["segments"].Epoch(frames, N_FRAMES, starts, targets, None, earlier_recipe, 0)
    sizes = {"n_bands": N_BANDS, "n_frames": N_FRAMES, "n_classes": N_CLASSES}
    weights = initial_weights(architecture, **sizes, mean=frames.mean(axis=0), std=frames.std(axis=0), seed=0)

    loop = earlier["keras_network"].KerasNetwork(architecture, weights, n_frames=N_FRAMES)
    fit, many_steps, dataset = (KerasNetwork(architecture, weights, n_frames=N_FRAMES) for _ in range(3))
    work = {"loop": lambda: list(loop.train(of_loop)), "fit": lambda: list(fit.train(epoch))}
    if keras.backend.backend() == "tensorflow":
        many_steps._trained.steps_per_execution = 30
        work["30 steps"] = lambda: list(many_steps.train(epoch))
    return work | {"PyDataset": lambda: train_from_py_dataset(dataset, epoch)}


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="123")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")

    from mirex_submission.system.runtime import start_keras

    print(start_keras(threads=args.threads, seed=0).description)
    print(f"load of the machine at the start: {os.getloadavg()[0]:.1f}\n")
    print("| model | trained by | ms per step: median | / loop | fastest | / loop |\n|---|---|---|---|---|---|")
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        unpack_earlier(Path(folder))
        for architecture in args.models:
            work = contenders(architecture, args.batches)
            for run in work.values():
                run()
            rounds = [{name: seconds(run) for name, run in work.items()} for _ in range(args.rounds)]
            result[architecture] = rounds
            for name in work:
                row = [architecture, name]
                for summary in (statistics.median, min):
                    epoch_s, loop_s = (summary(times[key] for times in rounds) for key in (name, "loop"))
                    row += [f"{1e3 * epoch_s / args.batches:.1f}", f"{epoch_s / loop_s:.2f}"]
                print(f"| {' | '.join(row)} |", flush=True)
    print(f"\nload of the machine at the end: {os.getloadavg()[0]:.1f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
