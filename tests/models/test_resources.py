"""What a model declares of its operations, against counts of the work that is done."""

import numpy as np
import pytest

from mirex_submission.features import modulation, modulation_views
from mirex_submission.features.views import view
from mirex_submission.networks.paper import build
from mirex_submission.networks.sizes import multiply_accumulates


@pytest.mark.parametrize("architecture", ["1", "2", "3"])
def test_the_operations_of_a_network_are_those_of_its_keras_layers(architecture):
    shape = {"n_bands": 40, "n_frames": 80, "n_classes": 7}
    network = build(architecture, **shape)
    counted = 0
    for layer in network.layers:
        kernel = next((w for w in layer.weights if w.name == "kernel"), None)
        if kernel is not None:  # each element is used once for each place of the output
            counted += int(np.prod(kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
    assert multiply_accumulates(architecture, **shape) == counted


@pytest.mark.parametrize("name", modulation_views.VIEWS)
def test_the_operations_of_a_view_include_its_matrix_products_and_grow_with_the_clip(name, monkeypatch):
    rate_hz, products = 22050, 0

    class Counting(np.ndarray):
        def __matmul__(self, other):
            nonlocal products
            products += self.size * other.shape[1]
            return np.asarray(self) @ other

    scale_filters = modulation._scale_filters
    monkeypatch.setattr(modulation, "_scale_filters", lambda *sizes: scale_filters(*sizes).view(Counting))
    samples = np.random.default_rng(0).normal(0, 0.1, 10 * rate_hz).astype(np.float32)
    view(name).compute(samples, rate_hz)
    counted = modulation_views.multiply_accumulates(name, rate_hz, len(samples))
    assert 0.9 * products < counted < 4 * products  # the margins of the clip are counted, and the transforms
    twice = modulation_views.multiply_accumulates(name, rate_hz, 2 * len(samples))
    assert twice == pytest.approx(2 * counted, rel=0.05)
