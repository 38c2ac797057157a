"""What computes the networks: the native kernel on a CPU, or Keras on whatever its backend finds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mirex_submission.errors import DeviceError
from mirex_submission.models.architectures import Weights
from mirex_submission.models.compiled import kernel
from mirex_submission.system.runtime import start_keras


class Network(Protocol):
    """One network with its weights."""

    @property
    def weights(self) -> Weights: ...

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        """Class probabilities [n, n_classes] of log-Mel segments [n, n_bands, n_frames]."""

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Draw the dropout of this epoch from here on."""

    def train(
        self, segments: np.ndarray, targets: np.ndarray, *, learning_rate: float, weights: np.ndarray | None = None
    ) -> tuple[float, int]:
        """One step of SGD on the mean cross-entropy.

        segments : [n, n_bands, n_frames]; targets : integer classes [n]; weights : of each segment's loss, [n].

        Returns the sum of the losses and the number of segments that were classified rightly.
        """


@dataclass(frozen=True)
class Engine:
    """said : what it is, for the log and the bundle."""

    native: bool
    threads: int
    said: str

    def network(self, architecture: str, weights: Weights, *, n_frames: int) -> Network:
        if self.native and kernel:
            from mirex_submission.models.native import NativeNetwork

            return NativeNetwork(kernel, architecture, weights, threads=self.threads)
        from mirex_submission.models.keras_network import KerasNetwork

        return KerasNetwork(architecture, weights, n_frames=n_frames)


def start(device: str, *, threads: int, seed: int) -> Engine:
    """Choose the engine, and start Keras if it is that.

    device : "cpu"; "gpu"; or "auto": a GPU if there is one. $KERAS_BACKEND, if set, means Keras on any device.

    Raises DeviceError if a GPU is asked for and none is found.
    """
    wants_keras = bool(os.environ.get("KERAS_BACKEND")) or kernel is None
    if device == "gpu" or (device == "auto" and (wants_keras or _may_have_gpu())):
        said, has_gpu = start_keras(threads=threads, seed=seed, gpu=True)
        if has_gpu or (device == "auto" and wants_keras):
            return Engine(native=False, threads=threads, said=said)
        if device == "gpu":
            raise DeviceError(
                f"no GPU is found by {said}. The usual causes: the container was started without it (`--gpus all`); "
                "the driver is not loaded, or older than the libraries (see `nvidia-smi`); the libraries for it are "
                "not installed (`pip install .[gpu]`). --device cpu does without"
            )
    if wants_keras:
        return Engine(native=False, threads=threads, said=start_keras(threads=threads, seed=seed, gpu=False)[0])
    assert kernel
    return Engine(True, threads, f"native kernel, CPU, vectors of {kernel.LANES[-1]}, {threads} threads")


def _may_have_gpu() -> bool:
    """Whether the system has a device that Keras' backend might find: asking it takes seconds."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or any(Path(f"/dev/{name}").exists() for name in ("dxg", "kfd"))
