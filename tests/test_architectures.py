"""The three networks as the paper draws them: shapes, counts, initialisation, head, standardisation. Keras only, so
that every test here holds for each of its backends."""

import itertools
import math

import keras
import numpy as np
import pytest

from mirex_submission.models.architectures import ARCHITECTURES, build, set_standardisation, smallest_input

pytestmark = pytest.mark.backends

MODELS = ("1", "2", "3")
N_CLASSES = 7


def make(architecture, *, n_bands=40, n_frames=80, n_classes=N_CLASSES, seed=0):
    return build(architecture, n_bands=n_bands, n_frames=n_frames, n_classes=n_classes, seed=seed)


def segments(n=6, *, n_bands=40, n_frames=80, seed=0):
    """Something like log10 energies: another level and spread in every band."""
    rng = np.random.default_rng(seed)
    level, spread = rng.uniform(-6, 1, (n_bands, 1)), rng.uniform(0.3, 2, (n_bands, 1))
    return rng.normal(level, spread, (n, n_bands, n_frames)).astype(np.float32)


def part(model, first, last):
    """The stretch of a network from what goes into layer `first` to what comes out of layer `last`."""
    start = model.input if first == "log_mel" else model.get_layer(first).input
    return keras.Model(start, model.get_layer(last).output)


def run(model, x, *, training=False):
    return keras.ops.convert_to_numpy(model(x, training=training))


def kernel(model, layer):
    return keras.ops.convert_to_numpy(model.get_layer(layer).kernel)


def weighted_layers(architecture):
    return [f"{p.name}_convolution" for p in ARCHITECTURES[architecture]] + ["dense", "class_probabilities"]


# Shapes: (bands, frames, filters), from the paper's input of 40 x 80 and from the 80 x 82 that its figures imply.

SHAPES = {
    ("1", 40, 80): {
        "timbre_convolution": (31, 69, 30),
        "timbre_pooling": (31, 3, 30),
        "timbre_activation": (31, 3, 30),
        "timbre_flatten": (31 * 3 * 30,),
    },
    ("2", 40, 80): {
        "frequency_convolution": (27, 66, 32),
        "frequency_pooling": (27, 3, 32),
        "frequency_activation": (27, 3, 32),
        "frequency_flatten": (27 * 3 * 32,),
        "time_convolution": (37, 73, 32),
        "time_pooling": (2, 73, 32),
        "time_activation": (2, 73, 32),
        "time_flatten": (2 * 73 * 32,),
        "merge": (27 * 3 * 32 + 2 * 73 * 32,),
    },
    ("3", 40, 80): {
        "short_convolution": (31, 69, 30),
        "short_pooling": (31, 3, 30),
        "short_activation": (31, 3, 30),
        "short_flatten": (31 * 3 * 30,),
        "long_convolution": (31, 47, 30),
        "long_pooling": (31, 2, 30),
        "long_activation": (31, 2, 30),
        "long_flatten": (31 * 2 * 30,),
        "merge": (31 * 3 * 30 + 31 * 2 * 30,),
    },
    ("2", 80, 82): {
        "frequency_convolution": (67, 68, 32),
        "frequency_pooling": (67, 4, 32),
        "time_convolution": (77, 75, 32),
        "time_pooling": (5, 75, 32),
        "merge": (67 * 4 * 32 + 5 * 75 * 32,),
    },
}


@pytest.mark.parametrize(("architecture", "n_bands", "n_frames"), SHAPES)
def test_every_intermediate_shape(architecture, n_bands, n_frames):
    model = make(architecture, n_bands=n_bands, n_frames=n_frames)
    head = {"dense": (200,), "dropout": (200,), "class_probabilities": (N_CLASSES,)}
    front = {"log_mel": (n_bands, n_frames), "standardise": (n_bands, n_frames), "channel": (n_bands, n_frames, 1)}
    for name, shape in {**front, **SHAPES[architecture, n_bands, n_frames], **head}.items():
        assert model.get_layer(name).output.shape == (None, *shape), name
    assert model.output_shape == (None, N_CLASSES)


@pytest.mark.parametrize("architecture", MODELS)
def test_the_shapes_are_those_of_every_layer_there_is(architecture):
    known = {"log_mel", "standardise", "channel", "dense", "dropout", "class_probabilities"}
    assert {layer.name for layer in make(architecture).layers} == known | set(SHAPES[architecture, 40, 80])


