"""Steps of SGD, many in one call, on each backend of Keras.

A step of these networks takes a GPU some hundred microseconds: Python, or one launch after the other, would take
longer. So a whole epoch is one compiled loop, which cuts its segments from frames that are on the device already; and
so Keras' own `fit` is not used, which calls once a batch. What a step computes is written once, in Keras' operations;
each backend has its own gradients and its own loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from mirex_submission.errors import DeviceError
from mirex_submission.networks.sizes import DROPOUT_RATE
from mirex_submission.system.runtime import hosts


class Steps(NamedTuple):
    """Mini-batches, all of one size: [n_steps, batch_size, ...]. The last is filled up with segments that do not count.

    starts : int32, first rows of the segments. targets : int32. weights : float32, of the losses. counted : float32, 1
    or 0. kept : bool [n_steps, batch_size, DENSE_UNITS], by dropout.
    """

    starts: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    counted: np.ndarray
    kept: np.ndarray


class Backend(Protocol):
    """Computes a model, and changes its weights in place."""

    def probabilities(self, segments: np.ndarray) -> np.ndarray: ...

    def put(self, frames: np.ndarray) -> Any:
        """The frames on the device."""

    def run(self, frames: Any, steps: Steps, learning_rate: float) -> tuple[float, float]:
        """The sum of the losses, and the number of segments that were classified rightly."""


def backend_of(model: keras.Model, logits: keras.Model, *, n_frames: int, xla: bool, strategy: Any = None) -> Backend:
    """
    model : segments -> probabilities. logits : [segments, what dropout multiplies with] -> logits, of the same layers.
    xla : whether TensorFlow compiles with it. strategy : of tf.distribute, under which the models were made.
    """
    name = keras.backend.backend()
    if name == "tensorflow":
        return _Tensorflow(model, logits, n_frames=n_frames, xla=xla, strategy=strategy)
    return (_Jax if name == "jax" else _Torch)(model, logits, n_frames=n_frames)


def gather(value: float, strategy: Any) -> list[float]:
    """What each replica of a strategy of tf.distribute calls this with."""
    import tensorflow as tf

    with _all_there():
        each = strategy.run(lambda: tf.constant([value], tf.float64))
        return [float(found) for found in strategy.gather(each, axis=0)]


@contextlib.contextmanager
def _all_there() -> Iterator[None]:
    """Say in our words what TensorFlow says of a host that is gone."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError) as error:
        if hosts()[1] == 1:
            raise
        raise DeviceError(
            f"a host of TF_CONFIG is gone, or cannot be reached ({str(error).splitlines()[0]}): end the others and "
            "call all again, and the training goes on from its last state"
        ) from error


def _losses(
    logits: Callable[[list[Any]], Any], frames: Any, n_frames: int, batch: Steps, n: Any
) -> tuple[Any, tuple[Any, Any]]:
    """What SGD descends, and beside it the sum of the losses and the number of right ones.

    batch : of one step. n : how many segments the whole mini-batch has, of which this may be a part.
    """
    ops = keras.ops
    rows = ops.expand_dims(batch.starts, 1) + ops.arange(n_frames, dtype="int32")
    segments = ops.transpose(ops.take(frames, rows, axis=0), (0, 2, 1))
    found = ops.cast(logits([segments, ops.cast(batch.kept, "float32") / (1 - DROPOUT_RATE)]), "float32")
    by_target = ops.take_along_axis(ops.log_softmax(found), ops.expand_dims(batch.targets, 1), axis=1)
    loss = -ops.sum(ops.squeeze(by_target, 1) * batch.weights * batch.counted)
    is_right = ops.cast(ops.equal(ops.cast(ops.argmax(found, axis=1), "int32"), batch.targets), "float32")
    return loss / n, (loss, ops.sum(is_right * batch.counted))


