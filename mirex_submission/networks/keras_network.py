"""Networks computed by Keras 3: the paper's (paper.py) on a GPU or with any backend, and those that packages add.

Keras' own `fit` trains them. On a CPU it is slower than hand-written loops, but much simpler (docs/training.md); on a
CPU the native kernel trains by default.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from mirex_submission.errors import MirexError, ModelError, UsageError
from mirex_submission.networks import paper
from mirex_submission.networks.epoch import Epoch, cut, draw_kept
from mirex_submission.networks.registry import NETWORKS, function_of
from mirex_submission.networks.sizes import ARCHITECTURES, DENSE_UNITS, DROPOUT_RATE, Weights

# Segments in one call of fit: few enough for small memory, many enough that the overhead of a call does not matter.
_SEGMENTS_A_CALL = 4096
# Steps that TensorFlow starts at once on a GPU, where starting a step takes longer than the step itself.
_STEPS_A_START = 32


def build(architecture: str, *, n_bands: int, n_frames: int, n_classes: int, dtype: str = "float32") -> keras.Model:
    """Build a network, the paper's or one that a package adds (see `paper.build` for the parameters).

    Raises
    ------
    UsageError
        No package adds the network, or its function fails.
    """
    sizes: dict[str, Any] = {"n_bands": n_bands, "n_frames": n_frames, "n_classes": n_classes, "dtype": dtype}
    if architecture in ARCHITECTURES:
        return paper.build(architecture, **sizes)
    function, package = function_of(architecture), " ".join(NETWORKS.package_of(architecture))

    def features(segment: keras.KerasTensor) -> keras.KerasTensor:
        y = function(segment)
        if not isinstance(y, keras.KerasTensor) or len(y.shape) != 2 or y.shape[1] is None:
            raise UsageError(
                f"model {architecture}: the function of {package} returns {getattr(y, 'shape', type(y).__name__)} "
                "instead of (None, n): end it with a Flatten or a global pooling",
                code="model.network-output",
            )
        return y

    try:
        return paper.build(architecture, **sizes, features=features)
    except MirexError:
        raise
    except Exception as error:  # the package's function may raise anything, for example if segments are too small
        raise UsageError(
            f"model {architecture}: the function of {package} fails on segments of {n_bands} bands x {n_frames} "
            f"frames: {type(error).__name__}: {error}",
            code="model.network-fails",
        ) from error


def initial_weights(
    architecture: str, *, n_bands: int, n_frames: int, n_classes: int, mean: np.ndarray, std: np.ndarray, seed: int
) -> Weights:
    """Draw the initial weights of an added network with the initialisers of its layers.

    Parameters
    ----------
    architecture : str
        Name of the network.
    n_bands, n_frames, n_classes : int
        Size of a segment, and number of classes.
    mean, std : np.ndarray
        Mean and standard deviation of each band, [n_bands], in log10 units, for the standardisation of the input.
    seed : int
        Seed of the initialisers.

    Raises
    ------
    UsageError
        See `build`.
    """
    keras.utils.set_random_seed(seed)
    model = build(architecture, n_bands=n_bands, n_frames=n_frames, n_classes=n_classes)
    weights = {"standardise/mean": np.asarray(mean, np.float32), "standardise/std": np.asarray(std, np.float32)}
    return weights | {name: _value(variable) for name, variable in _variables(architecture, model).items()}


def _variables(architecture: str, model: keras.Model) -> dict[str, keras.Variable]:
    """Return all variables that a training changes, keyed by the names of the weights.

    The variables of an added network are numbered here, because Keras' names of unnamed layers depend on the layers
    that the process made before.
    """
    if architecture in ARCHITECTURES:
        return {variable.path: variable for variable in model.trainable_variables}
    head, standardise = model.get_layer("class_probabilities"), model.get_layer("standardise")
    common = {id(variable) for layer in (head, standardise) for variable in layer.weights}
    added = [variable for variable in model.weights if id(variable) not in common]
    numbered = {f"{k:03d}/{variable.name}": variable for k, variable in enumerate(added)}
    return numbered | {"class_probabilities/kernel": head.kernel, "class_probabilities/bias": head.bias}


def _value(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


class KerasNetwork:
    """A network that Keras computes, an `engine.Network`.

    Parameters
    ----------
    architecture : str
        Name of the network.
    weights : Weights
        Its weights.
    n_frames : int
        Frames of a segment.
    dtype : {"float32", "mixed_bfloat16"}
        Keras' dtype policy.
    on_gpu : bool
        Whether the backend computes on a GPU.
    strategy : tf.distribute.Strategy, optional
        Set where several GPUs train one model.

    Raises
    ------
    ModelError
        The weights are those of another network.
    """

    def __init__(
        self,
        architecture: str,
        weights: Weights,
        *,
        n_frames: int,
        dtype: str = "float32",
        on_gpu: bool = False,
        strategy: Any = None,
    ) -> None:
        n_bands, n_classes = len(weights["standardise/mean"]), len(weights["class_probabilities/bias"])
        # XLA made TensorFlow 1.4 to 20 times slower on a CPU. JAX always compiles; PyTorch runs uncompiled.
        on_tensorflow = keras.backend.backend() == "tensorflow"
        jit_compile = {"tensorflow": on_gpu and strategy is None, "jax": True}.get(keras.backend.backend(), False)
        self._given, self._is_papers = weights, architecture in ARCHITECTURES
        with strategy.scope() if strategy else contextlib.nullcontext():
            self.model = build(architecture, n_bands=n_bands, n_frames=n_frames, n_classes=n_classes, dtype=dtype)
            self.model.jit_compile = jit_compile
            self._variables = _variables(architecture, self.model)
            self._assign(architecture, weights)
            self._trained = self._training_model()
            self._trained.compile(
                keras.optimizers.SGD(),
                # Sample weights are divided by the size of the mini-batch: the sum is the mean, on several GPUs too
                keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
                metrics=["accuracy"],
                jit_compile=jit_compile,
                steps_per_execution=_STEPS_A_START if on_tensorflow and on_gpu else 1,
            )
        weights_of_layers = {id(variable) for variable in self._trained.weights}
        self._seeds = [variable for variable in self._trained.variables if id(variable) not in weights_of_layers]

    def _training_model(self) -> keras.Model:
        """Return a model that ends at the logits, with the layers and variables of `self.model`."""
        head = self.model.get_layer("class_probabilities")
        if not self._is_papers:
            return keras.Model([self.model.input], head(head.input))
        # An input of kept units replaces the dropout layer, so that all engines drop the same units for the same seed.
        kept = keras.Input((DENSE_UNITS,), name="kept")
        y = keras.layers.Multiply(name="dropped", dtype="float32")([self.model.get_layer("dense").output, kept])
        return keras.Model([self.model.input, kept], head(y))

    def _assign(self, architecture: str, weights: Weights) -> None:
        standardise = self.model.get_layer("standardise")
        standardise.adapt_mean.assign(weights["standardise/mean"])
        standardise.adapt_variance.assign(np.square(weights["standardise/std"]))
        standardise.finalize_state()
        values = {name: value for name, value in weights.items() if not name.startswith("standardise/")}
        shapes, expected = ({name: tuple(v.shape) for name, v in x.items()} for x in (values, self._variables))
        if not self._is_papers and shapes != expected:
            raise ModelError(
                f"model {architecture}: its weights do not fit the network that is installed now: train again, or "
                "install the version of its package that it was trained with",
                code="model.network-changed",
            )
        for name, variable in self._variables.items():
            variable.assign(np.reshape(values[name], variable.shape))

    @property
    def weights(self) -> Weights:
        """Return a copy of the weights."""
        # Keras' kernels of the paper's convolutions have an axis of one input channel, which the weights leave out.
        values = {name: np.reshape(_value(v), self._given[name].shape) for name, v in self._variables.items()}
        return {name: values.get(name, given) for name, given in self._given.items()}

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        """Compute class probabilities; see `engine.Network`."""
        # With several GPUs, each one computes all segments, and Keras concatenates the results.
        return np.asarray(self.model.predict_on_batch(np.ascontiguousarray(segments)))[: len(segments)]

    def gradients(self, segments: np.ndarray, target: int) -> np.ndarray:
        """Compute the gradients of the logarithm of a class's probability; see `keras_gradients.gradients`."""
        from mirex_submission.networks.keras_gradients import gradients

        return gradients(self.model, segments, target)

    def train(self, epoch: Epoch) -> Iterator[tuple[int, float, int]]:
        """Train on the mini-batches of an epoch; see `engine.Network`."""
        dropout = epoch.dropout_rng()
        # The layers are seeded inside fit, because its first call builds the model, which draws from PyTorch's state.
        seed_layers = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: self._seed_layers(dropout))
        self._trained.optimizer.learning_rate = epoch.learning_rate
        # The smaller last mini-batch never begins a call, because Keras could not divide it among several GPUs.
        n_whole, n_a_call = len(epoch.order) // epoch.batch_size, max(1, _SEGMENTS_A_CALL // epoch.batch_size)
        for chosen in np.split(epoch.order, np.arange(n_a_call, n_whole, n_a_call) * epoch.batch_size):
            n = len(chosen)
            inputs = [np.ascontiguousarray(cut(epoch.frames, epoch.starts[chosen], epoch.n_frames))]
            if self._is_papers:
                inputs.append(draw_kept(dropout, n) / np.float32(1 - DROPOUT_RATE))
            targets = epoch.targets[chosen].astype(np.int32)
            batch_sizes = np.minimum(epoch.batch_size, n - np.arange(n) // epoch.batch_size * epoch.batch_size)
            history = self._trained.fit(
                inputs,
                targets,
                sample_weight=epoch.weights(chosen) / batch_sizes.astype(np.float32),
                batch_size=epoch.batch_size,
                shuffle=False,
                verbose=0,
                callbacks=[seed_layers],
            ).history
            yield n, float(history["loss"][0]) * n, round(float(history["accuracy"][0]) * n)

    def _seed_layers(self, rng: np.random.Generator) -> None:
        """Seed the layers that draw random numbers, so that a resumed training equals an uninterrupted one."""
        for seed in self._seeds:
            seed.assign(rng.integers(0, 2**31, seed.shape))
        if self._seeds:  # PyTorch's own dropout draws from the random state of the process instead
            keras.utils.set_random_seed(int(rng.integers(0, 2**31)))
