"""Networks as TensorFlow functions, to be exported: of log-Mel segments, and of a track's waveform."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from mirex_submission.features.filterbank import mel_filterbank
from mirex_submission.features.logmel import FLOOR
from mirex_submission.features.spec import FeatureSpec


def of_segments(models: Sequence[Callable[..., Any]], spec: FeatureSpec) -> Any:
    """The tf.function of segments: float32 log_mel [n, n_bands, n_frames], log10 of band power as it is stored.

    models : Keras models of such segments, which standardise them themselves.

    It gives {"probabilities": [n, n_classes]}, float32: the mean of the models' class probabilities.
    """

    def probabilities(log_mel: Any) -> dict[str, Any]:
        return {"probabilities": tf.add_n([model(log_mel, training=False) for model in models]) / len(models)}

    segments = tf.TensorSpec([None, spec.n_bands, spec.n_frames], tf.float32, name="log_mel")
    return tf.function(probabilities, input_signature=[segments])


def of_waveform(classify_segments: Any, n_classes: int, spec: FeatureSpec) -> Any:
    """The tf.function of a whole track: float32 waveform [n], n > 0, mono at spec.rate_hz with full scale 1.0.

    classify_segments : what of_segments() gave.

    It gives {"probabilities": [n_classes]}: their mean over the consecutive segments, which share no sample. A track
    shorter than a segment is repeated until it fills one. One segment after the other is computed, so that memory does
    not grow beyond that of the waveform.
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
            n = tf.size(waveform)  # known only after the check, else now and then the division is heard first
        n_times = -(-spec.segment_samples // n)
        whole = tf.tile(waveform, [n_times])[: tf.maximum(n, spec.segment_samples)]
        segments = tf.signal.frame(whole, spec.segment_samples, spec.frames_between_segments * spec.hop)
        of_each = tf.map_fn(of_one, segments, fn_output_signature=tf.TensorSpec([n_classes], tf.float32))
        return {"probabilities": tf.reduce_mean(of_each, axis=0)}

    return tf.function(probabilities, input_signature=[tf.TensorSpec([None], tf.float32, name="waveform")])