class _Tensorflow:
    """One device, or several: each replica takes its part of every mini-batch, and gradients are added."""

    def __init__(self, model: keras.Model, logits: keras.Model, *, n_frames: int, xla: bool, strategy: Any) -> None:
        import tensorflow as tf

        self._tf, self._logits, self._n_frames = tf, logits, n_frames
        self._strategy = strategy or tf.distribute.get_strategy()
        self._probabilities = tf.function(lambda x: model(x, training=False), jit_compile=xla, reduce_retracing=True)
        self._loop = tf.function(self._steps, jit_compile=xla and strategy is None)

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        return np.asarray(self._probabilities(self._tf.constant(segments)))

    def put(self, frames: np.ndarray) -> Any:
        if self._strategy is self._tf.distribute.get_strategy():
            return self._tf.constant(frames)
        devices = self._strategy.extended.worker_devices

        def on_replica(context: Any) -> Any:
            with self._tf.device(devices[context.replica_id_in_sync_group % len(devices)]):
                return self._tf.identity(self._tf.constant(frames))

        return self._strategy.experimental_distribute_values_from_function(on_replica)

    def run(self, frames: Any, steps: Steps, learning_rate: float) -> tuple[float, float]:
        n_replicas = self._strategy.num_replicas_in_sync
        surplus = -steps.starts.shape[1] % n_replicas
        filled = [np.pad(a, [(0, 0), (0, surplus)] + [(0, 0)] * (a.ndim - 2)) for a in steps]
        constants = Steps(*map(self._tf.constant, filled))
        with _all_there():
            loss, n_right = self._loop(frames, constants, self._tf.constant(learning_rate, "float32"))
            return float(loss), float(n_right)

    def _steps(self, frames: Any, steps: Steps, rate: Any) -> tuple[Any, Any]:
        tf, extended = self._tf, self._strategy.extended
        variables = [variable.value for variable in self._logits.trainable_variables]
        totals = tf.zeros(2, tf.float64)
        for k in tf.range(tf.shape(steps.starts)[0]):
            batch = Steps(*(array[k] for array in steps))
            gradients, found = self._strategy.run(self._gradients, (frames, batch))
            reduced = extended.batch_reduce_to("SUM", list(zip(gradients, variables, strict=True)))
            for variable, gradient in zip(variables, reduced, strict=True):
                extended.update(variable, lambda v, g: v.assign_sub(rate * g), (gradient,))
            totals += tf.cast(self._strategy.reduce("SUM", found, axis=None), tf.float64)
        return totals[0], totals[1]

    def _gradients(self, frames: Any, batch: Steps) -> tuple[list[Any], Any]:
        tf, context = self._tf, self._tf.distribute.get_replica_context()
        n = tf.maximum(tf.reduce_sum(batch.counted), 1)
        share = batch.starts.shape[0] // context.num_replicas_in_sync
        first = context.replica_id_in_sync_group * share
        own = Steps(*(array[first : first + share] for array in batch))
        with tf.GradientTape() as tape:
            loss, found = _losses(lambda x: self._logits(x, training=True), frames, self._n_frames, own, n)
        return tape.gradient(loss, [variable.value for variable in self._logits.trainable_variables]), tf.stack(found)


class _Jax:
    def __init__(self, model: keras.Model, logits: keras.Model, *, n_frames: int) -> None:
        import jax
        import jax.numpy as jnp

        self._jax, self._model, self._logits = jax, model, logits

        def predict(variables: Any, constants: Any, segments: Any) -> Any:
            return model.stateless_call(variables, constants, segments, training=False)[0]

        def steps(variables: Any, others: Any, frames: Any, steps: Steps, rate: Any) -> Any:
            def step(state: Any, batch: Steps) -> Any:
                variables, others = state

                def loss(variables: Any) -> Any:
                    after: list[Any] = []  # moving averages and the like, and seeds

                    def call(inputs: Any) -> Any:
                        found, after[:] = logits.stateless_call(variables, others, inputs, training=True)
                        return found

                    n = jnp.maximum(jnp.sum(batch.counted), 1)
                    of_batch, found = _losses(call, frames, n_frames, batch, n)
                    return of_batch, (found, after)

                gradients, (found, others) = jax.grad(loss, has_aux=True)(variables)
                variables = [v - rate * g for v, g in zip(variables, gradients, strict=True)]
                return (variables, others), jnp.stack(found)

            return jax.lax.scan(step, (variables, others), steps)

        self._predict, self._steps = jax.jit(predict), jax.jit(steps)

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        return np.asarray(self._predict(*_values(self._model), segments))

    def put(self, frames: np.ndarray) -> Any:
        return self._jax.device_put(np.asarray(frames))

    def run(self, frames: Any, steps: Steps, learning_rate: float) -> tuple[float, float]:
        states, found = self._steps(*_values(self._logits), frames, steps, learning_rate)
        logits = self._logits
        for variables, values in zip((logits.trainable_variables, logits.non_trainable_variables), states, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        loss, n_right = np.asarray(found, np.float64).sum(axis=0)
        return float(loss), float(n_right)


def _values(model: keras.Model) -> tuple[list[Any], list[Any]]:
    return [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]


class _Torch:
    """Step by step: PyTorch has no compiled loop."""

    def __init__(self, model: keras.Model, logits: keras.Model, *, n_frames: int) -> None:
        import torch

        self._torch, self._model, self._logits, self._n_frames = torch, model, logits, n_frames

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        with self._torch.no_grad():
            return np.asarray(keras.ops.convert_to_numpy(self._model(self.put(segments), training=False)))

    def put(self, frames: np.ndarray) -> Any:
        return keras.ops.convert_to_tensor(np.ascontiguousarray(frames))

    def run(self, frames: Any, steps: Steps, learning_rate: float) -> tuple[float, float]:
        torch, values = self._torch, [v.value for v in self._logits.trainable_variables]
        totals, on_device = torch.zeros(2, dtype=torch.float64), Steps(*map(self.put, steps))
        totals = totals.to(on_device.counted.device)
        for k in range(len(steps.starts)):
            batch = Steps(*(array[k] for array in on_device))
            n = batch.counted.sum().clamp(min=1)
            loss, found = _losses(lambda x: self._logits(x, training=True), frames, self._n_frames, batch, n)
            gradients = torch.autograd.grad(loss, values)
            with torch.no_grad():
                for value, gradient in zip(values, gradients, strict=True):
                    value.sub_(learning_rate * gradient)
                totals += torch.stack(found)
        loss, n_right = totals.tolist()
        return loss, n_right
