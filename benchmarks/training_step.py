#!/usr/bin/env python3
"""Time a training step of each network with our fused kernels against the same network of stock Keras layers.

    training_step.py [--threads N] [--rounds N]

Both are trained by turns on the same random segments in one process: on a shared machine only the ratio counts.
Medians of whole `train_on_batch` calls of 40 segments 40x80, in milliseconds a segment.
"""

import argparse
import statistics
import tempfile
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()

    from mirex_submission.system import runtime

    runtime.prepare(tempfile.gettempdir(), threads=args.threads)
    print(runtime.start_keras(threads=args.threads, seed=0))
    import keras
    import numpy as np

    from mirex_submission.models import architectures
    from mirex_submission.models.fused import ConvolutionMaxPool

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 40, 80)).astype(np.float32), rng.integers(0, 10, 40)
    print(f"{'model':6}{'stock':>9}{'fused':>9}{'ratio':>8}   ms a segment, median of {args.rounds}")
    for architecture in architectures.ARCHITECTURES:
        models = {}
        for name, fuse in (("stock", None), ("fused", ConvolutionMaxPool)):
            models[name] = architectures.build(architecture, n_bands=40, n_frames=80, n_classes=10, fuse=fuse)
            models[name].compile(
                keras.optimizers.SGD(0.02), "sparse_categorical_crossentropy", jit_compile=runtime.compile_with_xla()
            )
            models[name].train_on_batch(x, y)
        times = {name: [] for name in models}
        for _ in range(args.rounds):
            for name, model in models.items():
                start = time.perf_counter()
                model.train_on_batch(x, y)
                times[name].append((time.perf_counter() - start) * 1000 / len(x))
        stock, fused = (statistics.median(times[name]) for name in ("stock", "fused"))
        print(f"{architecture:6}{stock:9.3f}{fused:9.3f}{stock / fused:8.2f}")


if __name__ == "__main__":
    main()
