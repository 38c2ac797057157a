"""What computes the networks: the native kernel on a CPU, or Keras on whatever its backend finds."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mirex_submission.errors import DeviceError, UsageError
from mirex_submission.networks import sizes as architectures
from mirex_submission.networks.compiled import kernel
from mirex_submission.networks.epoch import Epoch
from mirex_submission.networks.sizes import ARCHITECTURES, Weights
from mirex_submission.system.runtime import Keras, hosts, start_keras

_FRAMES_BYTES = 4_000_000_000  # of frames on a GPU; int32 can count them


class Network(Protocol):
    """One network with its weights."""

    @property
    def weights(self) -> Weights: ...

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        """Class probabilities [n, n_classes] of log-Mel segments [n, n_bands, n_frames]."""

    def train(self, epoch: Epoch) -> Iterator[tuple[int, float, int]]:
        """One step of SGD on the mean cross-entropy for every mini-batch of the epoch.

        Yields now and then how many segments are done since the last time, the sum of their losses, and how many of
        them were classified rightly.
        """


@dataclass(frozen=True)
class Engine:
    """said : what it is, for the log and the bundle. keras : None for the native kernel.

    dtype : Keras' policy, float32 or mixed_bfloat16.
    """

    threads: int
    said: str
    keras: Keras | None = None
    dtype: str = "float32"

    @property
    def on_gpu(self) -> bool:
        return self.keras is not None and self.keras.n_gpus > 0

    def network(self, architecture: str, weights: Weights, *, n_frames: int) -> Network:
        if self.keras is None:
            from mirex_submission.networks.kernel import NativeNetwork

            assert kernel
            return NativeNetwork(kernel, architecture, weights, threads=self.threads)
        from mirex_submission.networks.keras_network import KerasNetwork

        # On a CPU XLA made these networks 1.4 to 20 times slower than TensorFlow's oneDNN kernels.
        return KerasNetwork(
            architecture,
            weights,
            n_frames=n_frames,
            dtype=self.dtype,
            xla=self.on_gpu,
            frames_bytes=_FRAMES_BYTES if self.on_gpu else 0,
            strategy=self.keras.strategy,
        )

    def initial_weights(
        self, architecture: str, *, n_bands: int, n_frames: int, n_classes: int, mean: np.ndarray, std: np.ndarray,
        seed: int,
    ) -> Weights:  # fmt: skip
        """What a training starts from: see architectures.py, and keras_network.py of what a package adds."""
        if architecture in ARCHITECTURES:
            draw = architectures.initial_weights
        else:
            from mirex_submission.networks.keras_network import initial_weights as draw
        sizes = {"n_bands": n_bands, "n_frames": n_frames, "n_classes": n_classes}
        return draw(architecture, **sizes, mean=mean, std=std, seed=seed)

    def on_all_hosts(self, value: float) -> list[float]:
        """The `value` that each host calls this with: they wait for each other."""
        if self.keras is None or self.keras.strategy is None:
            return [value]
        from mirex_submission.networks.keras_steps import gather

        return gather(value, self.keras.strategy)


def check_device(device: str) -> None:
    """Raise DeviceError where a GPU is asked for and the system has none, which is known without starting Keras."""
    if device.startswith("gpu") and not _may_have_gpu():
        raise _no_gpu(len(_numbers(device)), 0, "this system (no /dev/nvidia*, /dev/kfd or /dev/dxg)")


def needs_keras(device: str, networks: Collection[str]) -> bool:
    """Whether start() loads Keras, and not only the native kernel."""
    asked = bool(os.environ.get("KERAS_BACKEND")) or device.startswith("gpu") or hosts()[1] > 1
    return asked or not _kernel_computes(networks) or (device == "auto" and _may_have_gpu())


def _kernel_computes(networks: Collection[str]) -> bool:
    return kernel is not None and set(networks) <= set(ARCHITECTURES)


def start(
    device: str,
    *,
    threads: int,
    seed: int,
    networks: Collection[str] = (),
    precision: str = "float32",
    together: bool = False,
) -> Engine:
    """Choose the engine, and start Keras if it is that.

    device : "cpu"; "gpu", the first one; "gpu:1,2", those; or "auto": a GPU if there is one. $KERAS_BACKEND, if set,
        means Keras on any device.
    networks : those to compute: the native kernel has only the paper's.
    precision : "float32", or "auto": bfloat16 in between where a GPU computes with it.
    together : train one model on all these GPUs, and on all hosts of $TF_CONFIG.

    Raises DeviceError if a GPU is asked for and not found, UsageError if the backend cannot do what is asked for.
    """
    kind, gpus = device.partition(":")[0], _numbers(device)
    n_hosts = hosts()[1] if together else 1
    several = n_hosts > 1 or len(gpus) > 1
    backend = os.environ.get("KERAS_BACKEND")
    if several and backend not in (None, "", "tensorflow"):
        raise UsageError(f"several GPUs or hosts train one model only on TensorFlow, not on KERAS_BACKEND={backend}")
    foreign = set(networks) - set(ARCHITECTURES)
    if several and foreign:
        raise UsageError(f"several GPUs or hosts train the paper's networks only, not {', '.join(foreign)}")
    wants_keras = bool(backend) or not _kernel_computes(networks) or n_hosts > 1
    if kind == "gpu" or (kind == "auto" and (wants_keras or _may_have_gpu())):
        keras = start_keras(threads=threads, seed=seed, gpus=gpus, together=together)
        if keras.n_gpus == len(gpus) or (kind == "auto" and wants_keras):
            return _with_keras(keras, threads, precision)
        if kind == "gpu":
            raise _no_gpu(len(gpus), keras.n_gpus, keras.said)
    if wants_keras:
        return _with_keras(start_keras(threads=threads, seed=seed, together=together), threads, precision)
    assert kernel
    return Engine(threads, f"native kernel, CPU, vectors of {kernel.LANES[-1]}, {threads} threads, float32")


def _with_keras(keras: Keras, threads: int, precision: str) -> Engine:
    mixed = precision == "auto" and keras.n_gpus and keras.has_bfloat16
    said = f"{keras.said}, {'bfloat16' if mixed else 'float32'}"
    if keras.strategy:
        said += f", {keras.strategy.num_replicas_in_sync} replicas by {type(keras.strategy).__name__}"
    return Engine(threads, said, keras, "mixed_bfloat16" if mixed else "float32")


def _numbers(device: str) -> list[int]:
    """The GPUs that are named, or the first one."""
    numbers = device.partition(":")[2]
    return [int(number) for number in numbers.split(",")] if numbers else [0]


def _no_gpu(n_asked: int, n_found: int, by: str) -> DeviceError:
    return DeviceError(
        f"{n_asked} GPU asked for, and {n_found} found by {by}. The usual causes: the host has no driver for it, or "
        "one older than the libraries (see `nvidia-smi`); the container was started without it (`--gpus all`), or the "
        "host lacks the NVIDIA container runtime; the libraries for it are not installed (`pip install .[gpu]`), or "
        "this is the image for CPUs (`bin/docker-build.sh --gpu`). --device cpu does without"
    )


def _may_have_gpu() -> bool:
    """Whether the system has a device that Keras' backend might find: asking it takes seconds."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or any(Path(f"/dev/{name}").exists() for name in ("dxg", "kfd"))
