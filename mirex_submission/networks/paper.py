"""The three networks of Lidy and Schindler (MIREX 2016) in Keras: start reading here.

A network sees one segment of a track, 40 Mel bands x 80 frames. All shapes below are bands x frames x filters,
frequency first as in the paper. Convolutions are unpadded with stride 1, and poolings drop an incomplete window. Each
`model_N` goes from a standardised segment to the 200 units before the last layer; `build` adds the first and the last
layers, which all networks share.

The paper says "leaky ReLU in all convolutional layers" (section 2.3). Leaky ReLU is an increasing function, so it can
follow the max pooling: the values are bit-identical, and it is computed on 15 to 20 times fewer cells.

References
----------
.. [1] T. Lidy and A. Schindler, "Parallel convolutional neural networks for music genre and mood classification",
   MIREX 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import keras
from keras import layers

Features: TypeAlias = "Callable[[keras.KerasTensor], keras.KerasTensor]"


def model_1(segment: keras.KerasTensor) -> keras.KerasTensor:
    """Learn timbre: one convolution, pooled in time (section 2.2.1, figure 2)."""
    x = layers.Conv2D(30, (10, 12), name="timbre_convolution")(segment)  # 40 x 80 x 1 -> 31 x 69 x 30
    x = layers.MaxPooling2D((1, 20), name="timbre_pooling")(x)  # 31 x 3 x 30
    x = layers.LeakyReLU(negative_slope=0.3, name="timbre_activation")(x)  # section 2.3
    x = layers.Flatten(name="timbre_flatten")(x)  # 2790
    x = layers.Dense(200, activation="sigmoid", name="dense")(x)  # 200
    return layers.Dropout(0.2, name="dropout")(x)


def model_2(segment: keras.KerasTensor) -> keras.KerasTensor:
    """Learn relations in frequency and in time by two parallel convolutions (section 2.2.2, figure 3).

    The paper prints the shapes 67 x 68 and 5 x 75, which follow from 80 bands x 82 frames. The shapes below follow from
    40 x 80, which its text states three times. Its text has 32 filters, which we use; its figure has 30.
    """
    f = layers.Conv2D(32, (14, 15), name="frequency_convolution")(segment)  # 40 x 80 x 1 -> 27 x 66 x 32
    f = layers.MaxPooling2D((1, 17), name="frequency_pooling")(f)  # 27 x 3 x 32
    f = layers.LeakyReLU(negative_slope=0.3, name="frequency_activation")(f)
    f = layers.Flatten(name="frequency_flatten")(f)  # 2592

    t = layers.Conv2D(32, (4, 8), name="time_convolution")(segment)  # 40 x 80 x 1 -> 37 x 73 x 32
    t = layers.MaxPooling2D((15, 1), name="time_pooling")(t)  # 2 x 73 x 32
    t = layers.LeakyReLU(negative_slope=0.3, name="time_activation")(t)
    t = layers.Flatten(name="time_flatten")(t)  # 4672

    x = layers.Concatenate(name="merge")([f, t])  # 7264
    x = layers.Dense(200, activation="sigmoid", name="dense")(x)  # 200
    return layers.Dropout(0.2, name="dropout")(x)


def model_3(segment: keras.KerasTensor) -> keras.KerasTensor:
    """Learn short and long patterns of timbre by two parallel convolutions (section 2.2.3, figure 4)."""
    s = layers.Conv2D(30, (10, 12), name="short_convolution")(segment)  # 40 x 80 x 1 -> 31 x 69 x 30
    s = layers.MaxPooling2D((1, 20), name="short_pooling")(s)  # 31 x 3 x 30
    s = layers.LeakyReLU(negative_slope=0.3, name="short_activation")(s)
    s = layers.Flatten(name="short_flatten")(s)  # 2790

    w = layers.Conv2D(30, (10, 34), name="long_convolution")(segment)  # 40 x 80 x 1 -> 31 x 47 x 30
    w = layers.MaxPooling2D((1, 20), name="long_pooling")(w)  # 31 x 2 x 30
    w = layers.LeakyReLU(negative_slope=0.3, name="long_activation")(w)
    w = layers.Flatten(name="long_flatten")(w)  # 1860

    x = layers.Concatenate(name="merge")([s, w])  # 4650
    x = layers.Dense(200, activation="sigmoid", name="dense")(x)  # 200
    return layers.Dropout(0.2, name="dropout")(x)


NETWORKS: dict[str, Features] = {"1": model_1, "2": model_2, "3": model_3}


def build(
    name: str,
    *,
    n_bands: int = 40,
    n_frames: int = 80,
    n_classes: int,
    dtype: str = "float32",
    features: Features | None = None,
) -> keras.Model:
    """Build a whole network: log-Mel segments to class probabilities.

    Parameters
    ----------
    name : str
        "1", "2" or "3" for the paper's networks; any other name together with `features`.
    n_bands, n_frames : int
        Size of a segment.
    n_classes : int
        Number of classes.
    dtype : str
        Keras' policy of the layers between the standardised segment and the logits.
    features : callable, optional
        Function that replaces the paper's, from a standardised segment [n, n_bands, n_frames, 1] to features [n, k].

    Returns
    -------
    keras.Model
        float32 [n, n_bands, n_frames], log10 of band power, to float32 [n, n_classes].
    """
    policy, data_format = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy(dtype)  # for all layers without a policy of their own
    keras.config.set_image_data_format("channels_last")
    try:
        log_mel = keras.Input((n_bands, n_frames), name="log_mel")
        x = layers.Normalization(axis=1, name="standardise", dtype="float32")(log_mel)  # each band
        x = layers.Reshape((n_bands, n_frames, 1), name="channel")(x)
        x = (features or NETWORKS[name])(x)
        x = layers.Dense(n_classes, name="class_probabilities", dtype="float32")(x)
        x = layers.Softmax(name="probabilities", dtype="float32")(x)
        return keras.Model(log_mel, x, name=f"model_{name}")
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(data_format)
