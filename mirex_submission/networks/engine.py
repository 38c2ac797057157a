"""The engine that computes networks: the native kernel on a CPU, or Keras on the device of its backend."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mirex_submission.errors import DeviceError, UsageError
from mirex_submission.networks import sizes
from mirex_submission.networks.epoch import Epoch
from mirex_submission.networks.kernel import NativeNetwork, compiled
from mirex_submission.networks.sizes import ARCHITECTURES, Weights
from mirex_submission.system.runtime import Keras, start_keras


class Network(Protocol):
    """One network with its weights."""

    @property
    def weights(self) -> Weights: ...

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        """Compute the class probabilities [n, n_classes] of log-Mel segments [n, n_bands, n_frames]."""

    def train(self, epoch: Epoch) -> Iterator[tuple[int, float, int]]:
        """Take one step of SGD on the mean cross-entropy for every mini-batch of the epoch.

        Yields
        ------
        (int, float, int)
            Repeatedly: the number of segments since the last yield, the sum of their losses, and how many of them were
            classified correctly.
        """


@dataclass(frozen=True)
class Engine:
    """An engine that was started.

    Parameters
    ----------
    threads : int
        Threads of the computation.
    description : str
        Engine, device and precision, for the log and the model.
    keras : Keras, optional
        Keras as it was started; None for the native kernel.
    dtype : {"float32", "mixed_bfloat16"}
        Keras' dtype policy.
    """

    threads: int
    description: str
    keras: Keras | None = None
    dtype: str = "float32"

    @property
    def name(self) -> str:
        """Return "keras" or "native"."""
        return "keras" if self.keras else "native"

    @property
    def on_gpu(self) -> bool:
        """Return whether the engine computes on a GPU."""
        return self.keras is not None and self.keras.n_gpus > 0

    @property
    def n_replicas(self) -> int:
        """Return the number of devices that train one model together."""
        return self.keras.strategy.num_replicas_in_sync if self.keras and self.keras.strategy else 1

    def network(self, architecture: str, weights: Weights, *, n_frames: int) -> Network:
        """Make a network with these weights, for segments of `n_frames` frames."""
        if self.keras is None:
            return NativeNetwork(architecture, weights, threads=self.threads)
        from mirex_submission.networks.keras_network import KerasNetwork

        return KerasNetwork(
            architecture,
            weights,
            n_frames=n_frames,
            dtype=self.dtype,
            on_gpu=self.on_gpu,
            strategy=self.keras.strategy,
        )

    def initial_weights(
        self, architecture: str, *, n_bands: int, n_frames: int, n_classes: int, mean: np.ndarray, std: np.ndarray,
        seed: int,
    ) -> Weights:  # fmt: skip
        """Draw the weights that a training starts from (see `sizes.initial_weights`)."""
        if architecture in ARCHITECTURES:
            draw = sizes.initial_weights
        else:
            from mirex_submission.networks.keras_network import initial_weights as draw
        shape = {"n_bands": n_bands, "n_frames": n_frames, "n_classes": n_classes}
        return draw(architecture, **shape, mean=mean, std=std, seed=seed)


def check_device(device: str) -> None:
    """Check, without starting Keras, that the system has a GPU if one is requested.

    Raises
    ------
    DeviceError
        The system has no GPU device.
    """
    if device.startswith("gpu") and not _may_have_gpu():
        raise _no_gpu(len(_numbers(device)), 0, "this system (no /dev/nvidia*, /dev/kfd or /dev/dxg)")


def needs_keras(device: str, networks: Collection[str], engine: str = "auto") -> bool:
    """Return whether `start` loads Keras."""
    if engine == "auto":
        may_use_gpu = device.startswith("gpu") or (device == "auto" and _may_have_gpu())
        return may_use_gpu or _keras_computes(networks)
    return engine == "keras"


def _keras_computes(networks: Collection[str]) -> bool:
    """Return whether Keras computes these networks even on a CPU when no engine is requested."""
    return bool(os.environ.get("KERAS_BACKEND")) or compiled is None or not set(networks) <= set(ARCHITECTURES)


def start(
    device: str,
    *,
    threads: int,
    seed: int,
    networks: Collection[str] = (),
    precision: str = "float32",
    together: bool = False,
    engine: str = "auto",
) -> Engine:
    """Choose the engine, and start Keras if that is the choice.

    Parameters
    ----------
    device : str
        "cpu"; "gpu": the first GPU; "gpu:1,2": GPUs 1 and 2; "auto": a GPU if there is one.
    threads : int
        Threads of the computation.
    seed : int
        Seed of Keras and its backend.
    networks : collection of str
        Networks to compute; the native kernel has only the paper's.
    precision : {"float32", "auto"}
        "auto": bfloat16 between input and logits where a GPU supports it.
    together : bool
        Train one model on all these GPUs.
    engine : {"auto", "keras", "native"}
        "auto": the native kernel on a CPU; Keras on a GPU, with $KERAS_BACKEND, or where the kernel is missing.

    Raises
    ------
    DeviceError
        A requested GPU, or the native kernel, is missing.
    UsageError
        The engine or its backend cannot do what is requested.
    """
    if engine == "native":
        _check_native(device, networks)
        return _native(threads)
    gpus = [] if device == "cpu" else _numbers(device)
    if len(gpus) > 1:
        _check_several_gpus(os.environ.get("KERAS_BACKEND"), networks)
    if not needs_keras(device, networks, engine):
        return _native(threads)
    keras = start_keras(threads=threads, seed=seed, gpus=gpus, together=together)
    if device.startswith("gpu") and keras.n_gpus != len(gpus):
        raise _no_gpu(len(gpus), keras.n_gpus, keras.description)
    if keras.n_gpus or engine == "keras" or _keras_computes(networks):
        return _with_keras(keras, threads, precision)
    return _native(threads)  # the system has a device file of a GPU, but Keras' backend cannot use it


def _native(threads: int) -> Engine:
    return Engine(threads, f"native kernel, CPU, vectors of {compiled.LANES[-1]}, {threads} threads, float32")


def _check_native(device: str, networks: Collection[str]) -> None:
    added = sorted(set(networks) - set(ARCHITECTURES))
    if device.startswith("gpu"):
        raise UsageError(
            f"--engine native computes on a CPU, but --device is {device}: leave out one of them",
            code="usage.native-gpu",
        )
    if added:
        raise UsageError(
            f"--engine native has the paper's networks only, not {', '.join(added)}: leave out --engine",
            code="usage.native-network",
        )
    if compiled is None:
        raise DeviceError(
            "--engine native: no compiled kernel is installed: install a C compiler, then install this package again, "
            "or leave out --engine",
            code="device.no-kernel",
        )


def _check_several_gpus(backend: str | None, networks: Collection[str]) -> None:
    if backend not in (None, "", "tensorflow"):
        raise UsageError(
            f"several GPUs train one model on TensorFlow only, not on KERAS_BACKEND={backend}: unset it, or name "
            "one GPU",
            code="usage.several-gpus",
        )
    added = sorted(set(networks) - set(ARCHITECTURES))
    if added:
        raise UsageError(
            f"several GPUs train the paper's networks only, not {', '.join(added)}: name one GPU",
            code="usage.several-gpus",
        )


def _with_keras(keras: Keras, threads: int, precision: str) -> Engine:
    mixed = precision == "auto" and keras.n_gpus and keras.has_bfloat16
    description = f"{keras.description}, {'bfloat16' if mixed else 'float32'}"
    if keras.strategy:
        description += f", {keras.strategy.num_replicas_in_sync} replicas by {type(keras.strategy).__name__}"
    return Engine(threads, description, keras, "mixed_bfloat16" if mixed else "float32")


def _numbers(device: str) -> list[int]:
    """Return the numbers of the GPUs in `device`; without numbers, that of the first GPU."""
    numbers = device.partition(":")[2]
    return [int(number) for number in numbers.split(",")] if numbers else [0]


def _no_gpu(n_requested: int, n_present: int, by: str) -> DeviceError:
    return DeviceError(
        f"{n_requested} GPU requested, but {by} has {n_present}. Usual causes: the host has no driver, or one older "
        "than the libraries (see `nvidia-smi`); the container was started without `--gpus all`, or the host lacks the "
        "NVIDIA container runtime; the libraries are not installed (`pip install .[gpu]`), or this is the image for "
        "CPUs (`bin/docker-build.sh --gpu`). --device cpu computes without a GPU",
        code="device.no-gpu",
    )


def _may_have_gpu() -> bool:
    """Return whether the system has a device file of a GPU: a question to Keras' backend would take seconds."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or any(Path(f"/dev/{name}").exists() for name in ("dxg", "kfd"))
