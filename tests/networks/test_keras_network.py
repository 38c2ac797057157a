"""The three networks in Keras: shapes, counts, head, standardisation, training. Keras only, so that every test here
holds for each of its backends."""

import math

import keras
import numpy as np
import pytest
from epochs import train

from mirex_submission.networks.keras_network import KerasNetwork
from mirex_submission.networks.sizes import ARCHITECTURES, initial_weights

pytestmark = pytest.mark.backends

MODELS = ("1", "2", "3")
N_CLASSES = 7


def start(architecture, *, n_bands=40, n_frames=80, n_classes=N_CLASSES, seed=0, mean=None, std=None):
    """Initial weights; standardisation leaves the input as it is where nothing else is given."""
    mean = np.zeros(n_bands) if mean is None else mean
    std = np.ones(n_bands) if std is None else std
    sizes = {"n_bands": n_bands, "n_frames": n_frames, "n_classes": n_classes}
    return initial_weights(architecture, **sizes, mean=mean, std=std, seed=seed)


def make(architecture, *, n_frames=80, **sizes):
    return KerasNetwork(architecture, start(architecture, n_frames=n_frames, **sizes), n_frames=n_frames)


def segments(n=6, *, n_bands=40, n_frames=80, seed=0):
    """Something like log10 energies: another level and spread in every band."""
    rng = np.random.default_rng(seed)
    level, spread = rng.uniform(-6, 1, (n_bands, 1)), rng.uniform(0.3, 2, (n_bands, 1))
    return rng.normal(level, spread, (n, n_bands, n_frames)).astype(np.float32)


def moments(x):
    return {"mean": x.mean(axis=(0, 2)), "std": x.std(axis=(0, 2))}


def part(model, first, last):
    """The stretch of a network from what goes into layer `first` to what comes out of layer `last`."""
    start = model.input if first == "log_mel" else model.get_layer(first).input
    return keras.Model(start, model.get_layer(last).output)


def run(model, x, *, training=False):
    return keras.ops.convert_to_numpy(model(x, training=training))


def kernel(model, layer):
    return keras.ops.convert_to_numpy(model.get_layer(layer).kernel)


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
    model = make(architecture, n_bands=n_bands, n_frames=n_frames).model
    head = {"dense": (200,), "dropout": (200,), "class_probabilities": (N_CLASSES,), "probabilities": (N_CLASSES,)}
    front = {"log_mel": (n_bands, n_frames), "standardise": (n_bands, n_frames), "channel": (n_bands, n_frames, 1)}
    for name, shape in {**front, **SHAPES[architecture, n_bands, n_frames], **head}.items():
        assert model.get_layer(name).output.shape == (None, *shape), name
    assert model.output_shape == (None, N_CLASSES)


@pytest.mark.parametrize("architecture", MODELS)
def test_the_table_of_shapes_has_every_layer(architecture):
    known = {"log_mel", "standardise", "channel", "dense", "dropout", "class_probabilities", "probabilities"}
    assert {layer.name for layer in make(architecture).model.layers} == known | set(SHAPES[architecture, 40, 80])


@pytest.mark.parametrize(("architecture", "smallest"), [("1", (10, 31)), ("2", (18, 31)), ("3", (10, 53))])
def test_the_smallest_input_leaves_every_pipeline_one_value(architecture, smallest):
    model = make(architecture, n_bands=smallest[0], n_frames=smallest[1]).model
    for pipeline in ARCHITECTURES[architecture]:
        assert min(model.get_layer(f"{pipeline.name}_pooling").output.shape[1:]) >= 1


# A convolution has height x width x 1 channel x filters weights and a bias a filter; a dense layer one weight for each
# of its inputs and one bias, a unit.
COUNTS = {
    "1": (10 * 12 * 1 * 30 + 30) + (31 * 3 * 30 * 200 + 200) + (200 * N_CLASSES + N_CLASSES),
    "2": (14 * 15 * 1 * 32 + 32)
    + (4 * 8 * 1 * 32 + 32)
    + ((27 * 3 * 32 + 2 * 73 * 32) * 200 + 200)
    + (200 * N_CLASSES + N_CLASSES),
    "3": (10 * 12 * 1 * 30 + 30)
    + (10 * 34 * 1 * 30 + 30)
    + ((31 * 3 * 30 + 31 * 2 * 30) * 200 + 200)
    + (200 * N_CLASSES + N_CLASSES),
}


