"""A network in Keras 3, for what the native one cannot use: a GPU, another backend, a machine without a compiler."""

from __future__ import annotations

import keras
import numpy as np

from mirex_submission.models.architectures import ARCHITECTURES, DENSE_UNITS, DROPOUT_RATE, LEAKY_SLOPE, Weights
from mirex_submission.models.segments import dropout_rng
from mirex_submission.system.runtime import compile_with_xla

layers = keras.layers


def build(architecture: str, *, n_bands: int, n_frames: int, n_classes: int) -> keras.Model:
    """The network as Keras layers, with the names that its weights have in architectures.py."""
    segment = keras.Input((n_bands, n_frames), name="log_mel")
    standardise = layers.Normalization(axis=1, name="standardise")
    x = layers.Reshape((n_bands, n_frames, 1), name="channel")(standardise(segment))
    flat = []
    for p in ARCHITECTURES[architecture]:
        y = layers.Conv2D(p.filters, p.kernel, data_format="channels_last", name=f"{p.name}_convolution")(x)
        y = layers.MaxPooling2D(p.pool, data_format="channels_last", name=f"{p.name}_pooling")(y)
        # The leaky ReLU rises everywhere, so it commutes with the maximum: applied after the pooling it gives the same
        # values to the bit, from 15 to 20 times fewer cells.
        y = layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=f"{p.name}_activation")(y)
        flat.append(layers.Flatten(name=f"{p.name}_flatten")(y))
    x = layers.Concatenate(name="merge")(flat) if len(flat) > 1 else flat[0]
    x = layers.Dense(DENSE_UNITS, activation="sigmoid", name="dense")(x)
    x = layers.Dropout(DROPOUT_RATE, name="dropout")(x)
    x = layers.Dense(n_classes, activation="softmax", name="class_probabilities")(x)
    return keras.Model(segment, x, name=f"model_{architecture}")


class KerasNetwork:
    """An engine.Network."""

    def __init__(self, architecture: str, weights: Weights, *, n_frames: int) -> None:
        n_bands, n_classes = len(weights["standardise/mean"]), len(weights["class_probabilities/bias"])
        self.model = build(architecture, n_bands=n_bands, n_frames=n_frames, n_classes=n_classes)
        standardise = self.model.get_layer("standardise")
        standardise.adapt_mean.assign(weights["standardise/mean"])
        standardise.adapt_variance.assign(np.square(weights["standardise/std"]))
        standardise.finalize_state()
        for name, layer, variable in self._variables():
            variable.assign(np.reshape(weights[f"{layer}/{name}"], variable.shape))
        self._standardisation = {name: weights[name] for name in ("standardise/mean", "standardise/std")}
        self.model.compile(
            optimizer=keras.optimizers.SGD(),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=compile_with_xla(),
        )

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
        return np.asarray(self.model.predict_on_batch(segments))

    def begin_epoch(self, seed: int, epoch: int) -> None:
        rng = dropout_rng(seed, epoch)
        state = self.model.get_layer("dropout").seed_generator.state
        state.assign(rng.integers(0, 2**31, state.shape))
        keras.utils.set_random_seed(int(rng.integers(2**31)))  # PyTorch's dropout asks nobody else

    def train(
        self, segments: np.ndarray, targets: np.ndarray, *, learning_rate: float, weights: np.ndarray | None = None
    ) -> tuple[float, int]:
        if self.model.optimizer.learning_rate != learning_rate:
            self.model.optimizer.learning_rate = learning_rate
        self.model.reset_metrics()  # older versions of Keras 3 average over all batches so far
        logs = self.model.train_on_batch(segments, targets, sample_weight=weights, return_dict=True)
        return float(logs["loss"]) * len(segments), round(float(logs["accuracy"]) * len(segments))
