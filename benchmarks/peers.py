"""The networks as others would compute them, and what no way to compute them can do without."""

from __future__ import annotations

import functools
import os


def one_setting(threads):
    """Before any library is loaded: as many threads for each of them. OpenBLAS, which only we use, is never given more
    than one (see system/runtime.py): our threads call it side by side."""
    for name in ("OMP_NUM", "MKL_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
        os.environ[f"{name}_THREADS"] = str(threads)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}


def torch_network(architecture, *, n_classes, threads):
    """The same network in plain PyTorch: (module, [trainable parameters])."""
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
    """float32 operations a second of a matrix product in the best BLAS here, PyTorch's if it is installed."""
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
    """Run each contender once a round and print their medians; a dict of them, in milliseconds a segment.

    contenders : name -> a function that prepares and returns what is timed, which does n_segments segments.
    """
    import statistics
    import time

    runs, missing = {}, {}
    for name, prepare in contenders.items():
        try:
            runs[name] = prepare()
            runs[name]()  # warms up, and compiles
        except Exception as error:  # noqa: BLE001 - whatever a library lacks here is said in the table
            runs.pop(name, None)
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start) / n_segments)
    ms = {name: statistics.median(values) for name, values in times.items()}
    print(f"{title}\n  {'':24}{'ms a segment':>13}{'/ ours':>9}{'/ floor':>9}")
    for name, value in [*ms.items(), ("floor", floor_ms)]:
        print(f"  {name:24}{value:13.3f}{value / ms['ours']:9.2f}{value / floor_ms:9.2f}")
    for name, why in missing.items():
        print(f"  {name:24} not measured: {why}")
    print(flush=True)
    return {"ms": ms, "floor_ms": floor_ms, "missing": missing}