@pytest.mark.parametrize("architecture", MODELS)
def test_parameter_counts_derived_by_hand(architecture):
    model = make(architecture).model
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == COUNTS[architecture]
    standardisation = 40 + 40 + 1  # a mean and a variance a band, and how many it has seen
    assert model.count_params() == COUNTS[architecture] + standardisation


# Weights.


@pytest.mark.parametrize("architecture", MODELS)
def test_the_weights_of_a_new_network_are_the_given_ones(architecture):
    given = start(architecture, seed=1, mean=np.arange(40) - 20.0, std=np.arange(40) + 0.1)
    rng = np.random.default_rng(0)
    given = {name: value + rng.uniform(0, 0.1, value.shape).astype(np.float32) for name, value in given.items()}
    found = KerasNetwork(architecture, given, n_frames=80).weights
    assert set(found) == set(given)
    for name, value in given.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("architecture", MODELS)
def test_another_network_with_the_trained_weights_gives_the_same_probabilities(architecture):
    x, y = segments(40), np.arange(40) % N_CLASSES
    network = make(architecture, **moments(x))
    before = network.probabilities(x)
    train(network, x, y, learning_rate=0.5)
    trained = network.probabilities(x)
    assert np.abs(trained - before).max() > 1e-3
    again = KerasNetwork(architecture, network.weights, n_frames=80)
    np.testing.assert_allclose(again.probabilities(x), trained, rtol=1e-5)


# Activations and head.


@pytest.mark.parametrize("architecture", MODELS)
def test_leaky_slope_is_0_3(architecture):
    model = make(architecture).model
    for pipeline in ARCHITECTURES[architecture]:
        activation = f"{pipeline.name}_activation"
        x = run(part(model, "log_mel", f"{pipeline.name}_pooling"), segments()) - np.float32(1)
        assert (x < 0).any() and (x > 0).any()
        expected = np.where(x > 0, x, np.float32(0.3) * x)
        np.testing.assert_allclose(run(part(model, activation, activation), x), expected, rtol=1e-6)


@pytest.mark.parametrize("architecture", MODELS)
def test_pooling_before_the_leaky_relu_gives_exactly_the_values_of_pooling_after_it(architecture):
    model, x = make(architecture).model, segments()
    for p in ARCHITECTURES[architecture]:
        convolved = run(part(model, "log_mel", f"{p.name}_convolution"), x)
        activated = keras.layers.LeakyReLU(negative_slope=0.3)(convolved)
        after = keras.layers.MaxPooling2D(p.pool, data_format="channels_last")(activated)
        before = run(part(model, f"{p.name}_pooling", f"{p.name}_activation"), convolved)
        np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(after))


