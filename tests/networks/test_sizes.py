"""The three networks as the paper draws them, in numbers: sizes, weights, and what a training starts from."""

import itertools
import math

import numpy as np
import pytest

from mirex_submission.networks.sizes import ARCHITECTURES, initial_weights, output_sizes, smallest_input, weight_shapes

MODELS = ("1", "2", "3")
N_CLASSES = 7
MEAN, STD = np.linspace(-6, 1, 40), np.linspace(0.3, 2, 40)


def start(architecture, *, seed=0, mean=MEAN, std=STD, n_frames=80):
    return initial_weights(
        architecture, n_bands=len(mean), n_frames=n_frames, n_classes=N_CLASSES, mean=mean, std=std, seed=seed
    )


def kernels(weights):
    return {name: value for name, value in weights.items() if name.endswith("/kernel")}


# Sizes, from the paper's input of 40 x 80 and from the 80 x 82 that its figures imply: of each pipeline's pooled
# output, (bands, frames, filters).

POOLED = {
    ("1", 40, 80): [(31, 3, 30)],
    ("2", 40, 80): [(27, 3, 32), (2, 73, 32)],
    ("3", 40, 80): [(31, 3, 30), (31, 2, 30)],
    ("2", 80, 82): [(67, 4, 32), (5, 75, 32)],
}

CONVOLUTIONS = {
    "1": {"timbre": (10, 12, 30)},
    "2": {"frequency": (14, 15, 32), "time": (4, 8, 32)},
    "3": {"short": (10, 12, 30), "long": (10, 34, 30)},
}


@pytest.mark.parametrize(("architecture", "n_bands", "n_frames"), POOLED)
def test_each_pipeline_has_the_output_size_of_the_papers_figures(architecture, n_bands, n_frames):
    expected = [math.prod(shape) for shape in POOLED[architecture, n_bands, n_frames]]
    assert output_sizes(ARCHITECTURES[architecture], n_bands, n_frames) == expected


@pytest.mark.parametrize(("architecture", "n_bands", "n_frames"), POOLED)
def test_all_weights_and_their_shapes(architecture, n_bands, n_frames):
    expected = {"standardise/mean": (n_bands,), "standardise/std": (n_bands,)}
    for name, shape in CONVOLUTIONS[architecture].items():
        expected |= {f"{name}_convolution/kernel": shape, f"{name}_convolution/bias": shape[-1:]}
    merged = sum(math.prod(shape) for shape in POOLED[architecture, n_bands, n_frames])
    expected |= {"dense/kernel": (merged, 200), "dense/bias": (200,)}
    expected |= {"class_probabilities/kernel": (200, N_CLASSES), "class_probabilities/bias": (N_CLASSES,)}
    found = weight_shapes(architecture, n_bands=n_bands, n_frames=n_frames, n_classes=N_CLASSES)
    assert list(found.items()) == list(expected.items())  # in the order of the layers


# A convolution has height x width x 1 channel x filters weights and a bias a filter; a dense layer one weight for each
# of its inputs and one bias, a unit. Standardisation: a mean and a deviation a band.
COUNTS = {
    "1": (40 + 40) + (10 * 12 * 1 * 30 + 30) + (31 * 3 * 30 * 200 + 200) + (200 * N_CLASSES + N_CLASSES),
    "2": (40 + 40)
    + (14 * 15 * 1 * 32 + 32)
    + (4 * 8 * 1 * 32 + 32)
    + ((27 * 3 * 32 + 2 * 73 * 32) * 200 + 200)
    + (200 * N_CLASSES + N_CLASSES),
    "3": (40 + 40)
    + (10 * 12 * 1 * 30 + 30)
    + (10 * 34 * 1 * 30 + 30)
    + ((31 * 3 * 30 + 31 * 2 * 30) * 200 + 200)
    + (200 * N_CLASSES + N_CLASSES),
}


