"""A classifier's TensorFlow functions in the formats of other programs, and back, as those programs would run them.

What is exported says what it is: `about`, a JSON object of class names and feature parameters, goes with it.
"""

from __future__ import annotations

import errno
import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

# An exported function of segments: float32 [n, n_bands, n_frames] to class probabilities [n, n_classes].
Run: TypeAlias = Callable[[np.ndarray], np.ndarray]

ABOUT = "mirex.json"
_OPSET = 17  # of ONNX: from 2022, which every runtime that is still kept can run


def save(folder: Path, about: str, models: Sequence[Any], signatures: Mapping[str, Any]) -> None:
    """Write a SavedModel: the tf.functions by the names of their signatures, with `models`, whose variables they use.

    Raises OSError. `about` is the file mirex.json in assets.extra, TensorFlow's place for what users add.
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
    except tf.errors.OpError as error:  # its own word for what the system says of the disk
        raise OSError(errno.EIO, error.message) from error


def saved_model(folder: Path) -> Callable[[str, np.ndarray], np.ndarray]:
    """The functions of a SavedModel: the name of a signature and its input, to class probabilities."""
    loaded = tf.saved_model.load(str(folder))

    def run(name: str, x: np.ndarray) -> np.ndarray:
        signature = loaded.signatures[name]
        (argument,) = signature.structured_input_signature[1]
        return np.asarray(signature(**{argument: tf.constant(x)})["probabilities"])

    return run


def to_tflite(of_segments: Any, beside: Path) -> bytes:
    """A TFLite (LiteRT) model of the function of segments, of any number of segments, float32.

    beside : a folder for a SavedModel of it. By itself the converter makes one in the system's folder for temporary
        files, and where that cannot be written drops the names of input and output without a word.

    Raises OSError.
    """
    folder = beside / "frozen"
    _save(folder, (), {"serving_default": _frozen(of_segments)})
    return bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())


def tflite_model(data: bytes) -> Run:
    """The function in a TFLite model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tf.lite will once go
        runner = tf.lite.Interpreter(model_content=data).get_signature_runner()
    return lambda segments: np.asarray(runner(log_mel=segments)["probabilities"])


def to_onnx(of_segments: Any, about: str) -> bytes:
    """An ONNX model of the function of segments; each value of `about` is JSON text in its metadata_props."""
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
    """The function in an ONNX model."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda segments: np.asarray(session.run(["probabilities"], {"log_mel": segments})[0])


def _frozen(function: Any) -> Any:
    """The same function with constants for all that it captured.

    Without it TFLite's converter loses the variables of Keras 3, and tf2onnx makes inputs of the standardisation.
    """
    constants = convert_variables_to_constants_v2(function.get_concrete_function())
    signature = function.input_signature
    return tf.function(lambda log_mel: {"probabilities": constants(log_mel)[0]}, input_signature=signature)
