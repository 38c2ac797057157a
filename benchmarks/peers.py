"""The networks in PyTorch, the speed of a matrix product as a lower bound of time, and a table of timings."""

from __future__ import annotations

import functools
import os


def one_setting(threads):
    """Set the number of threads of all libraries; call this before they are loaded.

    OpenBLAS, which only we use, always gets one thread (see system/runtime.py): our threads call it in parallel.
    """
    for name in ("OMP_NUM", "MKL_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
        os.environ[f"{name}_THREADS"] = str(threads)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}


def torch_network(architecture, *, n_classes, threads):
    """Build the same network in plain PyTorch."""
    import torch

    from mirex_submission.networks.sizes import ARCHITECTURES, DENSE_UNITS, DROPOUT_RATE, LEAKY_SLOPE

    torch.set_num_threads(threads)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pipelines = torch.nn.ModuleList(
                torch.nn.Sequential(
                    torch.nn.Conv2d(1, p.filters, p.kernel),
                    torch.nn.MaxPool2d(p.pool),
                    torch.nn.LeakyReLU(LEAKY_SLOPE),
                    torch.nn.Flatten(),
                )
                for p in ARCHITECTURES[architecture]
            )
            self.head = torch.nn.Sequential(
                torch.nn.LazyLinear(DENSE_UNITS),
                torch.nn.Sigmoid(),
                torch.nn.Dropout(DROPOUT_RATE),
                torch.nn.Linear(DENSE_UNITS, n_classes),
            )

        def forward(self, x):
            x = x[:, None]
            return self.head(torch.cat([pipeline(x) for pipeline in self.pipelines], dim=1))

    network = Network()
    network(torch.zeros(1, 40, 80))
    return network


def matrix_rate(threads):
    """Measure the float32 operations per second of a matrix product, in PyTorch if installed, otherwise in NumPy."""
    import time

    import numpy as np

    a = np.random.default_rng(0).random((2048, 2048), np.float32)
    try:
        import torch

        torch.set_num_threads(threads)
        product = functools.partial(torch.matmul, *[torch.from_numpy(a)] * 2)
    except ImportError:
        product = functools.partial(np.matmul, a, a)
    product()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return 2 * len(a) ** 3 / min(seconds)


def compare(title, contenders, *, rounds, n_segments, floor_ms):
    """Run each contender once per round; print and return the medians in milliseconds per segment.

    contenders : {name: function that prepares and returns the function to time, which processes n_segments segments}.
    """
    import statistics
    import time

    runs, missing = {}, {}
    for name, prepare in contenders.items():
        try:
            runs[name] = prepare()
            runs[name]()  # warms up and compiles
        except Exception as error:  # noqa: BLE001 - the table shows any error of a library
            runs.pop(name, None)
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start) / n_segments)
    ms = {name: statistics.median(values) for name, values in times.items()}
    print(f"{title}\n  {'':24}{'ms/segment':>13}{'/ ours':>9}{'/ floor':>9}")
    for name, value in [*ms.items(), ("floor", floor_ms)]:
        print(f"  {name:24}{value:13.3f}{value / ms['ours']:9.2f}{value / floor_ms:9.2f}")
    for name, why in missing.items():
        print(f"  {name:24} not measured: {why}")
    print(flush=True)
    return {"ms": ms, "floor_ms": floor_ms, "missing": missing}