# A convolution has height x width x 1 channel x filters weights and a bias a filter; a dense layer one weight for each
# of its inputs and one bias, a unit. Standardisation: a mean and a variance a band, and how many it has seen.
STANDARDISATION = 40 + 40 + 1
COUNTS = {
    "1": STANDARDISATION + (10 * 12 * 1 * 30 + 30) + (31 * 3 * 30 * 200 + 200) + (200 * N_CLASSES + N_CLASSES),
    "2": STANDARDISATION
    + (14 * 15 * 1 * 32 + 32)
    + (4 * 8 * 1 * 32 + 32)
    + ((27 * 3 * 32 + 2 * 73 * 32) * 200 + 200)
    + (200 * N_CLASSES + N_CLASSES),
    "3": STANDARDISATION
    + (10 * 12 * 1 * 30 + 30)
    + (10 * 34 * 1 * 30 + 30)
    + ((31 * 3 * 30 + 31 * 2 * 30) * 200 + 200)
    + (200 * N_CLASSES + N_CLASSES),
}


@pytest.mark.parametrize("architecture", MODELS)
def test_parameter_counts_derived_by_hand(architecture):
    model = make(architecture)
    assert model.count_params() == COUNTS[architecture]
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert trainable == COUNTS[architecture] - STANDARDISATION


@pytest.mark.parametrize(("architecture", "smallest"), [("1", (10, 31)), ("2", (18, 31)), ("3", (10, 53))])
def test_smallest_input_leaves_every_pipeline_one_value(architecture, smallest):
    assert smallest_input(architecture) == smallest
    model = make(architecture, n_bands=smallest[0], n_frames=smallest[1])
    for pipeline in ARCHITECTURES[architecture]:
        assert min(model.get_layer(f"{pipeline.name}_pooling").output.shape[1:]) >= 1
    for n_bands, n_frames in ((smallest[0] - 1, smallest[1]), (smallest[0], smallest[1] - 1)):
        sizes = [
            (n - k + 1) // pool
            for p in ARCHITECTURES[architecture]
            for n, k, pool in zip((n_bands, n_frames), p.kernel, p.pool, strict=True)
        ]
        assert min(sizes) < 1


# Initialisation.


@pytest.mark.parametrize("architecture", MODELS)
def test_glorot_uniform_weights_and_zero_biases(architecture):
    model = make(architecture)
    for name in weighted_layers(architecture):
        layer, w = model.get_layer(name), kernel(model, name)
        assert isinstance(layer.kernel_initializer, keras.initializers.GlorotUniform), name
        receptive_field = math.prod(w.shape[:-2])
        limit = math.sqrt(6 / (receptive_field * w.shape[-2] + receptive_field * w.shape[-1]))
        assert 0.95 * limit < np.abs(w).max() <= limit * (1 + 1e-6), name
        # Uniform within the limits: as many weights in each quarter, to five standard deviations.
        quarters = np.histogram(w, bins=4, range=(-1.001 * limit, 1.001 * limit))[0]
        assert np.abs(quarters / w.size - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / w.size) + 0.001, name
        assert not keras.ops.convert_to_numpy(layer.bias).any(), name


@pytest.mark.parametrize("architecture", MODELS)
def test_no_two_layers_start_with_the_same_random_numbers(architecture):
    model = make(architecture)
    first = {name: kernel(model, name).ravel()[:500] for name in weighted_layers(architecture)}
    for a, b in itertools.combinations(first, 2):  # equal numbers, each scaled to its layer, would correlate by 1
        assert abs(np.corrcoef(first[a], first[b])[0, 1]) < 0.3, (a, b)


@pytest.mark.parametrize("architecture", MODELS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(architecture):
    a, same, other = (make(architecture, seed=seed) for seed in (3, 3, 4))
    for name in weighted_layers(architecture):
        np.testing.assert_array_equal(kernel(a, name), kernel(same, name))
        assert not np.any(np.all(kernel(a, name) == kernel(other, name))), name


def test_the_largest_seed_builds():
    assert make("1", seed=2**32 - 1).count_params() == COUNTS["1"]


# Activations and head.


@pytest.mark.parametrize("architecture", MODELS)
def test_leaky_slope_is_0_3(architecture):
    model = make(architecture)
    for pipeline in ARCHITECTURES[architecture]:
        activation = f"{pipeline.name}_activation"
        x = run(part(model, "log_mel", f"{pipeline.name}_pooling"), segments()) - np.float32(1)
        assert (x < 0).any() and (x > 0).any()
        expected = np.where(x > 0, x, np.float32(0.3) * x)
        np.testing.assert_allclose(run(part(model, activation, activation), x), expected, rtol=1e-6)


@pytest.mark.parametrize("architecture", MODELS)
def test_pooling_before_the_leaky_relu_gives_exactly_the_values_of_pooling_after_it(architecture):
    model, x = make(architecture), segments()
    for p in ARCHITECTURES[architecture]:
        convolved = run(part(model, "log_mel", f"{p.name}_convolution"), x)
        activated = keras.layers.LeakyReLU(negative_slope=0.3)(convolved)
        after = keras.layers.MaxPooling2D(p.pool, data_format="channels_last")(activated)
        before = run(part(model, f"{p.name}_pooling", f"{p.name}_activation"), convolved)
        np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(after))


