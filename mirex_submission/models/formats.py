"""Networks as TensorFlow functions, written in the formats of other programs and read as these programs read them.

Keras' `Model.export` writes the same formats, but without names of outputs, a signature for waveforms, or metadata, so
the functions are made here. `about`, a JSON object of class names and feature parameters, is stored with them.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from mirex_submission.features.filterbank import mel_filterbank
from mirex_submission.features.logmel import FLOOR
from mirex_submission.features.spec import FeatureSpec

# An exported function of segments: float32 [n, n_bands, n_frames] to class probabilities [n, n_classes].
Run: TypeAlias = Callable[[np.ndarray], np.ndarray]

ABOUT = "mirex.json"
_OPSET = 17  # of ONNX, from 2022: every maintained runtime supports it


def of_segments(models: Sequence[Callable[..., Any]], spec: FeatureSpec) -> Any:
    """Make the tf.function of segments.

    Parameters
    ----------
    models : sequence of keras.Model
        Networks, which standardise segments themselves.
    spec : FeatureSpec
        Size of a segment.

    Returns
    -------
    tf.function
        float32 log_mel [n, n_bands, n_frames], log10 of band power as it is stored, to {"probabilities": float32
        [n, n_classes]}, the mean over the networks.
    """

    def probabilities(log_mel: Any) -> dict[str, Any]:
        return {"probabilities": tf.add_n([model(log_mel, training=False) for model in models]) / len(models)}

    segments = tf.TensorSpec([None, spec.n_bands, spec.n_frames], tf.float32, name="log_mel")
    return tf.function(probabilities, input_signature=[segments])


def of_waveform(classify_segments: Any, n_classes: int, spec: FeatureSpec) -> Any:
    """Make the tf.function of the waveform of a whole track.

    Segments are computed one after the other, so that only the waveform needs more memory for a longer track.

    Parameters
    ----------
    classify_segments : tf.function
        Result of `of_segments`.
    n_classes : int
        Number of classes.
    spec : FeatureSpec
        Features.

    Returns
    -------
    tf.function
        float32 waveform [n], n > 0, mono at spec.rate_hz with full scale 1.0, to {"probabilities": float32
        [n_classes]}, the mean over consecutive segments. A track shorter than a segment is repeated until it fills one.
    """
    filters = mel_filterbank(spec.rate_hz, spec.window, spec.n_bands).T

    def log_mel(samples: Any) -> Any:
        # Its default window is the periodic Hann window, and frames beyond the end are not padded but left out.
        spectrum = tf.signal.stft(samples, spec.window, spec.hop, fft_length=spec.window)
        power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
        return tf.math.log(tf.maximum(power @ filters, FLOOR)) / math.log(10)

    def of_one(samples: Any) -> Any:
        return classify_segments(tf.transpose(log_mel(samples))[tf.newaxis])["probabilities"][0]

    def probabilities(waveform: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_positive(tf.size(waveform), "the waveform is empty")]):
            n = tf.size(waveform)  # inside the block, or the division could fail before the check
        n_times = -(-spec.segment_samples // n)
        whole = tf.tile(waveform, [n_times])[: tf.maximum(n, spec.segment_samples)]
        segments = tf.signal.frame(whole, spec.segment_samples, spec.frames_between_segments * spec.hop)
        by_segment = tf.map_fn(of_one, segments, fn_output_signature=tf.TensorSpec([n_classes], tf.float32))
        return {"probabilities": tf.reduce_mean(by_segment, axis=0)}

    return tf.function(probabilities, input_signature=[tf.TensorSpec([None], tf.float32, name="waveform")])


def save(folder: Path, about: str, models: Sequence[Any], signatures: Mapping[str, Any]) -> None:
    """Write a SavedModel of tf.functions, keyed by the names of their signatures. Raises OSError.

    The functions use the variables of `models`. `about` becomes the file mirex.json in assets.extra, TensorFlow's
    folder for additional files.
    """
    _save(folder, models, signatures)
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / ABOUT).write_text(about, encoding="utf-8")


def _save(folder: Path, models: Sequence[Any], signatures: Mapping[str, Any]) -> None:
    module = tf.Module()
    module.models = list(models)
    try:
        tf.saved_model.save(module, str(folder), signatures=dict(signatures))
    except tf.errors.OpError as error:  # TensorFlow reports errors of the disk so
        raise OSError(errno.EIO, error.message) from error


def saved_model(folder: Path) -> Callable[[str, np.ndarray], np.ndarray]:
    """Load a SavedModel as a function from the name of a signature and its input to class probabilities."""
    loaded = tf.saved_model.load(str(folder))

    def run(name: str, x: np.ndarray) -> np.ndarray:
        signature = loaded.signatures[name]
        (argument,) = signature.structured_input_signature[1]
        return np.asarray(signature(**{argument: tf.constant(x)})["probabilities"])

    return run


def to_tflite(of_segments: Any, beside: Path) -> bytes:
    """Convert the function of segments to TFLite (LiteRT), float32, for any number of segments.

    beside : a folder for an intermediate SavedModel. The converter would make it in the system's folder for temporary
        files; if that is not writable, it silently drops the names of input and output.

    Raises OSError.
    """
    folder = beside / "frozen"
    _save(folder, (), {"serving_default": _frozen(of_segments)})
    return bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())


def tflite_model(data: bytes) -> Run:
    """Load a TFLite model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow warns that tf.lite will be removed
        runner = tf.lite.Interpreter(model_content=data).get_signature_runner()
    return lambda segments: np.asarray(runner(log_mel=segments)["probabilities"])


def to_onnx(of_segments: Any, about: str) -> bytes:
    """Convert the function of segments to ONNX; the values of `about` become JSON texts in its metadata_props."""
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    frozen = _frozen(of_segments)
    model, _ = tf2onnx.convert.from_function(frozen, input_signature=frozen.input_signature, opset=_OPSET)
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in json.loads(about).items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def onnx_model(data: bytes) -> Run:
    """Load an ONNX model."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda segments: np.asarray(session.run(["probabilities"], {"log_mel": segments})[0])


def _frozen(function: Any) -> Any:
    """Return the same function with constants in place of variables.

    TFLite's converter would lose the variables of Keras 3, and tf2onnx would turn the standardisation into inputs.
    """
    constants = convert_variables_to_constants_v2(function.get_concrete_function())
    signature = function.input_signature
    return tf.function(lambda log_mel: {"probabilities": constants(log_mel)[0]}, input_signature=signature)
