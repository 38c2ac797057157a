"""Sizes and initial weights of the paper's three networks, for the native kernel, which runs without Keras.

networks/paper.py is the definition to read; tests/networks/test_paper.py proves that this table equals its layers. A
network sees log-Mel segments, float32 [batch, n_bands, n_frames]. Convolutions are unpadded with stride 1; the windows
of a pooling do not overlap, and an incomplete one is dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

LEAKY_SLOPE = 0.3
DENSE_UNITS = 200
DROPOUT_RATE = 0.2

# Name -> float32 array: "standardise/mean", "standardise/std" [n_bands]; "<pipeline>_convolution/kernel" [bands,
# frames, filters]; "dense/kernel", "class_probabilities/kernel" [inputs, units]; and a "bias" for each kernel.
Weights: TypeAlias = "dict[str, np.ndarray]"


@dataclass(frozen=True)
class Pipeline:
    """A convolution and its pooling; kernel and pool are (bands, frames)."""

    name: str
    filters: int
    kernel: tuple[int, int]
    pool: tuple[int, int]


# The paper's text gives model 2 32 filters (its figure: 30) and model 3 "30, as with model 2". We follow the text.
ARCHITECTURES: dict[str, tuple[Pipeline, ...]] = {
    "1": (Pipeline("timbre", 30, (10, 12), (1, 20)),),
    "2": (Pipeline("frequency", 32, (14, 15), (1, 17)), Pipeline("time", 32, (4, 8), (15, 1))),
    "3": (Pipeline("short", 30, (10, 12), (1, 20)), Pipeline("long", 30, (10, 34), (1, 20))),
}


def smallest_input(architecture: str) -> tuple[int, int]:
    """Return the smallest (n_bands, n_frames) that leaves every pipeline at least one pooled value."""
    pipelines = ARCHITECTURES[architecture]
    bands, frames = (max(p.kernel[axis] + p.pool[axis] - 1 for p in pipelines) for axis in (0, 1))
    return bands, frames


def output_sizes(pipelines: tuple[Pipeline, ...], n_bands: int, n_frames: int) -> list[int]:
    """Return the number of values that each pipeline computes for a segment."""

    def n_cells(p: Pipeline) -> int:
        sizes = zip((n_bands, n_frames), p.kernel, p.pool, strict=True)
        return math.prod((n - kernel + 1) // pool for n, kernel, pool in sizes)

    return [n_cells(p) * p.filters for p in pipelines]


def multiply_accumulates(architecture: str, *, n_bands: int, n_frames: int, n_classes: int) -> int:
    """Count the multiply-accumulates of one segment's prediction over all layers, as challenges count them.

    Every output of a convolution counts, including those that the pooling drops.
    """
    pipelines = ARCHITECTURES[architecture]
    convolutions = sum(
        p.filters * math.prod(p.kernel) * (n_bands - p.kernel[0] + 1) * (n_frames - p.kernel[1] + 1) for p in pipelines
    )
    return convolutions + DENSE_UNITS * (sum(output_sizes(pipelines, n_bands, n_frames)) + n_classes)


def operations(architecture: str, *, n_bands: int, n_frames: int, n_classes: int) -> tuple[int, int]:
    """Count the fewest floating-point operations for one segment: to predict it, and to train on it.

    The forward pass of a convolution counts in the cells that the pooling reads; the backward pass counts in the cells
    that the pooling keeps, without the gradient of the input. In a dense layer the gradients of the weights and of the
    input each cost as much as the forward pass.
    """
    pipelines = ARCHITECTURES[architecture]
    outputs = output_sizes(pipelines, n_bands, n_frames)
    backward = sum(2 * math.prod(p.kernel) * n for p, n in zip(pipelines, outputs, strict=True))
    forward = sum(2 * math.prod(p.kernel) * math.prod(p.pool) * n for p, n in zip(pipelines, outputs, strict=True))
    dense = 2 * (sum(outputs) * DENSE_UNITS + DENSE_UNITS * n_classes)
    return forward + dense, forward + backward + 3 * dense


def weight_shapes(architecture: str, *, n_bands: int, n_frames: int, n_classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight, in the order of the layers."""
    pipelines = ARCHITECTURES[architecture]
    kernels: dict[str, tuple[int, ...]] = {f"{p.name}_convolution": (*p.kernel, p.filters) for p in pipelines}
    kernels["dense"] = (sum(output_sizes(pipelines, n_bands, n_frames)), DENSE_UNITS)
    kernels["class_probabilities"] = (DENSE_UNITS, n_classes)
    shapes: dict[str, tuple[int, ...]] = {"standardise/mean": (n_bands,), "standardise/std": (n_bands,)}
    for layer, shape in kernels.items():
        shapes |= {f"{layer}/kernel": shape, f"{layer}/bias": shape[-1:]}
    return shapes


def initial_weights(
    architecture: str, *, n_bands: int, n_frames: int, n_classes: int, mean: np.ndarray, std: np.ndarray, seed: int
) -> Weights:
    """Draw the weights that a training starts from: Glorot uniform kernels, biases 0.

    Parameters
    ----------
    architecture : {"1", "2", "3"}
        Name of the network.
    n_bands, n_frames, n_classes : int
        Size of a segment, and number of classes.
    mean, std : np.ndarray
        Mean and standard deviation of each band, [n_bands], in log10 units, for the standardisation of the input.
    seed : int
        Random seed.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
       AISTATS 2010.
    """
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(architecture, n_bands=n_bands, n_frames=n_frames, n_classes=n_classes).items():
        if name.endswith("/kernel"):
            # The inputs of a unit are a patch of the one channel, or all units of the layer before it.
            fan_in = math.prod(shape[:-1])
            fan_out = shape[-1] * (fan_in if len(shape) == 3 else 1)
            limit = math.sqrt(6 / (fan_in + fan_out))
            weights[name] = rng.uniform(-limit, limit, shape)
        else:
            weights[name] = {"standardise/mean": mean, "standardise/std": std}.get(name, np.zeros(shape))
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}
