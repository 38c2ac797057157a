#!/usr/bin/env python3
"""Time the training of each network: ours, stock `model.fit`, PyTorch eager and compiled; then feeding and memory.

    training.py [--threads N] [--rounds N] [--only speed,feeding,memory]

speed   milliseconds per segment in batches of 40 segments of 40 x 80; each contender gets 20 batches per round.
        Ours draws and cuts its segments, as in training; stock `fit` has them in memory; PyTorch gets ready tensors.
        Floor: the operations of a step (networks/sizes.py) at the speed of a matrix product, best of 5 in this run.
feeding share of a step that is spent on drawing the order and cutting segments, for 100 and for 100,000 tracks.
memory  a separate process packs 1,000 or 50,000 tracks of 4 s and trains 20 batches: its peak memory, and its anonymous
        memory, which does not include the page cache.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from peers import compare, matrix_rate, one_setting, torch_network

BATCH, N_BATCHES, N_CLASSES, SIZES = 40, 20, 10, {"n_bands": 40, "n_frames": 80}
TRACKS = (1_000, 50_000)


def ours(architecture, threads):
    import numpy as np

    from mirex_submission.networks import engine
    from mirex_submission.networks.sizes import initial_weights
    from mirex_submission.training.recipe import Recipe
    from mirex_submission.training.segments import make_epoch

    frames = np.random.default_rng(0).normal(-2, 1, (50_000, SIZES["n_bands"])).astype(np.float32)
    n_segments = BATCH * N_BATCHES
    starts = np.random.default_rng(1).integers(0, len(frames) - SIZES["n_frames"], n_segments)
    targets = np.random.default_rng(2).integers(0, N_CLASSES, n_segments)
    weights = initial_weights(architecture, **SIZES, n_classes=N_CLASSES, mean=np.full(40, -2), std=np.ones(40), seed=0)
    network = engine.Engine(threads, "").network(architecture, weights, n_frames=SIZES["n_frames"])

    def epoch():
        drawn = make_epoch(frames, starts, targets, Recipe(), n_frames=SIZES["n_frames"])
        return sum(n_right for _, _, n_right in network.train(drawn))

    return epoch


def data():
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (BATCH * N_BATCHES, SIZES["n_bands"], SIZES["n_frames"])
    return rng.normal(-2, 1, shape).astype(np.float32), rng.integers(0, N_CLASSES, shape[0])


def stock_fit(architecture, threads):
    import keras

    from mirex_submission.networks.keras_network import build
    from mirex_submission.system.runtime import start_keras

    start_keras(threads=threads, seed=0)
    model = build(architecture, **SIZES, n_classes=N_CLASSES)
    model.compile(keras.optimizers.SGD(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = data()
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0)


def pytorch(architecture, threads, *, compiled=False):
    import torch

    network = torch_network(architecture, n_classes=N_CLASSES, threads=threads)
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    x, y = map(torch.from_numpy, data())
    loss = torch.nn.CrossEntropyLoss()
    run = torch.compile(network) if compiled else network

    def epoch():
        for k in range(0, len(x), BATCH):
            optimizer.zero_grad()
            loss(run(x[k : k + BATCH]), y[k : k + BATCH]).backward()
            optimizer.step()

    return epoch


CONTENDERS = {
    "ours": ours,
    "stock model.fit": stock_fit,
    "PyTorch eager": pytorch,
    "PyTorch compiled": lambda *args: pytorch(*args, compiled=True),
}


def speed(args):
    from mirex_submission.networks.sizes import operations

    rate = matrix_rate(args.threads)
    print(f"matrix product: {rate / 1e9:.0f} GFLOP/s in float32 on {args.threads} threads\n")
    result = {"matrix_product": rate}
    for architecture in "123":
        forward, step = operations(architecture, **SIZES, n_classes=N_CLASSES)
        result[architecture] = compare(
            f"model {architecture}: {forward / 1e6:.1f} MFLOP per segment forward, {step / 1e6:.1f} in a training step",
            {name: functools.partial(prepare, architecture, args.threads) for name, prepare in CONTENDERS.items()},
            rounds=args.rounds,
            n_segments=BATCH * N_BATCHES,
            floor_ms=1e3 * step / rate,
        )
    return result


def feeding(args):
    import numpy as np

    from mirex_submission.networks.epoch import cut
    from mirex_submission.training.recipe import Recipe
    from mirex_submission.training.segments import draw_order

    step_ms = {}
    for architecture in "123":
        epoch = ours(architecture, args.threads)
        epoch()
        start = time.perf_counter()
        epoch()
        step_ms[architecture] = 1e3 * (time.perf_counter() - start) / N_BATCHES
    frames = np.random.default_rng(0).normal(-2, 1, (200_000, 40)).astype(np.float32)
    result = {}
    for n_tracks in (100, 100_000):
        starts = np.random.default_rng(1).integers(0, len(frames) - 80, 30 * n_tracks)
        start = time.perf_counter()
        order = draw_order(len(starts), Recipe(), 0)
        draw_ms = 1e3 * (time.perf_counter() - start) / (len(starts) / BATCH)
        seconds = []
        for first in range(0, min(200 * BATCH, len(order)), BATCH):
            start = time.perf_counter()
            cut(frames, starts[order[first : first + BATCH]], 80)
            seconds.append(time.perf_counter() - start)
        feed_ms = draw_ms + 1e3 * statistics.median(seconds)
        shares = {a: feed_ms / ms for a, ms in step_ms.items()}
        shown = ", ".join(f"{100 * share:.1f} % of model {a}" for a, share in shares.items())
        print(f"{n_tracks} tracks: {feed_ms:.3f} ms per batch of {BATCH}: {shown}")
        result[n_tracks] = {"ms": feed_ms, "shares": shares}
    return result


def memory(args):
    result = {}
    for n_tracks in TRACKS:
        command = [sys.executable, __file__, "--memory-of", str(n_tracks), "--threads", str(args.threads)]
        result[n_tracks] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{n_tracks} tracks: peak {result[n_tracks]['peak'] / 1e6:.0f} MB, "
              f"anonymous {result[n_tracks]['anonymous'] / 1e6:.0f} MB")  # fmt: skip
    few, many = (result[n] for n in TRACKS)
    print(
        f"anonymous, {TRACKS[1]} / {TRACKS[0]} tracks: {many['anonymous'] / few['anonymous']:.2f} (goal: at most 1.10)"
    )
    return result


def memory_of(n_tracks, threads):
    """Print the memory of this process after packing and training, as JSON."""
    import numpy as np

    from mirex_submission.features.spec import FeatureSpec
    from mirex_submission.features.store import AudioState, FeatureStore, Header
    from mirex_submission.networks.engine import Engine
    from mirex_submission.networks.sizes import initial_weights
    from mirex_submission.training.dataset import pack
    from mirex_submission.training.recipe import Recipe
    from mirex_submission.training.segments import make_epoch

    spec, frames = FeatureSpec(), np.random.default_rng(0).normal(-2, 1, (114, 40)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        store, paths = FeatureStore(folder, spec), [f"/{k}.wav" for k in range(n_tracks)]
        for k, path in enumerate(paths):
            store.write(Header(path, AudioState(1, 2, 3), f"{k + 1:032x}", spec, len(frames), 4.0), frames)
        data = pack(Path(folder), store, paths, [k % N_CLASSES for k in range(n_tracks)], Recipe())
        weights = initial_weights("2", **SIZES, n_classes=N_CLASSES, mean=data.mean, std=data.std, seed=0)
        network = Engine(threads, "").network("2", weights, n_frames=80)
        more = {"n_frames": 80, "room": data.order_room}
        epoch = make_epoch(data.frames, data.starts_of(0), data.targets, Recipe(), **more)
        for _ in zip(range(20), network.train(epoch), strict=False):
            pass
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        kib = {name: int(status[name].split()[0]) for name in ("VmHWM", "RssAnon")}
        print(json.dumps({"peak": 1024 * kib["VmHWM"], "anonymous": 1024 * kib["RssAnon"]}))


SECTIONS = {"speed": speed, "feeding": feeding, "memory": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    one_setting(args.threads)
    if args.memory_of:
        memory_of(args.memory_of, args.threads)
        return
    result = {}
    for name in args.only.split(","):
        print(f"== {name}\n", flush=True)
        result[name] = SECTIONS[name](args)
    print("\nCompare only ratios within one run: on a shared machine, the milliseconds of two runs differ.")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
