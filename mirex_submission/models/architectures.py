"""The three networks of Lidy and Schindler (MIREX 2016), in Keras 3 alone, so that any of its backends runs them.

Input of each: log-Mel segments, float32 ``[batch, n_bands, n_frames]`` - frequency first, as the paper writes its
shapes. Output: class probabilities ``[batch, n_classes]``. All convolutions are valid (unpadded), stride 1;
poolings do not overlap and drop an incomplete rest, which is what gives the paper's printed shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import keras

LEAKY_SLOPE = 0.3
DENSE_UNITS = 200
DROPOUT_RATE = 0.2

# (convolution, pooling) -> one layer
Fuse: TypeAlias = "Callable[[keras.layers.Conv2D, keras.layers.MaxPooling2D], keras.layers.Layer]"


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


def build(
    architecture: str, *, n_bands: int, n_frames: int, n_classes: int, seed: int = 0, fuse: Fuse | None = None
) -> keras.Model:
    """Build one network with freshly initialised weights.

    Its first layer standardises each band with statistics that are weights of the model, so that a saved model
    standardises by itself; `set_standardisation` gives them.

    Parameters
    ----------
    architecture : "1", "2" or "3".
    n_bands, n_frames : size of a segment; at least `smallest_input(architecture)`.
    n_classes : width of the softmax.
    seed : decides the initial weights and the dropout masks.
    fuse : makes one layer of a convolution and its pooling, equal to the two in all it computes and in its weights.
    """
    import keras

    layers = keras.layers
    # Every random thing gets a seed of its own: equal seeds would give layers of one shape equal weights.
    seeds = iter(np.random.SeedSequence(seed).generate_state(16).tolist())

    def glorot() -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=next(seeds) >> 1)

    segment = keras.Input((n_bands, n_frames), name="log_mel")
    standardise = layers.Normalization(axis=1, name="standardise")
    x = layers.Reshape((n_bands, n_frames, 1), name="channel")(standardise(segment))

    flat = []
    for p in ARCHITECTURES[architecture]:
        convolution = layers.Conv2D(
            p.filters, p.kernel, kernel_initializer=glorot(), data_format="channels_last", name=f"{p.name}_convolution"
        )
        pooling = layers.MaxPooling2D(p.pool, data_format="channels_last", name=f"{p.name}_pooling")
        y = fuse(convolution, pooling)(x) if fuse else pooling(convolution(x))
        # The leaky ReLU rises everywhere, so it commutes with the maximum: applied after the pooling it gives the same
        # values to the bit, from 15 to 20 times fewer cells.
        y = layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=f"{p.name}_activation")(y)
        flat.append(layers.Flatten(name=f"{p.name}_flatten")(y))
    x = layers.Concatenate(name="merge")(flat) if len(flat) > 1 else flat[0]
    x = layers.Dense(DENSE_UNITS, activation="sigmoid", kernel_initializer=glorot(), name="dense")(x)
    x = layers.Dropout(DROPOUT_RATE, seed=next(seeds) >> 1, name="dropout")(x)
    x = layers.Dense(n_classes, activation="softmax", kernel_initializer=glorot(), name="class_probabilities")(x)
    return keras.Model(segment, x, name=f"model_{architecture}")


def set_standardisation(model: keras.Model, mean: np.ndarray, std: np.ndarray) -> None:
    """Give a network the mean and standard deviation of each band, [shape=(n_bands,)], in log10 units."""
    layer = model.get_layer("standardise")
    layer.adapt_mean.assign(np.asarray(mean, np.float32))
    layer.adapt_variance.assign(np.square(np.asarray(std, np.float32)))
    layer.finalize_state()