@pytest.mark.parametrize("architecture", MODELS)
def test_dense_200_is_a_sigmoid(architecture):
    model = make(architecture).model
    layer = model.get_layer("dense")
    x = np.random.default_rng(0).normal(0, 0.5, (5, layer.input.shape[1])).astype(np.float32)
    z = x.astype(np.float64) @ kernel(model, "dense") + keras.ops.convert_to_numpy(layer.bias)
    assert layer.units == 200
    np.testing.assert_allclose(run(part(model, "dense", "dense"), x), 1 / (1 + np.exp(-z)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("architecture", MODELS)
def test_dropout_0_2_is_active_only_in_training(architecture):
    model, x = make(architecture).model, segments()
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
    network, x = make(architecture, n_classes=n_classes), segments(9)
    z = run(part(network.model, "log_mel", "dropout"), x) @ kernel(network.model, "class_probabilities")
    y = network.probabilities(x)
    assert y.shape == (9, n_classes) and y.min() > 0
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(y, np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-5)


# Standardisation and training.


def test_input_with_the_mean_and_deviation_of_training_comes_out_with_zero_mean_and_unit_deviation():
    x = segments(20)
    standardised = run(part(make("1", **moments(x)).model, "log_mel", "standardise"), x)
    np.testing.assert_allclose(standardised.mean(axis=(0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(standardised.std(axis=(0, 2)), 1, atol=1e-4)


def test_training_leaves_the_standardisation_alone():
    x, y = segments(40), np.arange(40) % N_CLASSES
    network = make("1", **moments(x))
    before = network.weights
    layer = [np.array(weight) for weight in network.model.get_layer("standardise").get_weights()]
    train(network, x, y, learning_rate=0.1)
    for a, b in zip(layer, network.model.get_layer("standardise").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    changed = {name for name, value in network.weights.items() if not np.array_equal(value, before[name])}
    assert changed == {name for name in before if not name.startswith("standardise")}


@pytest.mark.parametrize("architecture", MODELS)
def test_a_few_steps_of_training_lower_the_loss(architecture):
    x, y = segments(40), np.arange(40) % N_CLASSES
    network = make(architecture, **moments(x))

    def loss():
        return -np.log(network.probabilities(x)[np.arange(40), y]).mean()

    before = loss()
    for number in range(3):
        train(network, x, y, learning_rate=0.02, number=number)
    assert loss() < before


def step(architecture="1", *, learning_rate=0.1, before=(), **more):
    """A network, and what an epoch of one step reports; `before` it saw other batches."""
    x, y = segments(40), np.arange(40) % N_CLASSES
    network = make(architecture, **moments(x))
    for batch in before:
        train(network, *batch, learning_rate=1e-30)
    return network, train(network, x, y, learning_rate=learning_rate, **more)


def logits_bias(network):
    """After one step from zero: the gradient that a step of SGD has followed."""
    return network.weights["class_probabilities/bias"]


def test_a_step_is_plain_sgd_on_the_mean_cross_entropy():
    slow, fast = step(learning_rate=0.1)[0], step(learning_rate=0.2)[0]
    assert np.abs(logits_bias(slow)).max() > 1e-3
    np.testing.assert_allclose(logits_bias(fast), 2 * logits_bias(slow), rtol=1e-3, atol=1e-7)


def test_a_step_does_not_depend_on_earlier_steps():
    network, _ = step()
    before = network.weights
    nothing = np.zeros(N_CLASSES, np.float32)
    train(network, segments(40), np.arange(40) % N_CLASSES, learning_rate=0.1, class_weights=nothing)
    for name, value in network.weights.items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (2**32 - 1, 149)])
def test_the_dropout_of_an_epoch_does_not_depend_on_earlier_epochs(seed, epoch):
    other_batch = (segments(40, seed=5), np.zeros(40, int))
    network, found = step(seed=seed, number=epoch)
    again, found_again = step(seed=seed, number=epoch, before=[other_batch] * 2)
    assert found_again == pytest.approx(found, rel=1e-5)
    np.testing.assert_allclose(logits_bias(again), logits_bias(network), rtol=1e-4, atol=1e-7)
    for other in (step(seed=seed, number=epoch + 1), step(seed=seed - 1 if seed else 1, number=epoch)):
        assert other[1][0] != pytest.approx(found[0], rel=1e-5)


def test_a_step_reports_the_sum_of_losses_and_the_number_of_correct_segments():
    weights = start("1", n_classes=2)
    weights["class_probabilities/kernel"] = np.zeros((200, 2), np.float32)  # so that dropout has no say
    weights["class_probabilities/bias"] = np.log([0.25, 0.75]).astype(np.float32)
    network = KerasNetwork("1", weights, n_frames=80)
    y = np.array([0, 1, 1, 0, 1])
    for _ in range(2):  # of this batch alone, not of those before
        loss, n_right = train(network, segments(5), y, learning_rate=1e-30)
        assert loss == pytest.approx(-2 * math.log(0.25) - 3 * math.log(0.75), rel=1e-5)
        assert n_right == 3
    loss, n_right = train(network, segments(1), [0], learning_rate=1e-30)
    assert (loss, n_right) == (pytest.approx(-math.log(0.25), rel=1e-5), 0)


def test_weights_of_classes_scale_their_losses():
    plain, (loss, n_right) = step()
    double, (double_loss, double_n_right) = step(class_weights=np.full(N_CLASSES, 2, np.float32))
    assert double_loss == pytest.approx(2 * loss, rel=1e-5) and double_n_right == n_right
    np.testing.assert_allclose(logits_bias(double), 2 * logits_bias(plain), rtol=1e-3, atol=1e-7)


def test_a_segment_of_weight_zero_changes_no_weight_but_is_counted():
    only_class_3 = (np.arange(N_CLASSES) == 3).astype(np.float32)
    network, (loss, n_right) = step(class_weights=only_class_3)
    assert 0 < loss < step()[1][0] and n_right == step()[1][1]
    assert (np.delete(logits_bias(network), 3) < 0).all() and logits_bias(network)[3] > 0