@pytest.mark.parametrize("architecture", MODELS)
def test_dense_200_is_a_sigmoid(architecture):
    model = make(architecture)
    layer = model.get_layer("dense")
    x = np.random.default_rng(0).normal(0, 0.5, (5, layer.input.shape[1])).astype(np.float32)
    z = x.astype(np.float64) @ kernel(model, "dense") + keras.ops.convert_to_numpy(layer.bias)
    assert layer.units == 200
    np.testing.assert_allclose(run(part(model, "dense", "dense"), x), 1 / (1 + np.exp(-z)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("architecture", MODELS)
def test_dropout_0_2_is_active_only_in_training(architecture):
    model, x = make(architecture), segments()
    dropout, ones = part(model, "dropout", "dropout"), np.ones((100, 200), np.float32)
    np.testing.assert_array_equal(run(dropout, ones), ones)
    dropped = run(dropout, ones, training=True)
    assert np.mean(dropped == 0) == pytest.approx(0.2, abs=0.02)
    np.testing.assert_allclose(dropped[dropped != 0], 1 / (1 - 0.2), rtol=1e-6)
    np.testing.assert_array_equal(run(model, x), run(model, x))
    assert np.any(run(model, x, training=True) != run(model, x, training=True))


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("n_classes", [2, 19])
def test_softmax_over_the_classes(architecture, n_classes):
    model = make(architecture, n_classes=n_classes)
    x = segments(9)
    z = run(part(model, "log_mel", "dropout"), x) @ kernel(model, "class_probabilities")
    y = run(model, x)
    assert y.shape == (9, n_classes) and y.min() > 0
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(y, np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-5)


# Standardisation, saving, training.


def test_input_with_the_mean_and_deviation_of_training_comes_out_with_zero_mean_and_unit_deviation():
    model, x = make("1"), segments(20)
    set_standardisation(model, x.mean(axis=(0, 2)), x.std(axis=(0, 2)))
    standardised = run(part(model, "log_mel", "standardise"), x)
    np.testing.assert_allclose(standardised.mean(axis=(0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(standardised.std(axis=(0, 2)), 1, atol=1e-4)


@pytest.mark.parametrize("architecture", MODELS)
def test_standardisation_is_part_of_the_saved_model(architecture, tmp_path):
    model, x = make(architecture, seed=1), segments()
    raw = run(model, x)
    set_standardisation(model, x.mean(axis=(0, 2)), x.std(axis=(0, 2)))
    expected = run(model, x)
    assert np.abs(expected - raw).max() > 1e-3  # it does something
    model.save_weights(tmp_path / "a.weights.h5")
    fresh = make(architecture, seed=2)
    fresh.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(run(fresh, x), expected)


@pytest.mark.parametrize("architecture", MODELS)
def test_builds_trains_steps_saves_loads_and_predicts(architecture, tmp_path):
    model, x, y = make(architecture), segments(40), np.arange(40) % N_CLASSES
    set_standardisation(model, x.mean(axis=(0, 2)), x.std(axis=(0, 2)))
    model.compile(keras.optimizers.SGD(0.02), "sparse_categorical_crossentropy")
    before = float(model.test_on_batch(x, y))
    for _ in range(3):
        model.train_on_batch(x, y)
    assert float(model.test_on_batch(x, y)) < before
    model.save_weights(tmp_path / "a.weights.h5")
    fresh = make(architecture, seed=9)
    fresh.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(fresh.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-5)


def test_training_leaves_the_standardisation_alone():
    model, x, y = make("1"), segments(40), np.arange(40) % N_CLASSES
    set_standardisation(model, x.mean(axis=(0, 2)), x.std(axis=(0, 2)))
    before = model.get_layer("standardise").get_weights()
    model.compile(keras.optimizers.SGD(0.02), "sparse_categorical_crossentropy")
    model.train_on_batch(x, y)
    for a, b in zip(before, model.get_layer("standardise").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
