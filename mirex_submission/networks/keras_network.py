"""Networks in Keras 3: the paper's, where the native kernel cannot be used (a GPU, another backend, a machine without a
compiler), and those that packages add."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from mirex_submission.errors import MirexError, ModelError, UsageError
from mirex_submission.networks import paper
from mirex_submission.networks import registry as networks
from mirex_submission.networks.epoch import Epoch, cut, draw_kept
from mirex_submission.networks.keras_steps import Steps, backend_of
from mirex_submission.networks.sizes import ARCHITECTURES, DENSE_UNITS, Weights

# Segments of one call of the compiled loop: an epoch of GTZAN's size, where the device holds the frames; few enough to
# keep memory small where each call brings its own.
_SEGMENTS_A_CALL = {True: 32_768, False: 4_096}


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
    function, package = networks.function_of(architecture), " ".join(networks.package_of(architecture))

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
    except Exception as error:  # any exception of a stranger's function, as for segments that are too small
        raise UsageError(
            f"model {architecture}: the function of {package} fails on segments of {n_bands} bands x {n_frames} "
            f"frames: {type(error).__name__}: {error}",
            code="model.network-fails",
        ) from error


def initial_weights(
    architecture: str, *, n_bands: int, n_frames: int, n_classes: int, mean: np.ndarray, std: np.ndarray, seed: int
) -> Weights:
    """What a training of a network that a package adds starts from, as its layers' initialisers draw it.

    mean, std : of each band, [shape=(n_bands,)], in log10 units. Raises UsageError as build().
    """
    keras.utils.set_random_seed(seed)
    model = build(architecture, n_bands=n_bands, n_frames=n_frames, n_classes=n_classes)
    weights = {"standardise/mean": np.asarray(mean, np.float32), "standardise/std": np.asarray(std, np.float32)}
    return weights | {name: _value(variable) for name, variable in _variables(architecture, model).items()}


def _variables(architecture: str, model: keras.Model) -> dict[str, keras.Variable]:
    """All that a training changes, by name.

    Those of an added network are numbered: its layers' names may be Keras', which counts on through a process.
    """
    if architecture in ARCHITECTURES:
        named = [layer for layer in model.layers if layer.trainable_variables]
        return {f"{layer.name}/{name}": getattr(layer, name) for layer in named for name in ("kernel", "bias")}
    head, standardise = model.get_layer("class_probabilities"), model.get_layer("standardise")
    ours = {id(variable) for layer in (head, standardise) for variable in layer.weights}
    theirs = [variable for variable in model.weights if id(variable) not in ours]
    found = {f"{k:03d}/{variable.name}": variable for k, variable in enumerate(theirs)}
    return found | {"class_probabilities/kernel": head.kernel, "class_probabilities/bias": head.bias}


def _value(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


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
            self._variables = _variables(architecture, self.model)
            self._assign(architecture, weights)
            kept, head = keras.Input((DENSE_UNITS,), name="kept"), self.model.get_layer("class_probabilities")
            if architecture in ARCHITECTURES:
                # In training not the dropout layer, but what every engine draws: the same units for the same seed.
                features = keras.layers.Multiply(name="dropped", dtype="float32")(
                    [self.model.get_layer("dense").output, kept]
                )
            else:
                features = head.input
            logits = keras.Model([self.model.input, kept], head(features))
        weights_of_layers = {id(variable) for variable in logits.weights}
        self._seeds = [variable for variable in logits.variables if id(variable) not in weights_of_layers]
        self._given = weights
        self._backend = backend_of(self.model, logits, n_frames=n_frames, xla=xla, strategy=strategy)
        self._frames_bytes = frames_bytes
        self._put: tuple[np.ndarray, Any] | None = None  # frames, and the same on the device

    def _assign(self, architecture: str, weights: Weights) -> None:
        """Raises ModelError where they are those of another network."""
        values = {name: value for name, value in weights.items() if not name.startswith("standardise/")}
        shapes, expected = ({name: tuple(v.shape) for name, v in each.items()} for each in (values, self._variables))
        if architecture not in ARCHITECTURES and shapes != expected:
            raise ModelError(
                f"model {architecture}: its weights are not those of the network as it is installed now: train again, "
                "or install the version of its package that it was trained with"
            )
        for name, variable in self._variables.items():
            variable.assign(np.reshape(values[name], variable.shape))

    @property
    def weights(self) -> Weights:
        # The kernels of the paper's convolutions have one channel, which their weights leave out.
        values = {name: np.reshape(_value(v), self._given[name].shape) for name, v in self._variables.items()}
        return {name: values.get(name, given) for name, given in self._given.items()}

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        return self._backend.probabilities(segments)

    def train(self, epoch: Epoch) -> Iterator[tuple[int, float, int]]:
        on_device = epoch.frames.nbytes <= self._frames_bytes
        if on_device and (self._put is None or self._put[0] is not epoch.frames):
            self._put = epoch.frames, self._backend.put(epoch.frames)
        batches, dropout = list(epoch.batches()), epoch.dropout_rng()
        for seed in self._seeds:  # of layers that draw: as the weights' state, they are to be the same after a kill
            seed.assign(dropout.integers(0, 2**31, seed.shape))
        if self._seeds:  # PyTorch's own dropout draws from the state of its process instead
            keras.utils.set_random_seed(int(dropout.integers(0, 2**31)))
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
            loss, n_right = self._backend.run(frames, steps, epoch.learning_rate)
            yield int(steps.counted.sum()), loss, round(n_right)


def _steps(epoch: Epoch, batches: list[np.ndarray], n_steps: int, dropout: np.random.Generator) -> Steps:
    """Batches as arrays, filled up to n_steps of the full size, with segments of the last batch.

    They do not count; but a layer that looks at a whole batch, as a batch normalisation, is not to see other than data.
    """
    shape = n_steps, epoch.batch_size
    steps = Steps(
        starts=np.tile(np.resize(epoch.starts[batches[-1]], shape[1]).astype(np.int32), (n_steps, 1)),
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