@pytest.mark.parametrize("architecture", MODELS)
def test_weight_counts_derived_by_hand(architecture):
    shapes = weight_shapes(architecture, n_bands=40, n_frames=80, n_classes=N_CLASSES)
    assert sum(math.prod(shape) for shape in shapes.values()) == COUNTS[architecture]


@pytest.mark.parametrize(("architecture", "smallest"), [("1", (10, 31)), ("2", (18, 31)), ("3", (10, 53))])
def test_smallest_input_leaves_every_pipeline_one_value_and_no_smaller_one_does(architecture, smallest):
    pipelines = ARCHITECTURES[architecture]
    assert smallest_input(architecture) == smallest
    assert min(output_sizes(pipelines, *smallest)) >= 1
    for n_bands, n_frames in ((smallest[0] - 1, smallest[1]), (smallest[0], smallest[1] - 1)):
        assert min(output_sizes(pipelines, n_bands, n_frames)) < 1


# Initialisation.


@pytest.mark.parametrize("architecture", MODELS)
def test_weights_are_float32_arrays_of_their_shapes(architecture):
    found = start(architecture)
    shapes = weight_shapes(architecture, n_bands=40, n_frames=80, n_classes=N_CLASSES)
    assert [(name, value.shape) for name, value in found.items()] == list(shapes.items())
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}


def fans(name, shape):
    """What Glorot and Bengio call fan-in and fan-out: the weights of one unit, and those of one input."""
    cells = math.prod(shape[:2]) if "convolution" in name else 1
    inputs = 1 if "convolution" in name else shape[0]
    return cells * inputs, cells * shape[-1]


@pytest.mark.parametrize("architecture", MODELS)
def test_glorot_uniform_kernels(architecture):
    for name, w in kernels(start(architecture)).items():
        limit = math.sqrt(6 / sum(fans(name, w.shape)))
        assert 0.95 * limit < np.abs(w).max() <= limit * (1 + 1e-6), name
        # Uniform within the limits: as many weights in each quarter, to five standard deviations.
        quarters = np.histogram(w, bins=4, range=(-1.001 * limit, 1.001 * limit))[0]
        assert np.abs(quarters / w.size - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / w.size) + 0.001, name


@pytest.mark.parametrize("architecture", MODELS)
def test_biases_start_at_zero(architecture):
    biases = [value for name, value in start(architecture).items() if name.endswith("/bias")]
    assert len(biases) == len(ARCHITECTURES[architecture]) + 2
    assert not any(bias.any() for bias in biases)


@pytest.mark.parametrize("architecture", MODELS)
def test_no_two_layers_start_with_the_same_random_numbers(architecture):
    first = {name: w.ravel()[:500] for name, w in kernels(start(architecture)).items()}
    for a, b in itertools.combinations(first, 2):  # equal numbers, each scaled to its layer, would correlate by 1
        assert abs(np.corrcoef(first[a], first[b])[0, 1]) < 0.3, (a, b)


@pytest.mark.parametrize("architecture", MODELS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(architecture):
    a, same, other = (start(architecture, seed=seed) for seed in (3, 3, 4))
    for name in a:
        np.testing.assert_array_equal(a[name], same[name])
    for name in kernels(a):
        assert np.mean(a[name] == other[name]) < 0.001, name


def test_the_largest_seed_gives_weights():
    a, b = start("1", seed=2**32 - 1), start("1", seed=2**32 - 2)
    assert not np.array_equal(a["dense/kernel"], b["dense/kernel"])


@pytest.mark.parametrize("architecture", MODELS)
def test_standardisation_has_the_given_values_and_changes_no_other_weight(architecture):
    found, other = start(architecture), start(architecture, mean=MEAN + 1, std=STD * 2)
    np.testing.assert_array_equal(found.pop("standardise/mean"), MEAN.astype(np.float32))
    np.testing.assert_array_equal(found.pop("standardise/std"), STD.astype(np.float32))
    np.testing.assert_array_equal(other["standardise/std"], (2 * STD).astype(np.float32))
    for name, value in found.items():
        np.testing.assert_array_equal(value, other[name])
