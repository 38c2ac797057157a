"""Gradients of a network's input, by whatever backend Keras has, against differences."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # Keras takes seconds to load


def test_gradients_are_those_of_the_logarithm_of_the_probability():
    from mirex_submission.networks import paper
    from mirex_submission.networks.keras_gradients import gradients

    model = paper.build("1", n_bands=18, n_frames=53, n_classes=3)
    segments = np.random.default_rng(0).normal(-3, 1, (2, 18, 53)).astype(np.float32)
    by_input = gradients(model, segments, 2)
    assert by_input.shape == segments.shape and by_input.dtype == np.float32
    for k in range(2):
        largest = np.unravel_index(np.abs(by_input[k]).argmax(), segments.shape[1:])
        step = np.zeros_like(segments)
        step[k][largest] = 0.05
        logs = [np.log(np.asarray(model.predict_on_batch(x))[k, 2]) for x in (segments + step, segments - step)]
        assert (logs[0] - logs[1]) / 0.1 == pytest.approx(by_input[k][largest], rel=0.05)
