"""A network in Keras 3, for what the native one cannot use: a GPU, another backend, a machine without a compiler."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from mirex_submission.models.architectures import ARCHITECTURES, DENSE_UNITS, DROPOUT_RATE, LEAKY_SLOPE, Weights
from mirex_submission.models.keras_steps import Steps, backend_of
from mirex_submission.models.segments import Epoch, cut, draw_kept

layers = keras.layers

# Segments of one call of the compiled loop: an epoch of GTZAN's size, where the device holds the frames; few enough to
# keep memory small where each call brings its own.
_SEGMENTS_A_CALL = {True: 32_768, False: 4_096}


def build(architecture: str, *, n_bands: int, n_frames: int, n_classes: int, dtype: str = "float32") -> keras.Model:
    """The network as Keras layers, with the names that its weights have in architectures.py.

    dtype : Keras' policy for all layers between the standardised input and the logits.
    """
    segment = keras.Input((n_bands, n_frames), name="log_mel")
    standardise = layers.Normalization(axis=1, name="standardise", dtype="float32")
    x = layers.Reshape((n_bands, n_frames, 1), name="channel", dtype=dtype)(standardise(segment))
    flat = []
    for p in ARCHITECTURES[architecture]:
        y = layers.Conv2D(p.filters, p.kernel, data_format="channels_last", name=f"{p.name}_convolution", dtype=dtype)(
            x
        )
        y = layers.MaxPooling2D(p.pool, data_format="channels_last", name=f"{p.name}_pooling", dtype=dtype)(y)
        # The leaky ReLU rises everywhere, so it commutes with the maximum: applied after the pooling it gives the same
        # values to the bit, from 15 to 20 times fewer cells.
        y = layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=f"{p.name}_activation", dtype=dtype)(y)
        flat.append(layers.Flatten(name=f"{p.name}_flatten", dtype=dtype)(y))
    x = layers.Concatenate(name="merge", dtype=dtype)(flat) if len(flat) > 1 else flat[0]
    x = layers.Dense(DENSE_UNITS, activation="sigmoid", name="dense", dtype=dtype)(x)
    x = layers.Dropout(DROPOUT_RATE, name="dropout", dtype="float32")(x)
    x = layers.Dense(n_classes, name="class_probabilities", dtype="float32")(x)
    x = layers.Softmax(name="softmax", dtype="float32")(x)
    return keras.Model(segment, x, name=f"model_{architecture}")


class KerasNetwork:
    """An engine.Network.

    frames_bytes : how many bytes of frames may be held on the device. strategy : of tf.distribute, or None.
    """

    def __init__(
        self,
        architecture: str,
        weights: Weights,
        *,
        n_frames: int,
        dtype: str = "float32",
        xla: bool = False,
        frames_bytes: int = 0,
        strategy: Any = None,
    ) -> None:
        n_bands, n_classes = len(weights["standardise/mean"]), len(weights["class_probabilities/bias"])
        with strategy.scope() if strategy else contextlib.nullcontext():
            self.model = build(architecture, n_bands=n_bands, n_frames=n_frames, n_classes=n_classes, dtype=dtype)
            standardise = self.model.get_layer("standardise")
            standardise.adapt_mean.assign(weights["standardise/mean"])
            standardise.adapt_variance.assign(np.square(weights["standardise/std"]))
            standardise.finalize_state()
            for name, layer, variable in self._variables():
                variable.assign(np.reshape(weights[f"{layer}/{name}"], variable.shape))
            # In training not the dropout layer, but what every engine draws: the same units for the same seed.
            kept = keras.Input((DENSE_UNITS,), name="kept")
            dropped = layers.Multiply(name="dropped", dtype="float32")([self.model.get_layer("dense").output, kept])
            logits = keras.Model([self.model.input, kept], self.model.get_layer("class_probabilities")(dropped))
        self._standardisation = {name: weights[name] for name in ("standardise/mean", "standardise/std")}
        self._backend = backend_of(self.model, logits, n_frames=n_frames, xla=xla, strategy=strategy)
        self._frames_bytes = frames_bytes
        self._put: tuple[np.ndarray, Any] | None = None  # frames, and the same on the device

    def _variables(self) -> list[tuple[str, str, keras.Variable]]:
        named = [layer for layer in self.model.layers if layer.trainable_variables]
        return [(name, layer.name, getattr(layer, name)) for layer in named for name in ("kernel", "bias")]

    @property
    def weights(self) -> Weights:
        found = {}
        for name, layer, variable in self._variables():
            value = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
            found[f"{layer}/{name}"] = value[:, :, 0] if value.ndim == 4 else value  # of one channel
        return {**self._standardisation, **found}

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        return self._backend.probabilities(segments)

    def train(self, epoch: Epoch) -> Iterator[tuple[int, float, int]]:
        on_device = epoch.frames.nbytes <= self._frames_bytes
        if on_device and (self._put is None or self._put[0] is not epoch.frames):
            self._put = epoch.frames, self._backend.put(epoch.frames)
        batches, dropout = list(epoch.batches()), epoch.dropout_rng()
        # Calls of one shape, for each shape is compiled.
        n_calls = -(-len(epoch.starts) // _SEGMENTS_A_CALL[on_device])
        n_steps = -(-len(batches) // n_calls)
        for first in range(0, len(batches), n_steps):
            steps = _steps(epoch, batches[first : first + n_steps], n_steps, dropout)
            if on_device and self._put:
                frames = self._put[1]
            else:
                segments = cut(epoch.frames, steps.starts.ravel(), epoch.n_frames)
                frames = self._backend.put(segments.transpose(0, 2, 1).reshape(-1, segments.shape[1]))
                in_order = np.arange(steps.starts.size, dtype=np.int32) * epoch.n_frames
                steps = steps._replace(starts=in_order.reshape(steps.starts.shape))
            loss, n_right = self._backend.run(frames, steps, epoch.recipe.learning_rate)
            yield int(steps.counted.sum()), loss, round(n_right)


def _steps(epoch: Epoch, batches: list[np.ndarray], n_steps: int, dropout: np.random.Generator) -> Steps:
    """Batches as arrays, filled up to n_steps of the full size."""
    shape = n_steps, epoch.recipe.batch_size
    steps = Steps(
        starts=np.zeros(shape, np.int32),
        targets=np.zeros(shape, np.int32),
        weights=np.zeros(shape, np.float32),
        counted=np.zeros(shape, np.float32),
        kept=np.zeros((*shape, DENSE_UNITS), bool),
    )
    for k, batch in enumerate(batches):
        part = k, slice(len(batch))
        steps.starts[part], steps.targets[part] = epoch.starts[batch], epoch.targets[batch]
        steps.weights[part], steps.counted[part] = epoch.weights(batch), 1
        steps.kept[part] = draw_kept(dropout, len(batch))
    return steps
