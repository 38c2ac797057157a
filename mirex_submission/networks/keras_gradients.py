"""Gradients of a class's probability with respect to the network's input, by Keras' backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def gradients(model: keras.Model, segments: np.ndarray, target: int) -> np.ndarray:
    """Compute the gradients of the logarithm of a class's probability.

    Parameters
    ----------
    model : keras.Model
        Model from segments to class probabilities.
    segments : np.ndarray [shape=(n, n_bands, n_frames), float32]
    target : int
        The class.

    Returns
    -------
    np.ndarray [shape=(n, n_bands, n_frames), float32]
    """

    def sum_of_logarithms(x: Any) -> Any:
        probabilities = model(x, training=False)[:, target]
        return keras.ops.sum(keras.ops.log(keras.ops.maximum(probabilities, 1e-30)))

    x = keras.ops.convert_to_tensor(np.ascontiguousarray(segments))
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(x)
                total = sum_of_logarithms(x)
            gradient = tape.gradient(total, x)
        case "jax":
            import jax

            gradient = jax.grad(sum_of_logarithms)(x)
        case _:
            x.requires_grad_(True)
            sum_of_logarithms(x).backward()
            gradient = x.grad
    return np.asarray(keras.ops.convert_to_numpy(gradient), np.float32)
