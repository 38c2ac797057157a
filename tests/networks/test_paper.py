"""The definition of the networks in Keras, the table of the native kernel, and both engines: all say the same."""

import math

import keras
import numpy as np
import pytest
from epochs import epoch_of

from mirex_submission.networks import paper, sizes
from mirex_submission.networks.keras_network import KerasNetwork
from mirex_submission.networks.kernel import NativeNetwork, compiled

N_CLASSES = 7
SIZES = [(40, 80), (80, 82)]  # the paper's input, and the one that the shapes in its text follow from


@pytest.mark.parametrize(("n_bands", "n_frames"), SIZES)
@pytest.mark.parametrize("name", paper.NETWORKS)
def test_the_table_of_the_native_kernel_equals_the_layers(name, n_bands, n_frames):
    model = paper.build(name, n_bands=n_bands, n_frames=n_frames, n_classes=N_CLASSES)
    table = sizes.ARCHITECTURES[name]
    names = [layer.name for layer in model.layers]
    assert [n for n in names if n.endswith("_convolution")] == [f"{p.name}_convolution" for p in table]
    flat = sizes.output_sizes(table, n_bands, n_frames)
    for pipeline, n_values in zip(table, flat, strict=True):
        convolution, pooling, activation, flatten = (
            model.get_layer(f"{pipeline.name}_{part}") for part in ("convolution", "pooling", "activation", "flatten")
        )
        assert (convolution.filters, convolution.kernel_size) == (pipeline.filters, pipeline.kernel)
        assert (convolution.strides, convolution.padding) == ((1, 1), "valid")
        assert (pooling.pool_size, pooling.strides, pooling.padding) == (pipeline.pool, pipeline.pool, "valid")
        assert activation.negative_slope == sizes.LEAKY_SLOPE
        assert flatten.output.shape == (None, n_values)
    assert model.get_layer("dense").units == sizes.DENSE_UNITS
    assert model.get_layer("dropout").rate == sizes.DROPOUT_RATE


@pytest.mark.parametrize(("n_bands", "n_frames"), SIZES)
@pytest.mark.parametrize("name", paper.NETWORKS)
def test_the_table_has_the_weights_of_the_layers(name, n_bands, n_frames):
    model = paper.build(name, n_bands=n_bands, n_frames=n_frames, n_classes=N_CLASSES)
    shapes = sizes.weight_shapes(name, n_bands=n_bands, n_frames=n_frames, n_classes=N_CLASSES)
    layers = {variable.path: tuple(variable.shape) for variable in model.trainable_variables}
    trained = {key: shape for key, shape in shapes.items() if not key.startswith("standardise/")}
    # The table leaves out the single input channel of a convolution.
    assert {key: (*s[:2], 1, s[2]) if len(s) == 3 else s for key, s in trained.items()} == layers
    n_weights = sum(math.prod(shape) for shape in trained.values())
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == n_weights


def test_build_sets_no_policy_or_data_format_for_others():
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    paper.build("1", n_classes=2, dtype="mixed_bfloat16")
    assert (keras.config.dtype_policy(), keras.config.image_data_format()) == before


def test_a_function_of_features_replaces_the_papers():
    model = paper.build("mine", n_classes=3, features=lambda segment: keras.layers.Flatten()(segment))
    assert model.get_layer("class_probabilities").kernel.shape == (40 * 80, 3)


# Both engines.


def pair(name):
    """Both networks with the same weights, and segments with their classes."""
    rng = np.random.default_rng(4)
    weights = sizes.initial_weights(
        name, n_bands=40, n_frames=80, n_classes=N_CLASSES, mean=np.full(40, -2.0), std=np.full(40, 1.5), seed=1
    )
    x = rng.normal(-2, 1.5, (40, 40, 80)).astype(np.float32)
    networks = NativeNetwork(name, weights, threads=2), KerasNetwork(name, weights, n_frames=80)
    return networks, x, rng.integers(0, N_CLASSES, len(x))


needs_kernel = pytest.mark.skipif(compiled is None, reason="no compiler was found when this was installed")


@needs_kernel
@pytest.mark.parametrize("name", paper.NETWORKS)
@pytest.mark.parametrize("n_steps", [0, 1, pytest.param(20, marks=pytest.mark.slow)])
def test_both_engines_agree_to_1e_5_after_so_many_steps(name, n_steps):
    networks, x, y = pair(name)
    if n_steps:
        # At the paper's learning rate: one step, or four epochs of five.
        n_epochs, batch_size = (1, 40) if n_steps == 1 else (n_steps // 5, 8)
        for number in range(n_epochs):
            losses = [
                sum(loss for _, loss, _ in network.train(epoch_of(x, y, number=number, batch_size=batch_size)))
                for network in networks
            ]
            assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    native, by_keras = networks
    np.testing.assert_allclose(native.probabilities(x), by_keras.probabilities(x), rtol=0, atol=1e-5)
    # Where two cells of a pooling are equal within rounding, the engines may follow different ones: that moves single
    # weights of a kernel by more, in time, but no probability.
    weights, atol = by_keras.weights, 1e-5 if n_steps <= 1 else 1e-4
    for key, value in native.weights.items():
        np.testing.assert_allclose(value, weights[key], rtol=0, atol=atol, err_msg=key)
