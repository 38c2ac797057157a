"""The three networks of Lidy and Schindler (MIREX 2016): what they are, apart from what computes them.

Input of each: log-Mel segments, float32 ``[batch, n_bands, n_frames]`` - frequency first, as the paper writes its
shapes. Each band is standardised; parallel pipelines of convolution, max pooling and leaky ReLU see the same segment;
their outputs are flattened and merged, and go through 200 sigmoid units and dropout to a softmax. All convolutions are
valid (unpadded), stride 1; poolings do not overlap and drop an incomplete rest, which is what gives the paper's printed
shapes. Computed by native.py on a CPU and by keras_network.py anywhere.
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
# frames, filters]; "dense/kernel", "class_probabilities/kernel" [inputs, units]; and beside each kernel its "bias".
Weights: TypeAlias = "dict[str, np.ndarray]"


@dataclass(frozen=True)
class Pipeline:
    """One convolution with its pooling; kernel and pool are (bands, frames)."""

    name: str
    filters: int
    kernel: tuple[int, int]
    pool: tuple[int, int]


# The paper's text gives model 2 32 filters (its figure 30) and model 3 "30, as with model 2"; the text is followed.
ARCHITECTURES: dict[str, tuple[Pipeline, ...]] = {
    "1": (Pipeline("timbre", 30, (10, 12), (1, 20)),),
    "2": (Pipeline("frequency", 32, (14, 15), (1, 17)), Pipeline("time", 32, (4, 8), (15, 1))),
    "3": (Pipeline("short", 30, (10, 12), (1, 20)), Pipeline("long", 30, (10, 34), (1, 20))),
}


def smallest_input(architecture: str) -> tuple[int, int]:
    """The smallest (n_bands, n_frames) that leaves every pipeline of the network at least one pooled value."""
    pipelines = ARCHITECTURES[architecture]
    bands, frames = (max(p.kernel[axis] + p.pool[axis] - 1 for p in pipelines) for axis in (0, 1))
    return bands, frames


def output_sizes(pipelines: tuple[Pipeline, ...], n_bands: int, n_frames: int) -> list[int]:
    """How many values each pipeline gives for a segment."""

    def n_cells(p: Pipeline) -> int:
        sizes = zip((n_bands, n_frames), p.kernel, p.pool, strict=True)
        return math.prod((n - kernel + 1) // pool for n, kernel, pool in sizes)

    return [n_cells(p) * p.filters for p in pipelines]


def operations(architecture: str, *, n_bands: int, n_frames: int, n_classes: int) -> tuple[int, int]:
    """Floating-point operations that a segment cannot do without: to predict it, and to train on it.

    Of a convolution only what the pooling looks at; backwards only the cells that the pooling kept, and no gradient by
    the input. A dense layer costs as much again by its weights, and again by its input.
    """
    pipelines = ARCHITECTURES[architecture]
    outputs = output_sizes(pipelines, n_bands, n_frames)
    backward = sum(2 * math.prod(p.kernel) * n for p, n in zip(pipelines, outputs, strict=True))
    forward = sum(2 * math.prod(p.kernel) * math.prod(p.pool) * n for p, n in zip(pipelines, outputs, strict=True))
    dense = 2 * (sum(outputs) * DENSE_UNITS + DENSE_UNITS * n_classes)
    return forward + dense, forward + backward + 3 * dense


def weight_shapes(architecture: str, *, n_bands: int, n_frames: int, n_classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of every weight, in the order of the layers."""
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
    """What a training starts from: kernels uniform after Glorot and Bengio (AISTATS 2010), biases 0.

    mean, std : of each band, [shape=(n_bands,)], in log10 units; the network standardises its input with them.
    """
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(architecture, n_bands=n_bands, n_frames=n_frames, n_classes=n_classes).items():
        if name.endswith("/kernel"):
            # A unit sees a patch of one channel (or all units before it), and is seen by as many of every filter.
            seen = math.prod(shape[:-1])
            limit = math.sqrt(6 / (seen + shape[-1] * (seen if len(shape) == 3 else 1)))
            weights[name] = rng.uniform(-limit, limit, shape)
        else:
            weights[name] = {"standardise/mean": mean, "standardise/std": std}.get(name, np.zeros(shape))
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}
