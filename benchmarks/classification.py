#!/usr/bin/env python3
"""Time prediction and whole classifications: ours, Keras and PyTorch.

    classification.py [--threads N] [--rounds N] [--tracks N]

predict  milliseconds per segment, for one track (30 segments of 40 x 80) at a time; each contender gets 20 tracks per
         round. Floor: the operations of the forward pass at the speed of a matrix product (see training.py).
whole    classify.sh for many tracks with stored features: additional time per track beyond the first one, compared with
         the time of the network alone in this process.
start    classify.sh for one stored track, compared with `import tensorflow` and loading a model saved by Keras.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from peers import compare, matrix_rate, one_setting, torch_network

SEGMENTS, TRACKS_A_ROUND, N_CLASSES, SIZES = 30, 20, 10, {"n_bands": 40, "n_frames": 80}
BIN = Path(__file__).resolve().parent.parent / "bin"


def weights_of(architecture):
    import numpy as np

    from mirex_submission.networks.sizes import initial_weights

    return initial_weights(architecture, **SIZES, n_classes=N_CLASSES, mean=np.full(40, -2), std=np.ones(40), seed=0)


def ours(architecture, threads):
    from mirex_submission.networks.engine import Engine

    return Engine(threads, "").network(architecture, weights_of(architecture), n_frames=80).probabilities


def keras_predict(architecture, threads):
    from mirex_submission.system.runtime import start_keras

    start_keras(threads=threads, seed=0)
    from mirex_submission.networks.keras_network import KerasNetwork

    return KerasNetwork(architecture, weights_of(architecture), n_frames=80).probabilities


def pytorch(architecture, threads):
    import torch

    network = torch_network(architecture, n_classes=N_CLASSES, threads=threads).eval()

    @torch.inference_mode()
    def run(x):
        return network(torch.from_numpy(x).contiguous()).softmax(dim=1).numpy()

    return run


CONTENDERS = {"ours": ours, "Keras predict_on_batch": keras_predict, "PyTorch eager": pytorch}


def segments(seed=0):
    """Make segments with the memory layout of segments of a clip: a transposed view, frequency first."""
    import numpy as np

    return np.random.default_rng(seed).normal(-2, 1, (SEGMENTS, 80, 40)).astype(np.float32).transpose(0, 2, 1)


def predict(args):
    from mirex_submission.networks.sizes import operations

    rate, x, result = matrix_rate(args.threads), segments(), {}

    def tracks(prepare, architecture):
        run = prepare(architecture, args.threads)
        return lambda: [run(x) for _ in range(TRACKS_A_ROUND)]

    for architecture in "123":
        forward, _ = operations(architecture, **SIZES, n_classes=N_CLASSES)
        result[architecture] = compare(
            f"model {architecture}",
            {name: functools.partial(tracks, prepare, architecture) for name, prepare in CONTENDERS.items()},
            rounds=args.rounds,
            n_segments=TRACKS_A_ROUND * SEGMENTS,
            floor_ms=1e3 * forward / rate,
        )
    return result


def seconds(command, env=None):
    start = time.perf_counter()
    subprocess.run(command, env=env, check=True, capture_output=True)
    return time.perf_counter() - start


LOAD = """
import tensorflow, keras, sys
keras.models.load_model(sys.argv[1])
"""


def commands(args):
    """Measure the sections "whole" and "start", on a synthetic corpus and a model trained on it."""
    import soundfile

    env = {**os.environ, "MIREX_PYTHON": sys.executable}
    env.pop("KERAS_BACKEND")  # it would select the Keras engine
    with tempfile.TemporaryDirectory() as folder:
        import numpy as np

        paths = [f"{folder}/{k}.wav" for k in range(args.tracks)]
        for k, path in enumerate(paths):
            soundfile.write(path, np.random.default_rng(k).uniform(-0.5, 0.5, 30 * 22050), 22050)
        lists = {n: Path(folder, f"{n}.txt") for n in (1, args.tracks)}
        for n, file in lists.items():
            file.write_text("".join(f"{path}\n" for path in paths[:n]))
        labelled = Path(folder, "train.txt")
        labelled.write_text("".join(f"{path}\tclass {k % N_CLASSES}\n" for k, path in enumerate(paths)))
        threads = ("-numThreads", str(args.threads))
        scratch = f"{folder}/scratch"
        subprocess.run([BIN / "train.sh", *threads, "--epochs", "1", "-q", scratch, labelled], env=env, check=True)
        from mirex_submission.networks.keras_network import KerasNetwork

        saved = f"{folder}/model.keras"
        KerasNetwork("2", weights_of("2"), n_frames=80).model.save(saved)

        alone, tracks = ours("2", args.threads), [segments(k) for k in range(args.tracks)]
        times = {"one": [], "all": [], "network": [], "load": []}
        for _ in range(args.rounds):
            for n, name in ((1, "one"), (args.tracks, "all")):
                command = [BIN / "classify.sh", *threads, scratch, lists[n], f"{folder}/out.txt"]
                times[name].append(seconds(command, env))
            start = time.perf_counter()
            for x in tracks:
                alone(x)
            times["network"].append(time.perf_counter() - start)
            times["load"].append(seconds([sys.executable, "-c", LOAD, saved]))
        s = {name: statistics.median(values) for name, values in times.items()}
    a_track = (s["all"] - s["one"]) / (args.tracks - 1)
    network = s["network"] / args.tracks
    print(f"whole, {args.tracks} stored tracks, model 2: {1e3 * a_track:.2f} ms per track; network alone "
          f"{1e3 * network:.2f}; ratio {a_track / network:.2f} (goal: at most 1.15)")  # fmt: skip
    print(f"start, one stored track: {s['one']:.2f} s; import tensorflow and load a model: {s['load']:.2f} s; ratio "
          f"{s['one'] / s['load']:.2f} (goal: at most 1.30)")  # fmt: skip
    return {**s, "whole": a_track / network, "start": s["one"] / s["load"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tracks", type=int, default=200)
    args = parser.parse_args()
    one_setting(args.threads)
    result = {"predict": predict(args), "commands": commands(args)}
    print("\nCompare only ratios within one run: on a shared machine, the milliseconds of two runs differ.")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
